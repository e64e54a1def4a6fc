import { ProtocolError } from './errors.js';
import { isJsonObject, type Json } from './json.js';

/** What a client needs of a column's type (RFC 7047 §3.2 <type>). */
export interface ColumnType {
  readonly min: number;
  /** Infinity for "unlimited". */
  readonly max: number;
}

/** A database's schema as the connected server has it. */
export interface Schema {
  readonly name: string;
  readonly version: string;
  readonly tables: ReadonlyMap<string, ReadonlyMap<string, ColumnType>>;
}

/** Reads the answer to get_schema (RFC 7047 §3.2 <database-schema>). Throws ProtocolError. */
export function parseSchema(json: Json): Schema {
  if (!isJsonObject(json) || typeof json['name'] !== 'string' || !isJsonObject(json['tables'])) {
    throw new ProtocolError('get_schema: the answer is not a database schema');
  }
  const tables = Object.entries(json['tables']).map(
    ([name, table]) => [name, parseColumns(name, table)] as const,
  );
  const version = typeof json['version'] === 'string' ? json['version'] : '';
  return { name: json['name'], version, tables: new Map(tables) };
}

function parseColumns(tableName: string, json: Json): ReadonlyMap<string, ColumnType> {
  if (!isJsonObject(json) || !isJsonObject(json['columns'])) {
    throw new ProtocolError(`get_schema: table ${tableName} has no columns`);
  }
  const columns = Object.entries(json['columns']).map(
    ([name, column]) => [name, parseType(isJsonObject(column) ? column['type'] : undefined)] as const,
  );
  return new Map(columns);
}

function parseType(type: Json | undefined): ColumnType {
  if (!isJsonObject(type)) return { min: 1, max: 1 };
  const min = typeof type['min'] === 'number' ? type['min'] : 1;
  if (type['max'] === 'unlimited') return { min, max: Number.POSITIVE_INFINITY };
  return { min, max: typeof type['max'] === 'number' ? type['max'] : 1 };
}
