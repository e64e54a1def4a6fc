import type { Uuid } from '../common/addresses.js';
import type { Row, TableSpec } from './columns.js';
import type { DatabaseUpdate, Table } from './database.js';
import type { HeldTable, TableChanges } from './replica.js';
import type { AnyRow } from './row-reader.js';

/** The read-only face of one replicated table. */
class TableView implements Table<AnyRow> {
  readonly #held: HeldTable;

  constructor(held: HeldTable) {
    this.#held = held;
  }

  get size(): number {
    return this.#held.rows.size;
  }

  get(uuid: Uuid): AnyRow | undefined {
    return this.#held.rows.get(uuid);
  }

  has(uuid: Uuid): boolean {
    return this.#held.rows.has(uuid);
  }

  [Symbol.iterator](): Iterator<AnyRow> {
    return this.#held.rows.values();
  }
}

/** The replica's tables under the caller's names. The row readers have checked that rows are what the specs say. */
export function tableViews<T extends Record<string, TableSpec>>(
  specs: T,
  held: ReadonlyMap<string, HeldTable>,
): { readonly [K in keyof T]: Table<Row<T[K]>> } {
  const views = Object.entries(specs).map(([key, spec]) => [
    key,
    new TableView(held.get(spec.name) ?? { rows: new Map<Uuid, AnyRow>() }),
  ]);
  return Object.fromEntries(views) as { readonly [K in keyof T]: Table<Row<T[K]>> };
}

/** A batch's changes under the caller's names. */
export function changesByKey<T extends Record<string, TableSpec>>(
  specs: T,
  changes: TableChanges,
): DatabaseUpdate<T>['changes'] {
  const named = Object.entries(specs).flatMap(([key, spec]) => {
    const tableChanges = changes.get(spec.name);
    return tableChanges === undefined ? [] : [[key, tableChanges]];
  });
  return Object.fromEntries(named) as DatabaseUpdate<T>['changes'];
}
