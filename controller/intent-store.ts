import { isDeepStrictEqual } from 'node:util';

import type { Uuid } from '../common/addresses.js';
import { datapathIntent } from './intent.js';
import type { InvalidRow } from './invalid-row.js';
import type { Model } from './model.js';
import { noResources, type ResourceSet, shareUnchanged } from './resource.js';

/** The resources of every datapath, recomputed only where rows changed. */
export class IntentStore {
  readonly #resources = new Map<Uuid, ResourceSet>();
  readonly #hosts = new Map<Uuid, readonly string[]>();
  readonly #invalid = new Map<Uuid, readonly InvalidRow[]>();

  /** Brings the given datapaths up to date; returns those whose resources or hosts differ now. */
  recompute(model: Model, datapaths: Iterable<Uuid>): ReadonlySet<Uuid> {
    const changed = new Set<Uuid>();
    for (const uuid of datapaths) {
      const intent = datapathIntent(model, model.sb.datapathBinding.get(uuid));
      replace(this.#invalid, uuid, intent.invalid, intent.invalid.length === 0);
      if (!isDeepStrictEqual(intent.hosts, this.hosts(uuid))) changed.add(uuid);
      replace(this.#hosts, uuid, intent.hosts, intent.hosts.length === 0);
      const previous = this.resources(uuid);
      const resources = shareUnchanged(previous, intent.resources);
      if (resources === previous) continue;
      replace(this.#resources, uuid, resources, resources.size === 0);
      changed.add(uuid);
    }
    return changed;
  }

  resources(datapath: Uuid): ResourceSet {
    return this.#resources.get(datapath) ?? noResources;
  }

  /** Names of the chassis that host ports of the datapath, sorted. */
  hosts(datapath: Uuid): readonly string[] {
    return this.#hosts.get(datapath) ?? [];
  }

  /** Datapaths that have resources. */
  datapaths(): Iterable<readonly [Uuid, ResourceSet]> {
    return this.#resources;
  }

  invalid(): readonly InvalidRow[] {
    return [...this.#invalid.values()].flat();
  }
}

function replace<K, V>(map: Map<K, V>, key: K, value: V, empty: boolean): void {
  if (empty) map.delete(key);
  else map.set(key, value);
}
