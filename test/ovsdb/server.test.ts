import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';

import test from 'ava';
import fc from 'fast-check';

import type { Uuid } from '../../common/addresses.js';
import {
  abort,
  assertLock,
  byUuid,
  comment,
  insert,
  mutate,
  namedUuid,
  type Operation,
  openDatabase,
  remove,
  scalar,
  select,
  selectedRows,
  table,
  TransactionError,
  update,
  wait,
  where,
} from '../../ovsdb/index.js';
import { type LogLine, loads, recordingLogger } from './recording-logger.js';
import {
  insertNamed,
  names,
  open,
  prepareFolder,
  startServer,
  type TestDatabase,
  thing,
} from './real-server.js';
import { command, eventually, Server, testSchema, until } from './support.js';

test('values of every shape, written and read back', async (t) => {
  const { remote } = await startServer(t);
  const database = open(t, remote);
  await database.populated();
  const values = {
    name: 'ä "\\ 😀\n',
    number: -(2 ** 52),
    ratio: 0.5,
    flag: true,
    note: '',
    tags: ['b', 'a'],
    numbers: [10, 9, -1],
    options: new Map([
      ['', ''],
      ['k', 'v'],
    ]),
    counts: new Map([['n', 3]]),
  };
  const [, b] = await database.transact([
    insert(thing, values, 'a'),
    insert(thing, { name: 'b', friend: namedUuid('a'), others: [namedUuid('a'), namedUuid('b')] }, 'b'),
    comment('two things'),
  ]);
  await until(database, 'both are there', () => database.tables.thing.size === 2);
  const second = database.tables.thing.get(b?.uuid as Uuid);
  const first = database.tables.thing.get(second?.friend as Uuid);
  t.like(first, { ...values, tags: ['a', 'b'], numbers: [-1, 9, 10], friend: undefined, others: [] });
  t.deepEqual(second?.others, [first?._uuid, second?._uuid].sort() as Uuid[]);
  const [selected] = await database.transact([select(thing, [where(thing, 'name', '==', 'b')])]);
  t.deepEqual(
    selectedRows(thing, selected),
    [second].filter((row) => row !== undefined),
  );
});

test('update, mutate, delete, wait, abort and their counts', async (t) => {
  const { remote } = await startServer(t);
  const database = open(t, remote);
  await database.populated();
  const uuid = await insertNamed(database, 'a');
  const results = await database.transact([
    update(thing, byUuid(uuid), { note: 'n', tags: ['x'], counts: new Map([['k', 1]]) }),
    mutate(
      thing,
      [where(thing, 'tags', 'includes', ['x'])],
      [
        { column: 'tags', mutator: 'insert', value: ['y', 'z'] },
        { column: 'tags', mutator: 'delete', value: 'x' },
        { column: 'number', mutator: '+=', value: 5 },
        { column: 'counts', mutator: 'insert', value: new Map([['l', 2]]) },
        { column: 'counts', mutator: 'delete', value: ['k'] },
      ],
    ),
    remove(thing, [where(thing, 'name', '==', 'nobody')]),
    wait(thing, byUuid(uuid), ['number'], '==', [{ number: 5 }], 0),
  ]);
  t.deepEqual(
    results.map(({ count }) => count),
    [1, 1, 0, undefined],
  );
  await until(database, 'changed', () => database.tables.thing.get(uuid)?.number === 5);
  t.like(database.tables.thing.get(uuid), { note: 'n', tags: ['y', 'z'], counts: new Map([['l', 2]]) });
  const refuse = (operations: readonly Operation[]) =>
    t.throwsAsync(database.transact(operations), { instanceOf: TransactionError });
  t.like((await refuse([comment('x'), abort()])).fields, { error: 'aborted', operation: 1 });
  t.is(
    (await refuse([wait(thing, byUuid(uuid), ['name'], '!=', [{ name: 'a' }], 0)])).fields['error'],
    'timed out',
  );
  t.is((await refuse([insert(thing, { name: 'a' })])).fields['operation'], 1);
  await database.transact([update(thing, byUuid(uuid), { note: undefined }), remove(thing, byUuid(uuid))]);
  await until(database, 'gone', () => database.tables.thing.size === 0);
});

test('columns and tables that the server lacks are skipped, in reading and writing', async (t) => {
  const { remote } = await startServer(t);
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  const wide = table('Thing', { name: scalar('string'), future: scalar('string') });
  const ghost = table('Ghost', { name: scalar('string') });
  const database = openDatabase({
    name: 'Test',
    remote,
    tables: { wide, ghost },
    signal: controller.signal,
    log: recordingLogger([]),
  });
  await database.populated();
  const [result] = await database.transact([
    insert(wide, { name: 'a', future: 'x' }),
    mutate(wide, [], [{ column: 'future', mutator: '+=', value: 1 }]),
    update(wide, [], { future: 'y' }),
  ]);
  await until(database, 'the row is there', () => database.tables.wide.size === 1);
  t.deepEqual(database.tables.wide.get(result?.uuid as Uuid), {
    _uuid: result?.uuid as Uuid,
    name: 'a',
    future: '',
  });
  t.is(database.tables.ghost.size, 0);
  t.false(database.hasColumn('Thing', 'future'));
  t.false(database.hasColumn('Ghost', 'name'));
  t.is(database.status.schemaVersion, '1.0.0');
});

