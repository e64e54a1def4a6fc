import { writeFileSync } from 'node:fs';
import path from 'node:path';

import type { ExecutionContext } from 'ava';

import type { Uuid } from '../../common/addresses.js';
import { silentLogger } from '../../common/log.js';
import {
  type Database,
  type DatabaseOptions,
  insert,
  map,
  openDatabase,
  optional,
  scalar,
  set,
  table,
} from '../../ovsdb/index.js';
import { command, Server, temporaryFolder, testSchema } from './support.js';

export const thing = table('Thing', {
  name: scalar('string'),
  number: scalar('integer'),
  ratio: scalar('real'),
  flag: scalar('boolean'),
  note: optional('string'),
  tags: set('string'),
  numbers: set('integer'),
  others: set('uuid'),
  friend: optional('uuid'),
  options: map('string', 'string'),
  counts: map('string', 'integer'),
});
export const tables = { thing };
export type TestDatabase = Database<typeof tables>;

/** A folder that goes away with the test, and a schema file in it. */
export function prepareFolder(t: ExecutionContext): { readonly folder: string; readonly schemaFile: string } {
  const folder = temporaryFolder();
  t.teardown(() => folder.remove());
  const schemaFile = path.join(folder.path, 'schema');
  writeFileSync(schemaFile, JSON.stringify(testSchema()));
  return { folder: folder.path, schemaFile };
}

/** A running server with an empty standalone database Test, on a unix socket and what `args` add. */
export async function startServer(
  t: ExecutionContext,
  ...args: string[]
): Promise<{ readonly server: Server; readonly remote: string; readonly folder: string }> {
  const { folder, schemaFile } = prepareFolder(t);
  const file = path.join(folder, 'db');
  await command('ovsdb-tool', 'create', file, schemaFile);
  const socket = path.join(folder, 'sock');
  const server = new Server(folder, [file, `--remote=punix:${socket}`, ...args]);
  t.teardown(() => server.stop('SIGKILL'));
  await server.start();
  return { server, remote: `unix:${socket}`, folder };
}

/** A client of database Test that ends with the test. */
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
    timing: { backoffInitialMs: 10, backoffMaximumMs: 100, stableAfterMs: 500 },
    ...options,
  });
}

export const names = (database: TestDatabase): readonly string[] =>
  [...database.tables.thing].map(({ name }) => name).sort();

/** Inserts a row with this name and else defaults. */
export async function insertNamed(database: TestDatabase, name: string): Promise<Uuid> {
  const [result] = await database.transact([insert(thing, { name })]);
  if (result?.uuid === undefined) throw new Error('no uuid');
  return result.uuid;
}
