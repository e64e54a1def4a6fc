import { type Mac, macBytes, parseMac, type Uuid } from '../common/addresses.js';
import { v1 } from '../common/proto.js';
import type { InvalidRow } from './invalid-row.js';
import type { Model } from './model.js';
import { type IntentResource, noResources, type ResourceSet, resourceKey } from './resource.js';
import type { FdbRow } from './southbound.js';

interface DatapathFdb {
  readonly datapath: Uuid;
  readonly resources: ResourceSet;
  /** Port_Binding.tunnel_key by resource key. */
  readonly portKeys: ReadonlyMap<string, number>;
  readonly invalid: readonly InvalidRow[];
}

/**
 * The learnt MACs of every datapath as resources, one per row, apart from the datapath's other resources: they change
 * often, and by themselves. Timestamps are left out, so that a MAC in use costs the nodes nothing.
 */
export class FdbStore {
  readonly #byKey = new Map<number, DatapathFdb>();
  readonly #byDatapath = new Map<Uuid, DatapathFdb>();

  /** Brings the datapaths with these tunnel keys up to date; returns those whose resources differ now. */
  recompute(model: Model, datapathKeys: Iterable<number>): ReadonlySet<Uuid> {
    const changed = new Set<Uuid>();
    for (const datapathKey of datapathKeys) {
      const before = this.#byKey.get(datapathKey);
      const after = compute(model, datapathKey, before);
      if (before?.resources !== after?.resources || before?.datapath !== after?.datapath) {
        if (before !== undefined) changed.add(before.datapath);
        if (after !== undefined) changed.add(after.datapath);
      }
      if (before !== undefined) this.#byDatapath.delete(before.datapath);
      if (after === undefined) this.#byKey.delete(datapathKey);
      else {
        this.#byKey.set(datapathKey, after);
        this.#byDatapath.set(after.datapath, after);
      }
    }
    return changed;
  }

  resources(datapath: Uuid): ResourceSet {
    return this.#byDatapath.get(datapath)?.resources ?? noResources;
  }

  invalid(): readonly InvalidRow[] {
    return [...this.#byKey.values()].flatMap(({ invalid }) => invalid);
  }
}

/** Undefined when there is no such datapath, or nothing was learnt on it. */
function compute(
  model: Model,
  datapathKey: number,
  before: DatapathFdb | undefined,
): DatapathFdb | undefined {
  const datapath = model.datapathWithKey(datapathKey)?._uuid;
  if (datapath === undefined) return undefined;
  const previous = before?.datapath === datapath ? before : undefined;
  const resources = new Map<string, IntentResource>();
  const portKeys = new Map<string, number>();
  const invalid: InvalidRow[] = [];
  let shared = 0;
  for (const row of model.fdbOn(datapathKey)) {
    const mac = parseMac(row.mac);
    if (mac === undefined) {
      invalid.push(invalidRow(row));
      continue;
    }
    const name = `${datapath}/${mac}`;
    const key = resourceKey('FdbEntry', name);
    const known = previous?.portKeys.get(key) === row.port_key ? previous.resources.get(key) : undefined;
    if (known !== undefined) shared += 1;
    resources.set(key, known ?? resource(key, name, datapath, mac, row.port_key));
    portKeys.set(key, row.port_key);
  }
  if (resources.size === 0 && invalid.length === 0) return undefined;
  if (previous !== undefined && shared === resources.size && shared === previous.resources.size) {
    return { ...previous, invalid };
  }
  return { datapath, resources, portKeys, invalid };
}

function resource(key: string, name: string, datapath: Uuid, mac: Mac, portKey: number): IntentResource {
  const body = v1.FdbEntry.serialize({ switch: datapath, mac: macBytes(mac), port_key: portKey });
  return { key, kind: 'FdbEntry', name, body };
}

function invalidRow({ _uuid: uuid, dp_key: datapathKey, mac }: FdbRow): InvalidRow {
  const reason = 'is not a MAC address: the row is ignored';
  return { table: 'FDB', object: `datapath ${datapathKey}`, uuid, column: 'mac', value: mac, reason };
}
