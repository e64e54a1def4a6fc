import type { TableSpec } from './columns.js';
import type { Row } from './columns.js';
import { ProtocolError, TransactionError } from './errors.js';
import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.js';
import type { Operation, OperationResult } from './operations.js';
import { RowReader } from './row-reader.js';
import type { Schema } from './schema.js';
import { parseUuid } from './values.js';

/** `operation` without the columns that the schema lacks. Its where clause stays: a condition must not get weaker. */
export function fitOperation(operation: Operation, schema: Schema): Operation {
  const columns = 'table' in operation ? schema.tables.get(operation.table) : undefined;
  if (columns === undefined) return operation;
  const has = (column: string): boolean => column === '_uuid' || columns.has(column);
  const fitRow = (row: JsonObject): JsonObject =>
    Object.fromEntries(Object.entries(row).filter(([column]) => has(column)));
  switch (operation.op) {
    case 'insert':
    case 'update':
      return { ...operation, row: fitRow(operation.row) };
    case 'mutate':
      return { ...operation, mutations: operation.mutations.filter(([column]) => has(column)) };
    case 'select':
      return { ...operation, columns: operation.columns.filter(has) };
    case 'wait':
      return { ...operation, columns: operation.columns.filter(has), rows: operation.rows.map(fitRow) };
    default:
      return operation;
  }
}

/** Reads the answer to transact (RFC 7047 §4.1.3). Throws TransactionError when any operation or the commit failed, ProtocolError. */
export function readResults(result: Json, operationCount: number): readonly OperationResult[] {
  if (!isJsonArray(result)) throw new ProtocolError('transact: the result is not an array');
  const failed = result.findIndex((entry) => isJsonObject(entry) && typeof entry['error'] === 'string');
  if (failed >= 0) throw transactionError(result[failed], failed);
  if (result.length < operationCount) {
    throw new ProtocolError(`transact: ${result.length} results for ${operationCount} operations`);
  }
  return result.slice(0, operationCount).map(readResult);
}

function transactionError(entry: Json | undefined, operation: number): TransactionError {
  const { error, details } = isJsonObject(entry) ? entry : {};
  const name = typeof error === 'string' ? error : 'unknown error';
  return new TransactionError(name, typeof details === 'string' ? details : undefined, operation);
}

function readResult(entry: Json): OperationResult {
  if (!isJsonObject(entry)) return {};
  const { uuid, count, rows } = entry;
  const uuidText = isJsonArray(uuid) && typeof uuid[1] === 'string' ? uuid[1] : '';
  const parsed = parseUuid(uuidText);
  return {
    ...(parsed !== undefined && { uuid: parsed }),
    ...(typeof count === 'number' && { count }),
    ...(isJsonArray(rows) && { rows: rows.filter((row) => isJsonObject(row)) }),
  };
}

/** The rows of a select as typed rows; columns that were not selected read as missing. Throws ProtocolError. */
export function selectedRows<T extends TableSpec>(
  spec: T,
  result: OperationResult | undefined,
): readonly Row<T>[] {
  const types = new Map(Object.keys(spec.columns).map((name) => [name, { min: 0, max: 1 }]));
  const reader = new RowReader(spec, types, (text) => text);
  return (result?.rows ?? []).map((row) => {
    const { _uuid: wireUuid } = row;
    const uuid =
      isJsonArray(wireUuid) && typeof wireUuid[1] === 'string' ? parseUuid(wireUuid[1]) : undefined;
    if (uuid === undefined) throw new ProtocolError(`select from ${spec.name}: a row has no _uuid`);
    return reader.read(uuid, row) as Row<T>;
  });
}
