import type { Uuid } from '../common/addresses.js';
import type { RowChange } from '../ovsdb/database.js';

interface HasUuid {
  readonly _uuid: Uuid;
}

/** Rows by a key derived from each of them, kept in step with changes. A row may have any number of keys. */
export class RowIndex<R extends HasUuid> {
  readonly #keysOf: (row: R) => readonly string[];
  readonly #rows = new Map<string, Map<Uuid, R>>();

  constructor(keysOf: (row: R) => readonly string[], rows: Iterable<R> = []) {
    this.#keysOf = keysOf;
    for (const row of rows) this.#add(row);
  }

  apply(change: RowChange<R>): void {
    if (change.before !== undefined) this.#remove(change.before);
    if (change.after !== undefined) this.#add(change.after);
  }

  /** All rows with this key, in no particular order. */
  all(key: string): Iterable<R> {
    return this.#rows.get(key)?.values() ?? [];
  }

  /** The row with this key; where several have it, the one with the lowest uuid. */
  one(key: string): R | undefined {
    let first: R | undefined;
    for (const row of this.all(key)) if (first === undefined || row._uuid < first._uuid) first = row;
    return first;
  }

  count(key: string): number {
    return this.#rows.get(key)?.size ?? 0;
  }

  keys(): Iterable<string> {
    return this.#rows.keys();
  }

  #add(row: R): void {
    for (const key of this.#keysOf(row)) {
      const rows = this.#rows.get(key);
      if (rows === undefined) this.#rows.set(key, new Map([[row._uuid, row]]));
      else rows.set(row._uuid, row);
    }
  }

  #remove(row: R): void {
    for (const key of this.#keysOf(row)) {
      const rows = this.#rows.get(key);
      rows?.delete(row._uuid);
      if (rows?.size === 0) this.#rows.delete(key);
    }
  }
}
