import type { ExecutionContext } from 'ava';

import { silentLogger } from '../../common/log.js';
import {
  type Database,
  type DatabaseOptions,
  openDatabase,
  optional,
  scalar,
  set,
  table,
} from '../../ovsdb/index.js';
import type { Json } from '../../ovsdb/json.js';
import { FakeServer, rowId, type Script } from './fake-server.js';

export const thing = table('Thing', {
  name: scalar('string'),
  tags: set('string'),
  later: optional('string'),
});
export const tables = { thing };
export type TestDatabase = Database<typeof tables>;

/** Short enough that a test may wait for any of it. */
export const timing = {
  connectTimeoutMs: 2_000,
  requestTimeoutMs: 2_000,
  backoffInitialMs: 10,
  backoffMaximumMs: 40,
  stableAfterMs: 1_000,
};

/** A client of the scripted server that ends with the test. */
export function open(
  t: ExecutionContext,
  remote: string,
  options: Partial<DatabaseOptions<typeof tables>> = {},
): TestDatabase {
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  return openDatabase({
    name: 'Test',
    remote,
    tables,
    signal: controller.signal,
    log: silentLogger,
    timing,
    ...options,
  });
}

/** A scripted server that ends with the test. */
export async function serve(t: ExecutionContext, script: Script = {}): Promise<FakeServer> {
  const server = await FakeServer.start(script);
  t.teardown(() => server.stop());
  return server;
}

export const names = (database: TestDatabase): readonly string[] =>
  [...database.tables.thing].map(({ name }) => name).sort();
export const initialRows = (rows: Readonly<Record<string, string>>): Json => ({
  Thing: Object.fromEntries(Object.entries(rows).map(([uuid, name]) => [uuid, { initial: { name } }])),
});
export const full = (rows: Readonly<Record<string, string>>, transaction = rowId(0)) => ({
  monitor_cond_since: () => ({ result: [false, transaction, initialRows(rows)] }),
});
export const connected = (database: TestDatabase): boolean => database.status.state === 'connected';
/** The monitor id that the client gave in its newest request. */
export function monitorId(server: FakeServer, method = 'monitor_cond_since'): Json {
  const params = server.peer.requests(method).at(-1)?.['params'] as readonly Json[];
  return params[1] ?? null;
}
