import type { Uuid } from '../common/addresses.js';
import type { Row, RowValues, TableSpec } from './columns.js';
import type { Json, JsonObject } from './json.js';
import { columnOf, encodeNamedUuid, encodeValue, type Writable } from './values.js';

export type ConditionFunction = '<' | '<=' | '==' | '!=' | '>=' | '>' | 'includes' | 'excludes';

/**
 * One comparison (RFC 7047 §5.1 <condition>). Conditions of an operation must all hold; of those that select what is
 * replicated, any. `_uuid` is a column like others.
 */
export interface Condition {
  readonly column: string;
  readonly function: ConditionFunction;
  readonly value: Writable;
}

export type Mutator = '+=' | '-=' | '*=' | '/=' | '%=' | 'insert' | 'delete';

/** One change relative to what is there (RFC 7047 §5.1 <mutation>). `delete` on a map takes the keys as an array or whole pairs as a Map. */
export interface Mutation<Name extends string = string> {
  readonly column: Name;
  readonly mutator: Mutator;
  readonly value: Writable;
}

/** One operation as it goes over the wire (RFC 7047 §5.2); made by the functions below. */
export type Operation =
  | { readonly op: 'insert'; readonly table: string; readonly row: JsonObject; readonly 'uuid-name'?: string }
  | {
      readonly op: 'update';
      readonly table: string;
      readonly where: readonly Json[];
      readonly row: JsonObject;
    }
  | {
      readonly op: 'mutate';
      readonly table: string;
      readonly where: readonly Json[];
      readonly mutations: readonly (readonly [column: string, mutator: Mutator, value: Json])[];
    }
  | { readonly op: 'delete'; readonly table: string; readonly where: readonly Json[] }
  | {
      readonly op: 'select';
      readonly table: string;
      readonly where: readonly Json[];
      readonly columns: readonly string[];
    }
  | {
      readonly op: 'wait';
      readonly table: string;
      readonly where: readonly Json[];
      readonly columns: readonly string[];
      readonly until: '==' | '!=';
      readonly rows: readonly JsonObject[];
      readonly timeout: number;
    }
  | { readonly op: 'comment'; readonly comment: string }
  | { readonly op: 'assert'; readonly lock: string }
  | { readonly op: 'abort' };

/** What one operation did: `uuid` of an insert, `count` of rows touched, `rows` of a select (read them with `selectedRows`). */
export interface OperationResult {
  readonly uuid?: Uuid;
  readonly count?: number;
  readonly rows?: readonly JsonObject[];
}

type ColumnName<T extends TableSpec> = keyof T['columns'] & string;

/** Adds a row; columns left out get their default. `uuidName` lets other operations of the transaction refer to it by `namedUuid`. */
export function insert<T extends TableSpec>(spec: T, values: RowValues<T>, uuidName?: string): Operation {
  const row = encodeRow(spec, values);
  return uuidName === undefined
    ? { op: 'insert', table: spec.name, row }
    : { op: 'insert', table: spec.name, row, 'uuid-name': uuidName };
}

/** Sets the given columns of every row that `where` selects. */
export function update<T extends TableSpec>(
  spec: T,
  where: readonly Condition[],
  values: RowValues<T>,
): Operation {
  return { op: 'update', table: spec.name, where: encodeWhere(spec, where), row: encodeRow(spec, values) };
}

/** Changes columns of every row that `where` selects relative to what they hold. */
export function mutate<T extends TableSpec>(
  spec: T,
  where: readonly Condition[],
  mutations: readonly Mutation<ColumnName<T>>[],
): Operation {
  return {
    op: 'mutate',
    table: spec.name,
    where: encodeWhere(spec, where),
    mutations: mutations.map(({ column, mutator, value }) => [
      column,
      mutator,
      encodeValue(columnOf(spec, column), value),
    ]),
  };
}

/** The operation "delete": removes every row that `where` selects. */
export function remove(spec: TableSpec, where: readonly Condition[]): Operation {
  return { op: 'delete', table: spec.name, where: encodeWhere(spec, where) };
}

/** Reads columns (default: those of the spec) of every row that `where` selects, and `_uuid`. */
export function select<T extends TableSpec>(
  spec: T,
  where: readonly Condition[],
  columns: readonly ColumnName<T>[] = Object.keys(spec.columns),
): Operation {
  return { op: 'select', table: spec.name, where: encodeWhere(spec, where), columns: ['_uuid', ...columns] };
}

/**
 * Holds the transaction until the selected rows, reduced to `columns`, are (`==`) or are not (`!=`) `rows`; it fails
 * with "timed out" after `timeoutMs`. 0 makes it a check (RFC 7047 §5.2.6).
 */
export function wait<T extends TableSpec>(
  spec: T,
  where: readonly Condition[],
  columns: readonly ColumnName<T>[],
  until: '==' | '!=',
  rows: readonly RowValues<T>[],
  timeoutMs: number,
): Operation {
  return {
    op: 'wait',
    table: spec.name,
    where: encodeWhere(spec, where),
    columns,
    until,
    rows: rows.map((row) => encodeRow(spec, row)),
    timeout: timeoutMs,
  };
}

/** Text for the server's log of transactions. */
export function comment(text: string): Operation {
  return { op: 'comment', comment: text };
}

/** Fails the transaction unless this session holds the lock. */
export function assertLock(name: string): Operation {
  return { op: 'assert', lock: name };
}

/** Fails the transaction, always: for trying one out. */
export function abort(): Operation {
  return { op: 'abort' };
}

/** The where clause that selects one row. */
export function byUuid(uuid: Uuid): readonly Condition[] {
  return [{ column: '_uuid', function: '==', value: uuid }];
}

/** A condition whose value is checked against the column's type. */
export function where<T extends TableSpec, Name extends ColumnName<T>>(
  _spec: T,
  column: Name,
  comparison: ConditionFunction,
  value: Row<T>[Name] & Writable,
): Condition {
  return { column, function: comparison, value };
}

/**
 * A reference to the row that an insert of the same transaction makes under that `uuidName`; usable wherever a Uuid is
 * written. Throws RangeError when `name` is not an RFC 7047 <id>.
 */
export function namedUuid(name: string): Uuid {
  return encodeNamedUuid(name);
}

/** Conditions as they go over the wire. */
export function encodeWhere(spec: TableSpec, conditions: readonly Condition[]): readonly Json[] {
  return conditions.map(({ column, function: comparison, value }) => [
    column,
    comparison,
    encodeValue(columnOf(spec, column), value),
  ]);
}

function encodeRow(spec: TableSpec, values: Readonly<Record<string, unknown>>): JsonObject {
  const entries = Object.entries(values).map(([name, value]) => [
    name,
    encodeValue(columnOf(spec, name), value as Writable),
  ]);
  return Object.fromEntries(entries) as JsonObject;
}
