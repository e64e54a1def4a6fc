import type { Uuid } from '../common/addresses.js';
import { type Column, type Row, scalar, type TableSpec } from './columns.js';
import { ProtocolError } from './errors.js';
import { type Json, type JsonObject, parseJson } from './json.js';
import type { ColumnType } from './schema.js';
import { applyDifference, type ColumnValue, decodeValue, type Intern, valuesEqual } from './values.js';

/** A row without its static type: what the replica holds. */
export type AnyRow = Row<TableSpec>;

interface Field {
  readonly name: string;
  readonly column: Column<unknown>;
  /** What a row has that does not mention the column. */
  readonly absent: unknown;
  /** update2 sends what changed in the value, not the new value. */
  readonly differential: boolean;
}

/** Turns one table's wire rows into typed rows, for the schema of one server. Pure but for the interning of strings. */
export class RowReader {
  readonly tableName: string;
  /** Columns of the spec that the server has. */
  readonly columns: readonly string[];
  readonly #fields: readonly Field[];
  readonly #intern: Intern;
  readonly #blank: Readonly<Record<string, unknown>>;

  constructor(spec: TableSpec, columnTypes: ReadonlyMap<string, ColumnType>, intern: Intern) {
    this.tableName = spec.name;
    this.columns = Object.keys(spec.columns).filter((name) => columnTypes.has(name));
    this.#fields = Object.entries(spec.columns).map(([name, column]) =>
      fieldOf(name, column, columnTypes.get(name)),
    );
    this.#intern = intern;
    this.#blank = blankRow(Object.keys(spec.columns));
  }

  /** A whole row. Throws ProtocolError when a value does not fit its column. */
  read(uuid: Uuid, wire: JsonObject): AnyRow {
    const row: Record<string, unknown> = { ...this.#blank };
    row['_uuid'] = uuid;
    for (const { name, column, absent } of this.#fields) {
      const value = wire[name];
      row[name] = value === undefined ? absent : shareEmpty(column, this.#decode(uuid, name, column, value));
    }
    return row as AnyRow;
  }

  /** `row` after a `modify` of update2 (ovsdb-server(7) §4.1.14). Throws ProtocolError. */
  modify(row: AnyRow, wire: JsonObject): AnyRow {
    const before = row as Readonly<Record<string, unknown>>;
    const after: Record<string, unknown> = { ...this.#blank };
    after['_uuid'] = row._uuid;
    for (const { name, column, differential } of this.#fields) {
      const value = wire[name];
      const held = before[name] as ColumnValue;
      if (value === undefined) {
        after[name] = held;
      } else if (differential) {
        after[name] = shareEmpty(column, this.#merge(row._uuid, name, column, held, value));
      } else {
        after[name] = shareEmpty(column, this.#decode(row._uuid, name, column, value));
      }
    }
    return after as AnyRow;
  }

  /** Whether both rows say the same in every column of the spec. */
  equal(a: AnyRow, b: AnyRow): boolean {
    const left = a as Readonly<Record<string, unknown>>;
    const right = b as Readonly<Record<string, unknown>>;
    return this.#fields.every(({ name }) =>
      valuesEqual(left[name] as ColumnValue, right[name] as ColumnValue),
    );
  }

  #merge(uuid: Uuid, name: string, column: Column<unknown>, held: ColumnValue, wire: Json): ColumnValue {
    const asElements: Column<unknown> = column.kind === 'map' ? column : { ...column, kind: 'set' };
    const merged = applyDifference(held, this.#decode(uuid, name, asElements, wire));
    if (column.kind === 'map' || column.kind === 'set' || !Array.isArray(merged)) return merged;
    const [only, ...others] = merged as readonly ColumnValue[];
    if (others.length > 0 || (column.kind === 'scalar' && merged.length === 0)) {
      throw this.#misfit(uuid, name, column, wire);
    }
    return only;
  }

  #decode(uuid: Uuid, name: string, column: Column<unknown>, wire: Json): ColumnValue {
    const decoded = decodeValue(column, wire, this.#intern);
    if (decoded === undefined) throw this.#misfit(uuid, name, column, wire);
    return decoded.value;
  }

  #misfit(uuid: Uuid, name: string, column: Column<unknown>, wire: Json): ProtocolError {
    const where = `${this.tableName}.${name} of row ${uuid}`;
    const type = column.value === undefined ? column.key : `${column.key} to ${column.value}`;
    return new ProtocolError(`${where} is not ${column.kind} of ${type}: ${excerpt(wire)}`, {
      table: this.tableName,
      column: name,
      row: uuid,
    });
  }
}

function fieldOf(name: string, column: Column<unknown>, type: ColumnType | undefined): Field {
  const defaultIsOneAtom = column.kind === 'set' && type !== undefined && type.min > 0;
  return {
    name,
    column,
    absent: defaultIsOneAtom ? [scalar(column.key).missing] : column.missing,
    differential: type !== undefined && type.max > 1,
  };
}

/**
 * A row to copy and fill. JSON.parse and spread make compact objects of any number of members, while V8 turns one whose
 * members are added by computed name into a hash table, five times as big.
 */
function blankRow(columnNames: readonly string[]): Readonly<Record<string, unknown>> {
  const members = ['_uuid', ...columnNames].map((name) => `${JSON.stringify(name)}:null`);
  return parseJson(`{${members.join(',')}}`) as JsonObject;
}

/** Empty sets and maps are most of a database: all rows share the column's one. */
function shareEmpty(column: Column<unknown>, value: ColumnValue): unknown {
  if (column.kind === 'set' && Array.isArray(value) && value.length === 0) return column.missing;
  if (column.kind === 'map' && value instanceof Map && value.size === 0) return column.missing;
  return value;
}

function excerpt(wire: Json): string {
  const text = JSON.stringify(wire);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
