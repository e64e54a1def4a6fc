import type { Uuid } from '../common/addresses.js';
import type { RowBatch } from './row-batch.js';
import type { AnyRow } from './row-reader.js';

/** One row before and after; at least one of both is there. */
export interface AnyRowChange {
  readonly uuid: Uuid;
  readonly before?: AnyRow;
  readonly after?: AnyRow;
}

/** What a batch changed, by the server's table names; tables without a change are left out. */
export type TableChanges = ReadonlyMap<string, readonly AnyRowChange[]>;

/** One table's rows; a load puts another map in place of this one. */
export interface HeldTable {
  readonly rows: ReadonlyMap<Uuid, AnyRow>;
}

interface MutableTable extends HeldTable {
  rows: Map<Uuid, AnyRow>;
}

/** After so many rows a computation offers to pause. */
const rowsPerStep = 2000;

/**
 * The local copy of the monitored tables. Changes are computed in steps (generators that yield between them and touch
 * nothing held), then applied at once: readers see consistent states only. No batch may be made or applied while
 * another is being computed.
 */
export class Replica {
  readonly #tables: ReadonlyMap<string, MutableTable>;

  constructor(tableNames: readonly string[]) {
    this.#tables = new Map(tableNames.map((name) => [name, { rows: new Map<Uuid, AnyRow>() }]));
  }

  get tables(): ReadonlyMap<string, HeldTable> {
    return this.#tables;
  }

  /** Makes the contents exactly those of `batch`, which must not be used afterwards; returns the difference to what was held. */
  *load(batch: RowBatch): Generator<undefined, TableChanges> {
    const changes = new Map<string, readonly AnyRowChange[]>();
    const loaded = new Map<MutableTable, Map<Uuid, AnyRow>>();
    for (const [name, table] of this.#tables) {
      const rows = batch.tables.get(name)?.rows ?? new Map<Uuid, AnyRow>();
      const tableChanges: AnyRowChange[] = [];
      yield* collectArrivals(table.rows, rows, tableChanges);
      yield* collectDepartures(table.rows, rows, tableChanges);
      if (tableChanges.length > 0) changes.set(name, tableChanges);
      loaded.set(table, rows);
    }
    for (const [table, rows] of loaded) table.rows = rows;
    return changes;
  }

  /** Applies what `batch` says about some rows; returns what really changed. */
  *apply(batch: RowBatch): Generator<undefined, TableChanges> {
    const changes = new Map<string, readonly AnyRowChange[]>();
    for (const [name, { rows, deleted }] of batch.tables) {
      const held = this.#tables.get(name)?.rows;
      if (held === undefined) continue;
      const tableChanges: AnyRowChange[] = [];
      yield* collectArrivals(held, rows, tableChanges);
      for (const uuid of deleted) {
        const before = held.get(uuid);
        if (before !== undefined) tableChanges.push({ uuid, before });
      }
      if (tableChanges.length > 0) changes.set(name, tableChanges);
    }
    this.#commit(changes);
    return changes;
  }

  #commit(changes: TableChanges): void {
    for (const [name, tableChanges] of changes) {
      const held = this.#tables.get(name)?.rows;
      for (const { uuid, after } of tableChanges) {
        if (after === undefined) held?.delete(uuid);
        else held?.set(uuid, after);
      }
    }
  }
}

function* collectArrivals(
  held: ReadonlyMap<Uuid, AnyRow>,
  rows: ReadonlyMap<Uuid, AnyRow>,
  changes: AnyRowChange[],
): Generator<undefined, void> {
  let count = 0;
  for (const [uuid, after] of rows) {
    const before = held.get(uuid);
    if (before === undefined) changes.push({ uuid, after });
    else if (before !== after) changes.push({ uuid, before, after });
    if (++count % rowsPerStep === 0) yield;
  }
}

function* collectDepartures(
  held: ReadonlyMap<Uuid, AnyRow>,
  rows: ReadonlyMap<Uuid, AnyRow>,
  changes: AnyRowChange[],
): Generator<undefined, void> {
  let count = 0;
  for (const [uuid, before] of held) {
    if (!rows.has(uuid)) changes.push({ uuid, before });
    if (++count % rowsPerStep === 0) yield;
  }
}