test('rows enter and leave a condition', async (t) => {
  const { remote } = await startServer(t);
  const writer = open(t, remote);
  await writer.populated();
  const a = await insertNamed(writer, 'a');
  await insertNamed(writer, 'b');
  const conditions = { thing: [where(thing, 'name', '==', 'a'), where(thing, 'name', '==', 'c')] };
  const reader = open(t, remote, { conditions });
  await reader.populated();
  t.deepEqual(names(reader), ['a']);
  await writer.transact([update(thing, byUuid(a), { name: 'x' })]);
  await until(reader, 'a has left', () => reader.tables.thing.size === 0);
  await writer.transact([update(thing, byUuid(a), { name: 'c' })]);
  await until(reader, 'and is back', () => reader.tables.thing.size === 1);
  t.deepEqual(names(reader), ['c']);
});

const word = fc.constantFrom('a', 'b', 'c', 'd');
const values = fc.record(
  {
    number: fc.integer({ min: -5, max: 5 }),
    note: fc.option(word, { nil: undefined }),
    tags: fc.uniqueArray(word),
    numbers: fc.uniqueArray(fc.integer({ min: -20, max: 20 })),
    options: fc
      .uniqueArray(fc.tuple(word, word), { selector: ([key]) => key })
      .map((pairs) => new Map(pairs)),
    counts: fc
      .uniqueArray(fc.tuple(word, fc.nat(3)), { selector: ([key]) => key })
      .map((pairs) => new Map(pairs)),
  },
  { requiredKeys: [] },
);
const change = fc.record({ target: fc.nat(5), values, kind: fc.constantFrom('put', 'put', 'put', 'remove') });

test('after any transactions the contents equal those that a new client gets', async (t) => {
  const { remote } = await startServer(t);
  const database = open(t, remote);
  await database.populated();
  const isTarget = (name: string) => [where(thing, 'name', '==', name)];
  const seed = Date.now();
  t.log(`seed ${seed}`);
  const transactions = fc.sample(fc.array(change, { minLength: 1, maxLength: 4 }), { numRuns: 150, seed });
  for (const changes of transactions) {
    for (const { target, values: written, kind } of changes) {
      const name = `t${target}`;
      const exists = names(database).includes(name);
      const operation =
        kind === 'remove'
          ? remove(thing, isTarget(name))
          : exists
            ? update(thing, isTarget(name), written)
            : insert(thing, { ...written, name });
      await database.transact([operation]);
      await until(database, 'presence', () => names(database).includes(name) === (kind !== 'remove'));
    }
  }
  // Updates come in order: with this one, all are in.
  await insertNamed(database, 'marker');
  await until(database, 'all updates are in', () => names(database).includes('marker'));
  const fresh = open(t, remote);
  await fresh.populated();
  const rows = (from: TestDatabase) => [...from.tables.thing].sort((x, y) => (x.name < y.name ? -1 : 1));
  t.deepEqual(rows(database), rows(fresh));
});

test('a restart of the server: contents kept meanwhile, the difference reported after', async (t) => {
  const { server, remote, folder } = await startServer(t);
  const database = open(t, remote);
  await database.populated();
  await insertNamed(database, 'stays');
  await insertNamed(database, 'goes');
  await until(database, 'two rows', () => database.tables.thing.size === 2);
  const changes: unknown[] = [];
  database.onUpdate((batch) =>
    changes.push(...(batch.changes.thing ?? []).map(({ before, after }) => [before?.name, after?.name])),
  );
  await server.stop();
  await until(database, 'notices', ({ status }) => status.state !== 'connected');
  t.deepEqual(names(database), ['goes', 'stays']);
  const transaction = ['Test', { op: 'delete', table: 'Thing', where: [['name', '==', 'goes']] }];
  await command('ovsdb-tool', 'transact', path.join(folder, 'db'), JSON.stringify(transaction));
  await server.start();
  await until(database, 'reconnected', ({ status }) => status.reconnects === 1);
  t.deepEqual(names(database), ['stays']);
  t.deepEqual(changes, [['goes', undefined]]);
});

