import { type Mac, macFromBytes, type Uuid } from '../common/addresses.js';
import type { LearnedMac } from '../generated/proto/iovn/v1/LearnedMac.js';
import { byUuid, insert, type Operation, update } from '../ovsdb/operations.js';
import { learnsMacs } from './learns-macs.js';
import type { Model } from './model.js';
import {
  type DatapathBinding,
  type FdbRow,
  isLocalnet,
  type PortBinding,
  southboundTables as tables,
} from './southbound.js';

export type LearnedRefusal =
  | 'invalid_mac'
  | 'unknown_datapath'
  | 'unknown_port'
  | 'not_bound_here'
  | 'does_not_learn'
  | 'datapath_full'
  | 'too_many_waiting';

/** A row that a node's report asks for. */
export interface FdbWish {
  readonly datapathKey: number;
  readonly mac: Mac;
  readonly portKey: number;
  /** Chassis.name */
  readonly node: string;
  /** Epoch ms at which a VM of the node used the MAC. */
  readonly seenMs: number;
}

/** Rows of one datapath: a VM that makes up addresses fills its own switch and nobody else's. */
export const maximumRowsPerDatapath = 16_384;
/** Rows of one node that wait to be written. */
export const maximumWishesPerNode = 4096;

export interface CheckedReport {
  readonly wishes: readonly FdbWish[];
  readonly refused: readonly LearnedRefusal[];
}

/**
 * What of a node's report may be written: only MACs on ports that learn and are bound to its chassis, so that nobody
 * can draw the traffic of somebody else's switch to himself.
 */
export function checkReport(
  model: Model,
  node: string,
  macs: readonly LearnedMac[],
  nowMs: number,
): CheckedReport {
  const chassis = model.chassis(node)?._uuid;
  const wishes: FdbWish[] = [];
  const refused: LearnedRefusal[] = [];
  const bindings = new Map<number, ReadonlyMap<number, PortBinding>>();
  for (const { datapath_key: datapathKey, port_key: portKey, mac, age_seconds: age } of macs) {
    const datapath = model.datapathWithKey(datapathKey);
    const known = bindings.get(datapathKey) ?? bindingsByKey(model, datapath);
    bindings.set(datapathKey, known);
    const refusal = refuse(model, chassis, datapath, known.get(portKey), mac);
    if (refusal !== undefined) refused.push(refusal);
    else {
      const seenMs = nowMs - age * 1000;
      wishes.push({ datapathKey, mac: macFromBytes(mac), portKey, node, seenMs });
    }
  }
  return { wishes, refused };
}

function bindingsByKey(
  model: Model,
  datapath: DatapathBinding | undefined,
): ReadonlyMap<number, PortBinding> {
  if (datapath === undefined) return new Map();
  return new Map([...model.bindingsOn(datapath._uuid)].map((row) => [row.tunnel_key, row]));
}

function refuse(
  model: Model,
  chassis: Uuid | undefined,
  datapath: DatapathBinding | undefined,
  binding: PortBinding | undefined,
  mac: Uint8Array,
): LearnedRefusal | undefined {
  if (mac.length !== 6 || ((mac[0] ?? 0) & 1) === 1) return 'invalid_mac';
  if (datapath === undefined) return 'unknown_datapath';
  if (binding === undefined) return 'unknown_port';
  const isHere = isLocalnet(binding) ? holdsDatapath(model, chassis, datapath) : isBoundTo(binding, chassis);
  if (!isHere) return 'not_bound_here';
  const port = model.switchPort(binding.logical_port);
  return port !== undefined && learnsMacs(port) ? undefined : 'does_not_learn';
}

function isBoundTo(binding: PortBinding, chassis: Uuid | undefined): boolean {
  return (
    chassis !== undefined && (binding.chassis === chassis || binding.additional_chassis.includes(chassis))
  );
}

/** A localnet port is bound to nobody; it is where its switch is. */
function holdsDatapath(model: Model, chassis: Uuid | undefined, { _uuid }: DatapathBinding): boolean {
  return chassis !== undefined && [...model.bindingsAt(chassis)].some(({ datapath }) => datapath === _uuid);
}

