import type { FdbEntries, FdbEntry } from './fdb-table.js';

/** What the southbound database says of a MAC. */
export interface FdbRow {
  readonly portKey: number;
  /** CLOCK_MONOTONIC of when this node was told so. */
  readonly sinceNs: bigint;
}

/** A port that is plugged in on this node. */
export interface FdbPort {
  readonly slot: number;
  readonly learns: boolean;
}

export interface FdbContext {
  /** By `fdbPortId`. */
  readonly ports: ReadonlyMap<string, FdbPort>;
  /** How long a MAC of the switch may be unused, by the datapath's part of the key; absent = for ever. */
  readonly ageLimitsNs: ReadonlyMap<string, bigint>;
  readonly nowNs: bigint;
}

/** What becomes of one MAC. */
export interface FdbDecision {
  readonly kernel:
    | { readonly kind: 'keep' | 'remove' }
    | { readonly kind: 'write'; readonly entry: FdbEntry };
  /** A VM of this node has used it: worth telling when the database says otherwise, or to keep it from ageing. */
  readonly sighting?: { readonly entry: FdbEntry; readonly isNews: boolean };
}

/** Hex digits of struct mac_key.datapath_key, with which a key begins. */
export function datapathPart(key: string): string {
  return key.slice(0, 8);
}

/** Names a port by the datapath's part of a key and its port key. */
export function fdbPortId(datapath: string, portKey: number): string {
  return `${datapath}/${portKey}`;
}

/**
 * Whom to believe about the MAC `key`: the kernel, where it was seen here on a port that learns and later than the
 * database spoke of it, or `row`. Neither: it is forgotten.
 */
export function decideMac(
  key: string,
  entry: FdbEntry | undefined,
  row: FdbRow | undefined,
  { ports, ageLimitsNs, nowNs }: FdbContext,
): FdbDecision {
  const datapath = datapathPart(key);
  const portOf = (portKey: number): FdbPort | undefined => ports.get(fdbPortId(datapath, portKey));
  const slotOf = (portKey: number): number => portOf(portKey)?.slot ?? 0;
  const seenHere = entry !== undefined && entry.seenNs > 0n && portOf(entry.portKey)?.learns === true;
  if (seenHere) {
    const idleNs = nowNs - entry.seenNs;
    const kept = { kernel: placed(entry, slotOf(entry.portKey)) };
    if (row?.portKey === entry.portKey) return { ...kept, sighting: { entry, isNews: false } };
    const ageLimitNs = ageLimitsNs.get(datapath);
    const isFresh =
      row === undefined ? ageLimitNs === undefined || idleNs < ageLimitNs : entry.seenNs > row.sinceNs;
    if (isFresh) return { ...kept, sighting: { entry, isNews: true } };
  }
  if (row === undefined) return { kernel: { kind: entry === undefined ? 'keep' : 'remove' } };
  if (entry?.portKey === row.portKey) return { kernel: placed(entry, slotOf(row.portKey)) };
  const wanted = { portKey: row.portKey, slot: slotOf(row.portKey), seenNs: 0n };
  return { kernel: { kind: 'write', entry: wanted } };
}

/** Its port may be in another slot by now. */
function placed(entry: FdbEntry, slot: number): FdbDecision['kernel'] {
  return entry.slot === slot ? { kind: 'keep' } : { kind: 'write', entry: { ...entry, slot } };
}

/** A MAC that a VM of this node has used. */
export interface Sighting {
  readonly key: string;
  readonly entry: FdbEntry;
  readonly isNews: boolean;
}

export interface FdbPlan {
  readonly writes: FdbEntries;
  /** How many of `writes` are of MACs that were not there. */
  readonly added: number;
  readonly removals: readonly string[];
  readonly sightings: readonly Sighting[];
}

/**
 * The decisions about several MACs. Rows that the kernel lacks are added while `room` lasts: in a full map they would
 * drive out each other.
 */
export function planFdb(
  keys: Iterable<string>,
  entries: FdbEntries,
  rows: ReadonlyMap<string, FdbRow>,
  context: FdbContext,
  room: number,
): FdbPlan {
  const writes = new Map<string, FdbEntry>();
  const removals: string[] = [];
  const sightings: Sighting[] = [];
  let added = 0;
  for (const key of keys) {
    const entry = entries.get(key);
    const { kernel, sighting } = decideMac(key, entry, rows.get(key), context);
    if (kernel.kind === 'remove') removals.push(key);
    if (kernel.kind === 'write' && (entry !== undefined || added < room)) {
      writes.set(key, kernel.entry);
      if (entry === undefined) added += 1;
    }
    if (sighting !== undefined) sightings.push({ key, ...sighting });
  }
  return { writes, added, removals, sightings };
}