test('a stopped server is noticed by the probe, and taken up again when it goes on', async (t) => {
  const { server, remote } = await startServer(t);
  const database = open(t, remote, {
    inactivityProbeMs: 400,
    timing: { connectTimeoutMs: 500, requestTimeoutMs: 500 },
  });
  await database.populated();
  await insertNamed(database, 'a');
  server.signal('SIGSTOP');
  await until(database, 'notices', ({ status }) => status.state !== 'connected');
  t.deepEqual(names(database), ['a']);
  server.signal('SIGCONT');
  await until(database, 'reconnected', ({ status }) => status.state === 'connected');
  await insertNamed(database, 'b');
});

test('a clustered server restarted: only what happened meanwhile is sent', async (t) => {
  const { folder, schemaFile } = prepareFolder(t);
  const file = path.join(folder, 'db');
  await command('ovsdb-tool', 'create-cluster', file, schemaFile, `unix:${path.join(folder, 'raft')}`);
  const [privateSocket, publicSocket] = [path.join(folder, 'private'), path.join(folder, 'public')];
  const server = new Server(folder, [file, `--remote=punix:${privateSocket}`]);
  t.teardown(() => server.stop('SIGKILL'));
  await server.start();
  await server.control('ovsdb-server/add-remote', `punix:${publicSocket}`);
  const lines: LogLine[] = [];
  const database = open(t, `unix:${publicSocket}`, { log: recordingLogger(lines) });
  await database.populated();
  await database.transact(Array.from({ length: 500 }, (_, index) => insert(thing, { name: `n${index}` })));
  // The server's history is bounded by the database's size: it forgets a transaction that made all of it.
  await insertNamed(database, 'last');
  await until(database, 'all are there', () => database.tables.thing.size === 501);
  await server.stop();
  await server.start();
  const other = open(t, `unix:${privateSocket}`);
  await other.populated();
  await other.transact([
    remove(thing, [where(thing, 'name', '==', 'n7')]),
    update(thing, [where(thing, 'name', '==', 'n8')], { tags: ['changed'] }),
  ]);
  await server.control('ovsdb-server/add-remote', `punix:${publicSocket}`);
  await until(database, 'reconnected', ({ status }) => status.reconnects === 1);
  t.deepEqual(loads(lines), [
    { resumed: false, changedRows: 0 },
    { resumed: true, changedRows: 2 },
  ]);
  t.is(database.tables.thing.size, 500);
  t.deepEqual([...database.tables.thing].find(({ name }) => name === 'n8')?.tags, ['changed']);
});

test('a schema converted in place: subscribed again on the same session, with the new column', async (t) => {
  const { remote, folder } = await startServer(t);
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  const future = table('Thing', { name: scalar('string'), future: scalar('string') });
  const database = openDatabase({
    name: 'Test',
    remote,
    tables: { future },
    signal: controller.signal,
    log: recordingLogger([]),
  });
  await database.populated();
  await database.transact([insert(future, { name: 'a', future: 'lost' })]);
  const schemaFile = path.join(folder, 'new-schema');
  writeFileSync(schemaFile, JSON.stringify(testSchema({ future: { type: 'string' } }, '2.0.0')));
  await command('ovsdb-client', 'convert', remote, schemaFile);
  await eventually('the new column is known', () => database.hasColumn('Thing', 'future'));
  await database.transact([update(future, [], { future: 'now' })]);
  await eventually('its value is seen', () => [...database.tables.future][0]?.future === 'now');
  t.is(database.status.reconnects, 0);
  t.is(database.status.schemaVersion, '2.0.0');
});

test('a lock: held by one, inherited, stolen and given back', async (t) => {
  const { remote } = await startServer(t);
  const closing = new AbortController();
  t.teardown(() => closing.abort());
  const first = open(t, remote, { signal: closing.signal });
  await first.populated();
  const firstLock = first.lock('L');
  await eventually('first holds it', () => firstLock.held);
  const second = open(t, remote);
  const secondLock = second.lock('L');
  await second.populated();
  await second.transact([comment('the lock request has been answered before this')]);
  t.false(secondLock.held);
  await first.transact([assertLock('L')]);
  const refused = await t.throwsAsync(second.transact([assertLock('L')]), { instanceOf: TransactionError });
  t.is(refused.fields['error'], 'not owner');
  closing.abort();
  await eventually('second inherits it', () => secondLock.held);
  t.false(firstLock.held);
  const thief = spawn('ovsdb-client', ['steal', remote, 'L'], { stdio: 'ignore' });
  t.teardown(() => thief.kill('SIGKILL'));
  await eventually('second has lost it', () => !secondLock.held);
  thief.kill();
  await once(thief, 'exit');
  await eventually('second has it back', () => secondLock.held);
});

test('a client without tables: transactions and locks only', async (t) => {
  const { remote } = await startServer(t);
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  const database = openDatabase({
    name: 'Test',
    remote,
    tables: {},
    signal: controller.signal,
    log: recordingLogger([]),
  });
  await database.populated();
  const [result] = await database.transact([insert(thing, { name: 'a' })]);
  t.truthy(result?.uuid);
});
