import type { TableSpec } from './columns.js';
import type { Connection, RequestOptions } from './connection.js';
import { ProtocolError, RequestError } from './errors.js';
import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.js';
import { type Condition, encodeWhere } from './operations.js';
import type { PieceSink } from './piece-cutter.js';
import type { Schema } from './schema.js';

/** The ways to subscribe, newest first, with the notification that each brings. */
export type MonitorMethod = 'monitor_cond_since' | 'monitor_cond' | 'monitor';

/** The id that stands for no transaction. */
const noTransaction = '00000000-0000-0000-0000-000000000000';

/** One table of a subscription. */
export interface Subscription {
  readonly spec: TableSpec;
  readonly conditions: readonly Condition[];
}

/** Answer to any of the methods, or one notification. */
export interface MonitorData {
  /** True when `updates` are relative to the transaction that was asked for. */
  readonly found: boolean;
  /** Undefined where the method has none. */
  readonly transactionId: string | undefined;
  readonly updates: Json | undefined;
}

/**
 * The <monitor-cond-requests> for what the schema has of the tables. A condition on a column that the server lacks is
 * left out; a table left without any is replicated whole.
 */
export function monitorRequests(subscriptions: readonly Subscription[], schema: Schema): JsonObject {
  const requests: Record<string, Json> = {};
  for (const { spec, conditions } of subscriptions) {
    const columns = schema.tables.get(spec.name);
    if (columns === undefined) continue;
    const where = encodeWhere(
      spec,
      conditions.filter(({ column }) => column === '_uuid' || columns.has(column)),
    );
    const request = { columns: Object.keys(spec.columns).filter((name) => columns.has(name)) };
    requests[spec.name] = [where.length === 0 ? request : { ...request, where }];
  }
  return requests;
}

/**
 * Subscribes by the newest method that the server knows. `apply` runs before anything that follows the answer is read.
 * Throws what `Connection.request` throws, and ProtocolError when only `monitor` is known but there are conditions.
 */
export async function subscribe(
  connection: Connection,
  request: {
    readonly database: string;
    readonly monitorId: string;
    readonly requests: JsonObject;
    readonly transactionId: string | undefined;
  },
  options: RequestOptions,
  apply: (data: MonitorData, sink: PieceSink | undefined) => Promise<void>,
): Promise<MonitorMethod> {
  const { database, monitorId, requests, transactionId = noTransaction } = request;
  const common = [database, monitorId, requests];
  const attempts: readonly (readonly [MonitorMethod, readonly Json[]])[] = [
    ['monitor_cond_since', [...common, transactionId]],
    ['monitor_cond', common],
    ['monitor', common],
  ];
  for (const [method, params] of attempts) {
    if (method === 'monitor') requireNoConditions(requests);
    try {
      await connection.request(method, params, options, (result, sink) =>
        apply(readAnswer(method, result), sink),
      );
      return method;
    } catch (error) {
      const isUnknown = error instanceof RequestError && error.fields['error'] === 'unknown method';
      if (!isUnknown || method === 'monitor') throw error;
    }
  }
  throw new ProtocolError('the server knows no way to monitor');
}

/** Reads a notification "update", "update2" or "update3" of the monitor; undefined when it belongs to another. */
export function readNotification(
  method: string,
  params: readonly Json[],
  monitorId: string,
): MonitorData | undefined {
  if (params[0] !== monitorId) return undefined;
  if (method !== 'update3') return { found: true, transactionId: undefined, updates: params[1] };
  const [, transactionId, updates] = params;
  if (typeof transactionId !== 'string')
    throw new ProtocolError('update3: the transaction id is not a string');
  return { found: true, transactionId: realTransaction(transactionId), updates };
}

function readAnswer(method: MonitorMethod, result: Json): MonitorData {
  if (method !== 'monitor_cond_since') return { found: false, transactionId: undefined, updates: result };
  if (!isJsonArray(result)) throw new ProtocolError('monitor_cond_since: the result is not an array');
  const [found, transactionId, updates] = result;
  if (typeof found !== 'boolean' || typeof transactionId !== 'string') {
    throw new ProtocolError('monitor_cond_since: the result is malformed');
  }
  return {
    found,
    transactionId: realTransaction(transactionId),
    updates,
  };
}

/** Standalone databases keep no history and name every transaction zero. */
function realTransaction(id: string): string | undefined {
  return id === noTransaction ? undefined : id;
}

function requireNoConditions(requests: JsonObject): void {
  const conditional = Object.entries(requests).filter(([, request]) => {
    const first = isJsonArray(request) ? request[0] : undefined;
    return isJsonObject(first) && 'where' in first;
  });
  if (conditional.length === 0) return;
  const names = conditional.map(([name]) => name).join(', ');
  throw new ProtocolError(`the server can't select rows (no monitor_cond), asked for ${names}`);
}