/** A VIF's MAC is seen on the physical network, too, by every other node: it stays the VIF's, as in OVN. */
function isVifSeenFromOutside(model: Model, { datapathKey, portKey }: FdbWish, row: FdbRow): boolean {
  const bindings = bindingsByKey(model, model.datapathWithKey(datapathKey));
  const [wished, present] = [bindings.get(portKey), bindings.get(row.port_key)];
  return wished !== undefined && isLocalnet(wished) && present?.type === '';
}

export type FdbWrite = 'learned' | 'moved' | 'refreshed';

export interface FdbWritePlan {
  readonly kind: FdbWrite;
  readonly operation: Operation;
}

/**
 * What the row of a wish lacks; undefined when nothing. A move is a change of the row, as there is one per datapath and
 * MAC. The time of a MAC in use is written at most every half threshold, and only where MACs age.
 */
export function planWish(model: Model, wish: FdbWish, hasTimestamp: boolean): FdbWritePlan | undefined {
  const { datapathKey, mac, portKey, seenMs } = wish;
  const row = model.fdb(datapathKey, mac);
  const values = { port_key: portKey, timestamp: seenMs };
  if (row === undefined) {
    return { kind: 'learned', operation: insert(tables.fdb, { mac, dp_key: datapathKey, ...values }) };
  }
  const isOlder = hasTimestamp && row.timestamp > seenMs;
  if (isOlder) return undefined;
  if (row.port_key !== portKey) {
    if (isVifSeenFromOutside(model, wish, row)) return undefined;
    return { kind: 'moved', operation: update(tables.fdb, byUuid(row._uuid), values) };
  }
  const thresholdMs = ageThresholdSeconds(model.datapathWithKey(datapathKey)) * 1000;
  if (!hasTimestamp || thresholdMs === 0 || seenMs - row.timestamp < thresholdMs / 2) return undefined;
  return {
    kind: 'refreshed',
    operation: update(tables.fdb, byUuid(row._uuid), { timestamp: seenMs }),
  };
}

/** Datapath_Binding.external_ids:fdb_age_threshold, which northd copies from the Logical_Switch; 0 = no ageing. */
export function ageThresholdSeconds(datapath: DatapathBinding | undefined): number {
  const text = datapath?.external_ids.get('fdb_age_threshold') ?? '';
  return /^\d{1,9}$/.test(text) ? Number(text) : 0;
}

/** The wishes that wait to be written, one per datapath and MAC: a newer one takes the place of an older. */
export class FdbWishes {
  readonly #wishes = new Map<string, FdbWish>();
  readonly #perNode = new Map<string, number>();
  readonly #planned = new Map<string, FdbWish>();

  get size(): number {
    return this.#wishes.size;
  }

  /** The name under which the wish waits; or why it can't. */
  put(
    model: Model,
    wish: FdbWish,
  ): { readonly ok: true; readonly name: string } | { readonly ok: false; readonly refusal: LearnedRefusal } {
    const name = `${wish.datapathKey}/${wish.mac}`;
    const waiting = this.#perNode.get(wish.node) ?? 0;
    if (this.#wishes.get(name)?.node !== wish.node && waiting >= maximumWishesPerNode) {
      return { ok: false, refusal: 'too_many_waiting' };
    }
    const isNew = model.fdb(wish.datapathKey, wish.mac) === undefined;
    if (isNew && model.fdbCount(wish.datapathKey) >= maximumRowsPerDatapath) {
      return { ok: false, refusal: 'datapath_full' };
    }
    this.delete(name);
    this.#wishes.set(name, wish);
    this.#perNode.set(wish.node, (this.#perNode.get(wish.node) ?? 0) + 1);
    return { ok: true, name };
  }

  /** The wish, which is about to be written. */
  take(name: string): FdbWish | undefined {
    const wish = this.#wishes.get(name);
    if (wish !== undefined) this.#planned.set(name, wish);
    return wish;
  }

  /** What was taken last is written; a newer wish that has come meanwhile waits on. */
  written(name: string): void {
    if (this.#wishes.get(name) === this.#planned.get(name)) this.delete(name);
    this.#planned.delete(name);
  }

  delete(name: string): void {
    const wish = this.#wishes.get(name);
    if (wish === undefined) return;
    this.#wishes.delete(name);
    const left = (this.#perNode.get(wish.node) ?? 1) - 1;
    if (left === 0) this.#perNode.delete(wish.node);
    else this.#perNode.set(wish.node, left);
  }
}
