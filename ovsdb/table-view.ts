import type { Uuid } from '../common/addresses.js';
import type { Row, TableSpec } from './columns.js';
import type { DatabaseUpdate, Table } from './database.js';
import type { TableChanges } from './replica.js';
import type { AnyRow } from './row-reader.js';

/** The read-only face of one replicated table. */
class TableView implements Table<AnyRow> {
  readonly #rows: ReadonlyMap<Uuid, AnyRow>;

  constructor(rows: ReadonlyMap<Uuid, AnyRow>) {
    this.#rows = rows;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(uuid: Uuid): AnyRow | undefined {
    return this.#rows.get(uuid);
  }

  has(uuid: Uuid): boolean {
    return this.#rows.has(uuid);
  }

  [Symbol.iterator](): Iterator<AnyRow> {
    return this.#rows.values();
  }
}

/** The replica's tables under the caller's names. The row readers have checked that rows are what the specs say. */
export function tableViews<T extends Record<string, TableSpec>>(
  specs: T,
  rowsByTable: ReadonlyMap<string, ReadonlyMap<Uuid, AnyRow>>,
): { readonly [K in keyof T]: Table<Row<T[K]>> } {
  const views = Object.entries(specs).map(([key, spec]) => [
    key,
    new TableView(rowsByTable.get(spec.name) ?? new Map<Uuid, AnyRow>()),
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
