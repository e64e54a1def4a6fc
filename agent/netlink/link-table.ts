import { isDeepStrictEqual } from 'node:util';

import type { Ifindex } from '../../common/addresses.js';
import type { Link } from './codec.js';

/** Interfaces by name and by index. Methods return whether anything changed. */
export class LinkTable {
  readonly byName = new Map<string, Link>();
  readonly byIndex = new Map<Ifindex, Link>();

  constructor(links: Iterable<Link>) {
    for (const link of links) this.put(link);
  }

  put(link: Link): boolean {
    const old = this.byIndex.get(link.ifindex);
    if (isDeepStrictEqual(old, link)) return false;
    if (old !== undefined && old.name !== link.name) this.#forgetName(old);
    this.byIndex.set(link.ifindex, link);
    this.byName.set(link.name, link);
    return true;
  }

  remove(ifindex: Ifindex): boolean {
    const link = this.byIndex.get(ifindex);
    if (link === undefined) return false;
    this.byIndex.delete(ifindex);
    this.#forgetName(link);
    return true;
  }

  keepOnly(ifindices: ReadonlySet<Ifindex>): boolean {
    const gone = Array.from(this.byIndex.keys()).filter((ifindex) => !ifindices.has(ifindex));
    for (const ifindex of gone) this.remove(ifindex);
    return gone.length > 0;
  }

  /**
   * The interfaces whose record of where their other end is can't be true any more now that `ifindex` is described
   * by `link`, or is gone from this namespace.
   */
  stalePeers(ifindex: Ifindex, link: Link | undefined): Ifindex[] {
    const stale: Ifindex[] = [];
    for (const other of this.byIndex.values()) {
      if (other.kind !== 'veth' || other.ifindex === ifindex) continue;
      const here = other.peerIfindex === ifindex && !other.peerInOtherNamespace;
      const shouldBeHere =
        link?.kind === 'veth' && !link.peerInOtherNamespace && link.peerIfindex === other.ifindex;
      if (here !== shouldBeHere) stale.push(other.ifindex);
    }
    return stale;
  }

  /** Names may have been swapped: the name belongs to whoever had it last. */
  #forgetName(link: Link): void {
    if (this.byName.get(link.name)?.ifindex === link.ifindex) this.byName.delete(link.name);
  }
}
