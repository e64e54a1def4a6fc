import { existsSync } from 'node:fs';
import path from 'node:path';

import type { Ifindex } from '../../common/addresses.js';
import type { Attachment, AttachMode } from '../data-plane.js';
import { listFolder, makeFolder, removePins } from './bpffs.js';
import {
  attachFilter,
  createQdisc,
  detachFilter,
  type Filter,
  type FilterPriority,
  hasOurFilter,
  readFilter,
  removeQdisc,
} from './clsact.js';
import { createTcxLink, readTcxLink, removeTcxLink, updateTcxLink } from './tcx.js';

export interface AttachmentsParts {
  /** The program's own folder. */
  readonly bpffsDir: string;
  /** The folder of all of the node's programs. */
  readonly qdiscsDir: string;
  readonly mode: AttachMode;
  readonly programFd: number;
  readonly programId: number;
  /** Place among our own programs on an interface, where the mode is clsact. */
  readonly priority: FilterPriority;
}

/**
 * Where our program is attached, as `bpffsDir` remembers it: `links/<ifindex>` is a pinned tcx link,
 * `filters/<ifindex>` a folder that says that we have a filter there; `<ifindex>` in a folder that all programs of the node
 * share says that the clsact qdisc is ours, too: whichever of them is the last to go takes it along. A kernel or an option may have
 * changed the mode since: what the other one left is found and taken away after the new one is in place, so that no packet
 * goes without a program.
 */
export class Attachments {
  readonly #mode: AttachMode;
  readonly #linksFolder: string;
  readonly #filtersFolder: string;
  readonly #qdiscsFolder: string;
  readonly #programFd: number;
  readonly #programId: number;
  readonly #priority: FilterPriority;

  constructor({ bpffsDir, qdiscsDir, mode, programFd, programId, priority }: AttachmentsParts) {
    this.#mode = mode;
    this.#linksFolder = path.join(bpffsDir, 'links');
    this.#filtersFolder = path.join(bpffsDir, 'filters');
    this.#qdiscsFolder = qdiscsDir;
    this.#programFd = programFd;
    this.#programId = programId;
    this.#priority = priority;
    for (const folder of [this.#linksFolder, this.#filtersFolder, qdiscsDir]) makeFolder(folder);
  }

  read(): Attachment[] {
    const ifindices = new Set([...listFolder(this.#linksFolder), ...listFolder(this.#filtersFolder)]);
    return Array.from(ifindices, (name) => Number(name) as Ifindex)
      .sort((a, b) => a - b)
      .map((ifindex) => ({ ifindex, intact: this.#isIntact(ifindex) }));
  }

  attach(ifindex: Ifindex): void {
    if (this.#mode === 'tcx') {
      this.#attachTcx(ifindex);
      this.#detachClsact(ifindex);
    } else {
      this.#attachClsact(ifindex);
      this.#detachTcx(ifindex);
    }
  }

  detach(ifindex: Ifindex): void {
    this.#detachTcx(ifindex);
    this.#detachClsact(ifindex);
  }

  /** Only the program of this generation, in this mode and nowhere else. */
  #isIntact(ifindex: Ifindex): boolean {
    const link = path.join(this.#linksFolder, String(ifindex));
    const hasLink = existsSync(link);
    const hasFilter = existsSync(path.join(this.#filtersFolder, String(ifindex)));
    if (hasLink && hasFilter) return false;
    if (this.#mode === 'clsact') return hasFilter && readFilter(this.#filter(ifindex)) === this.#programId;
    if (!hasLink) return false;
    const { ifindex: attachedTo, programId } = readTcxLink(link);
    return attachedTo === ifindex && programId === this.#programId;
  }

  #filter(ifindex: Ifindex): Filter {
    return { ifindex, priority: this.#priority };
  }

  #attachTcx(ifindex: Ifindex): void {
    const link = path.join(this.#linksFolder, String(ifindex));
    if (existsSync(link)) {
      if (readTcxLink(link).ifindex === ifindex) {
        updateTcxLink(this.#programFd, link);
        return;
      }
      removeTcxLink(link);
    }
    createTcxLink(this.#programFd, ifindex, link);
  }

  #attachClsact(ifindex: Ifindex): void {
    const marker = path.join(this.#qdiscsFolder, String(ifindex));
    if (createQdisc(ifindex)) makeFolder(marker);
    /* The marker may be of an earlier interface with this number: its qdisc is not this one's. */ else if (
      existsSync(marker) &&
      !hasOurFilter(ifindex)
    )
      removePins(marker);
    makeFolder(path.join(this.#filtersFolder, String(ifindex)));
    attachFilter(this.#programFd, this.#filter(ifindex));
  }

  #detachTcx(ifindex: Ifindex): void {
    const link = path.join(this.#linksFolder, String(ifindex));
    if (existsSync(link)) removeTcxLink(link);
  }

  #detachClsact(ifindex: Ifindex): void {
    const marker = path.join(this.#filtersFolder, String(ifindex));
    if (!existsSync(marker)) return;
    detachFilter(this.#filter(ifindex));
    const qdiscMarker = path.join(this.#qdiscsFolder, String(ifindex));
    if (existsSync(qdiscMarker) && !hasOurFilter(ifindex)) {
      removeQdisc(ifindex);
      removePins(qdiscMarker);
    }
    removePins(marker);
  }
}
