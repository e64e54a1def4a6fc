import type { Uuid } from '../common/addresses.js';
import { ProtocolError } from './errors.js';
import { isJsonObject, type Json, type JsonObject } from './json.js';
import type { AnyRow, RowReader } from './row-reader.js';
import { parseUuid } from './values.js';

/** What is held now, by the server's table names. */
export type HeldRows = ReadonlyMap<string, { readonly rows: ReadonlyMap<Uuid, AnyRow> }>;

export interface TableBatch {
  /** Rows as they are after the batch. One that equals the held row is that very object. */
  readonly rows: Map<Uuid, AnyRow>;
  readonly deleted: Set<Uuid>;
}

/**
 * The rows of one message: the answer to a monitor request or one update notification, in whichever of the formats
 * <table-updates> (RFC 7047 §4.1.6) or <table-updates2> (ovsdb-server(7) §4.1.14). Takes them row by row, so that a
 * big message need never be held as a whole.
 */
export class RowBatch {
  readonly tables = new Map<string, TableBatch>();
  readonly #readers: ReadonlyMap<string, RowReader>;
  readonly #held: HeldRows;

  constructor(readers: ReadonlyMap<string, RowReader>, held: HeldRows) {
    this.#readers = readers;
    this.#held = held;
  }

  monitors(tableName: string): boolean {
    return this.#readers.has(tableName);
  }

  /** Adds all rows of `updates`. Throws ProtocolError when it is not what the format says. */
  addAll(updates: Json | undefined): void {
    if (!isJsonObject(updates)) throw new ProtocolError('table updates are not an object');
    for (const [tableName, rows] of Object.entries(updates)) {
      if (!isJsonObject(rows)) throw new ProtocolError(`updates of table ${tableName} are not an object`);
      for (const [uuid, rowUpdate] of Object.entries(rows)) this.add(tableName, uuid, rowUpdate);
    }
  }

  /** Adds one row's update. Throws ProtocolError. */
  add(tableName: string, uuidText: string, rowUpdate: Json): void {
    const reader = this.#readers.get(tableName);
    if (reader === undefined) throw new ProtocolError(`update of table ${tableName}, which is not monitored`);
    const uuid = parseUuid(uuidText);
    if (uuid === undefined || !isJsonObject(rowUpdate)) {
      throw new ProtocolError(`malformed update of a row of ${tableName}: ${uuidText.slice(0, 40)}`);
    }
    const batch = this.#tableBatch(tableName);
    const row = this.#rowAfter(reader, uuid, rowUpdate);
    if (row === undefined) {
      batch.rows.delete(uuid);
      batch.deleted.add(uuid);
    } else {
      batch.deleted.delete(uuid);
      batch.rows.set(uuid, row);
    }
  }

  /** The row after the update, undefined when it is gone. */
  #rowAfter(reader: RowReader, uuid: Uuid, rowUpdate: JsonObject): AnyRow | undefined {
    const held = this.#held.get(reader.tableName)?.rows.get(uuid);
    const whole = rowUpdate['initial'] ?? rowUpdate['insert'] ?? rowUpdate['new'];
    if (isJsonObject(whole)) {
      const row = reader.read(uuid, whole);
      return held !== undefined && reader.equal(held, row) ? held : row;
    }
    const difference = rowUpdate['modify'];
    if (isJsonObject(difference)) {
      if (held === undefined) throw new ProtocolError(`${reader.tableName}: unknown row ${uuid} is modified`);
      return reader.modify(held, difference);
    }
    if ('delete' in rowUpdate || 'old' in rowUpdate) return undefined;
    throw new ProtocolError(`${reader.tableName}: row ${uuid} is neither inserted, modified nor deleted`);
  }

  #tableBatch(tableName: string): TableBatch {
    let batch = this.tables.get(tableName);
    if (batch === undefined) {
      batch = { rows: new Map(), deleted: new Set() };
      this.tables.set(tableName, batch);
    }
    return batch;
  }
}
