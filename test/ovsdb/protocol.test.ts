import test, { type ExecutionContext } from 'ava';

import type { Uuid } from '../../common/addresses.js';
import { silentLogger } from '../../common/log.js';
import {
  byUuid,
  type Database,
  type DatabaseOptions,
  type DatabaseUpdate,
  insert,
  NotConnectedError,
  openDatabase,
  optional,
  RequestTimeoutError,
  scalar,
  select,
  selectedRows,
  set,
  table,
  TransactionError,
  update,
  where,
} from '../../ovsdb/index.js';
import type { Json, JsonObject } from '../../ovsdb/json.js';
import { FakeServer, fakeSchema, rowId, type Script, serverRow, unknownMethod } from './fake-server.js';
import { eventually, until } from './support.js';

const thing = table('Thing', { name: scalar('string'), tags: set('string'), later: optional('string') });
const tables = { thing };
type TestDatabase = Database<typeof tables>;

const timing = {
  connectTimeoutMs: 2_000,
  requestTimeoutMs: 2_000,
  backoffInitialMs: 10,
  backoffMaximumMs: 40,
  stableAfterMs: 1_000,
};

function open(
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

async function serve(t: ExecutionContext, script: Script = {}): Promise<FakeServer> {
  const server = await FakeServer.start(script);
  t.teardown(() => server.stop());
  return server;
}

const names = (database: TestDatabase): readonly string[] =>
  [...database.tables.thing].map(({ name }) => name).sort();
const initialRows = (rows: Readonly<Record<string, string>>): Json => ({
  Thing: Object.fromEntries(Object.entries(rows).map(([uuid, name]) => [uuid, { initial: { name } }])),
});
const full = (rows: Readonly<Record<string, string>>, transaction = rowId(0)) => ({
  monitor_cond_since: () => ({ result: [false, transaction, initialRows(rows)] }),
});
const connected = (database: TestDatabase): boolean => database.status.state === 'connected';
/** The monitor id that the client gave in its newest request. */
function monitorId(server: FakeServer, method = 'monitor_cond_since'): Json {
  const params = server.peer.requests(method).at(-1)?.['params'] as readonly Json[];
  return params[1] ?? null;
}

test('contents come by monitor_cond_since and update3', async (t) => {
  const server = await serve(t, full({ [rowId(1)]: 'a', [rowId(2)]: 'b' }));
  const database = open(t, server.remote);
  const updates: DatabaseUpdate<typeof tables>[] = [];
  database.onUpdate((change) => updates.push(change));
  await database.populated();
  t.deepEqual(names(database), ['a', 'b']);
  server.peer.notify('update3', [
    monitorId(server),
    rowId(0),
    { Thing: { [rowId(1)]: { delete: null }, [rowId(2)]: { modify: { tags: 'x' } } } },
  ]);
  await until(database, 'row 1 is gone', () => names(database).length === 1);
  t.deepEqual(
    updates.map(({ initial, changes }) => [initial, changes.thing?.length]),
    [
      [true, 2],
      [false, 2],
    ],
  );
  t.like(database.tables.thing.get(rowId(2) as Uuid), { name: 'b', tags: ['x'], later: undefined });
  t.false(database.hasColumn('Thing', 'later'));
  t.true(database.hasColumn('Thing', 'tags'));
});

test('transactions are possible as soon as the contents are heard of', async (t) => {
  const server = await serve(t, full({ [rowId(1)]: 'a' }));
  const database = open(t, server.remote);
  const outcome = new Promise((resolve) => {
    database.onUpdate(() => resolve(database.transact([select(thing, [])])));
  });
  await t.notThrowsAsync(outcome);
});

test('falls back to monitor_cond with update2', async (t) => {
  const server = await serve(t, {
    monitor_cond_since: unknownMethod,
    monitor_cond: () => ({ result: initialRows({ [rowId(1)]: 'a' }) }),
  });
  const database = open(t, server.remote, { conditions: { thing: [where(thing, 'name', '!=', 'z')] } });
  await database.populated();
  const request = server.peer.requests('monitor_cond')[0]?.['params'] as readonly JsonObject[];
  t.deepEqual(request[2], { Thing: [{ columns: ['name', 'tags'], where: [['name', '!=', 'z']] }] });
  server.peer.notify('update2', [
    monitorId(server, 'monitor_cond'),
    { Thing: { [rowId(2)]: { insert: { name: 'b' } } } },
  ]);
  await until(database, 'two rows', () => names(database).length === 2);
  t.deepEqual(names(database), ['a', 'b']);
});

const oldServer: Script = {
  set_db_change_aware: unknownMethod,
  monitor_cond_since: unknownMethod,
  monitor_cond: unknownMethod,
  monitor: ([name]) =>
    name === '_Server'
      ? { error: { error: 'unknown database' } }
      : { result: { Thing: { [rowId(1)]: { new: { name: 'a', tags: ['set', []] } } } } },
};

test('falls back to monitor with update, on a server without _Server database', async (t) => {
  const server = await serve(t, oldServer);
  const database = open(t, server.remote);
  await database.populated();
  server.peer.notify('update', [
    monitorId(server, 'monitor'),
    { Thing: { [rowId(1)]: { old: { name: 'a' }, new: { name: 'c', tags: 'x' } } } },
  ]);
  await until(database, 'the row is renamed', () => names(database)[0] === 'c');
  t.deepEqual(names(database), ['c']);
});

test('conditions that a server can not apply are an error, not ignored', async (t) => {
  const server = await serve(t, oldServer);
  const database = open(t, server.remote, { conditions: { thing: [where(thing, 'name', '==', 'a')] } });
  await until(database, 'says why', ({ status }) => status.error?.includes('no monitor_cond') ?? false);
  t.false(database.status.populated);
});

test('resumes from the last transaction after a reconnect, and reports only what changed', async (t) => {
  const server = await serve(t, full({ [rowId(1)]: 'a' }, rowId(7)));
  const database = open(t, server.remote);
  await database.populated();
  server.peer.notify('update3', [
    monitorId(server),
    rowId(8),
    { Thing: { [rowId(2)]: { insert: { name: 'b' } } } },
  ]);
  await until(database, 'two rows', () => names(database).length === 2);
  const updates: DatabaseUpdate<typeof tables>[] = [];
  database.onUpdate((change) => updates.push(change));
  server.script = {
    monitor_cond_since: ([, , , last]) => ({
      result: [last === rowId(8), rowId(9), { Thing: { [rowId(1)]: { delete: null } } }],
    }),
  };
  server.peer.socket.destroy();
  await until(database, 'row 1 is gone', () => names(database).length === 1);
  t.deepEqual(names(database), ['b']);
  t.deepEqual(
    updates.map(({ changes }) => changes.thing?.map(({ uuid }) => uuid)),
    [[rowId(1)]],
  );
  t.is(database.status.reconnects, 1);
});

test('contents are kept while disconnected; a full reload is reported as the difference', async (t) => {
  const server = await serve(t, full({ [rowId(1)]: 'a', [rowId(2)]: 'b', [rowId(3)]: 'c' }, rowId(7)));
  const database = open(t, server.remote);
  await database.populated();
  const changes: unknown[] = [];
  database.onUpdate((change) =>
    changes.push(change.changes.thing?.map(({ before, after }) => [before?.name, after?.name])),
  );
  const states: string[] = [];
  database.onStatus(({ state }) => {
    states.push(state);
    t.is(database.tables.thing.size, 3);
  });
  server.script = full({ [rowId(1)]: 'a', [rowId(2)]: 'B', [rowId(4)]: 'd' }, rowId(1));
  server.peer.socket.destroy();
  await until(database, 'reconnected', ({ status }) => status.reconnects === 1);
  t.deepEqual(changes, [
    [
      ['b', 'B'],
      [undefined, 'd'],
      ['c', undefined],
    ],
  ]);
  t.true(states.includes('backoff'));
});

test('a monitor cancelled by the server is asked for again with the new schema', async (t) => {
  const server = await serve(t, full({ [rowId(1)]: 'a' }));
  const database = open(t, server.remote);
  await database.populated();
  server.script = {
    get_schema: () => ({
      result: { ...fakeSchema({ later: { type: { key: 'string', min: 0, max: 1 } } }), version: '2.0.0' },
    }),
    monitor_cond_since: () => ({
      result: [false, rowId(0), { Thing: { [rowId(1)]: { initial: { name: 'a', later: 'now' } } } }],
    }),
  };
  server.peer.notify('monitor_canceled', ['another']);
  server.peer.notify('monitor_canceled', [monitorId(server)]);
  await until(database, 'the new column is there', () => database.hasColumn('Thing', 'later'));
  await until(database, 'its value, too', () => [...database.tables.thing][0]?.later === 'now');
  t.is(server.peers.length, 1);
  t.is(server.peer.requests('monitor_cond_since').length, 2);
});

test('a big dump that arrives in pieces is one batch', async (t) => {
  const rows = Object.fromEntries(
    Array.from({ length: 6000 }, (_, index) => [rowId(index + 1), `ü${index}😀`]),
  );
  const server = await serve(t, full(rows));
  const database = open(t, server.remote);
  let batches = 0;
  database.onUpdate(({ changes }) => {
    batches++;
    t.is(changes.thing?.length, 6000);
    t.is(database.tables.thing.size, 6000);
  });
  await database.populated();
  t.is(batches, 1);
  t.is(database.tables.thing.get(rowId(6000) as Uuid)?.name, 'ü5999😀');
});

test("answers the server's echo, and other requests with an error", async (t) => {
  const server = await serve(t);
  const database = open(t, server.remote);
  await database.populated();
  server.peer.send({ method: 'echo', params: ['ä', 1], id: 'e' });
  server.peer.send({ method: 'frob', params: [], id: 'f' });
  const find = (id: string) => server.peer.received.find((message) => message['id'] === id);
  await eventually('both are answered', () => find('f') !== undefined);
  t.deepEqual(find('e'), { result: ['ä', 1], error: null, id: 'e' });
  t.deepEqual(find('f'), { result: null, error: 'unknown method', id: 'f' });
});

test('answers that nobody waits for are dropped', async (t) => {
  const server = await serve(t);
  const database = open(t, server.remote);
  await database.populated();
  server.peer.send({ result: {}, error: null, id: 4711 });
  server.peer.send({ result: {}, error: null, id: 'x' });
  server.peer.notify('frobbed', []);
  await database.transact([select(thing, [])]);
  t.is(server.peers.length, 1);
});

test('a silent server is probed, and given up when it does not answer', async (t) => {
  const server = await serve(t, { echo: () => undefined });
  const database = open(t, server.remote, { inactivityProbeMs: 50 });
  await database.populated();
  const errors: (string | undefined)[] = [];
  database.onStatus(({ error }) => errors.push(error));
  await until(database, 'reconnected', ({ status }) => status.reconnects > 0);
  t.true(errors.some((error) => error?.includes('no answer to a probe')));
  t.true((server.peers[0]?.requests('echo').length ?? 0) > 0);
});

test('a server that answers probes is kept', async (t) => {
  const server = await serve(t);
  const database = open(t, server.remote, { inactivityProbeMs: 100 });
  await database.populated();
  await eventually('many probes', () => server.peer.requests('echo').length > 3);
  t.is(server.peers.length, 1);
});

test('a server that accepts and never answers is given up in time', async (t) => {
  const server = await serve(t, { set_db_change_aware: () => undefined });
  const database = open(t, server.remote, {
    inactivityProbeMs: 0,
    timing: { ...timing, requestTimeoutMs: 50 },
  });
  await until(database, 'tried again', () => server.peers.length > 2);
  await until(
    database,
    'says why',
    ({ status }) => status.error?.includes('no answer within 50 ms') ?? false,
  );
  t.false(database.status.populated);
});

const brokenAnswers: readonly (readonly [string, string, Script])[] = [
  [
    'a row that does not fit its column',
    'Thing.name of row',
    {
      monitor_cond_since: () => ({
        result: [false, rowId(0), { Thing: { [rowId(1)]: { initial: { name: 5 } } } }],
      }),
    },
  ],
  ['a malformed answer to monitor', 'malformed', { monitor_cond_since: () => ({ result: [1, 2, 3] }) }],
  ['a schema that is none', 'not a database schema', { get_schema: () => ({ result: [] }) }],
  [
    'a database that the server lacks',
    'unknown database',
    { get_schema: () => ({ error: { error: 'unknown database' } }) },
  ],
  ['a database that is not served', 'no database Test', { monitor: () => ({ result: { Database: {} } }) }],
  [
    'something else than JSON',
    'expected a JSON object',
    {
      get_schema: (_params, peer) => {
        peer.socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
        return undefined;
      },
    },
  ],
  [
    'invalid JSON',
    'invalid JSON',
    {
      get_schema: (_params, peer) => {
        peer.socket.write('{"id":1,}');
        return undefined;
      },
    },
  ],
  [
    'a value of endless length',
    'one value is longer',
    {
      get_schema: (_params, peer) => {
        peer.socket.write(`{"id":1,"result":"${'x'.repeat(9_000_000)}`);
        return undefined;
      },
    },
  ],
];
for (const [what, message, script] of brokenAnswers) {
  test(`a server that sends ${what}: reported, backed off, recovered from`, async (t) => {
    const server = await serve(t, script);
    const database = open(t, server.remote);
    await until(database, 'backs off', ({ status }) => status.state === 'backoff' && server.peers.length > 1);
    t.true(database.status.error?.includes(message), database.status.error);
    server.script = full({ [rowId(1)]: 'a' });
    await database.populated();
    t.deepEqual(names(database), ['a']);
    t.is(database.status.error, undefined);
  });
}

test('a bad update ends the session; the reload puts it right', async (t) => {
  const server = await serve(t, full({ [rowId(1)]: 'a' }));
  const database = open(t, server.remote);
  await database.populated();
  server.peer.notify('update3', [monitorId(server), rowId(0), { Thing: { [rowId(5)]: { modify: {} } } }]);
  await until(database, 'reconnected', ({ status }) => status.reconnects === 1);
  t.deepEqual(names(database), ['a']);
});

test('a transaction is refused: which operation and why', async (t) => {
  const server = await serve(t, {
    transact: () => ({ result: [{ count: 1 }, { error: 'constraint violation', details: 'twice' }, null] }),
  });
  const database = open(t, server.remote);
  await database.populated();
  const error = await t.throwsAsync(
    database.transact([
      update(thing, byUuid(rowId(1) as Uuid), { name: 'x' }),
      insert(thing, {}),
      insert(thing, {}),
    ]),
    { instanceOf: TransactionError, code: 'transaction_failed' },
  );
  t.deepEqual(error.fields, { error: 'constraint violation', details: 'twice', operation: 1 });
  server.script = { transact: () => ({ error: { error: 'permission error' } }) };
  const whole = await t.throwsAsync(database.transact([insert(thing, {})]), { instanceOf: TransactionError });
  t.deepEqual(whole.fields, { error: 'permission error', details: undefined, operation: undefined });
});

test('columns that the server lacks are left out of what is written', async (t) => {
  const server = await serve(t);
  const database = open(t, server.remote);
  await database.populated();
  await database.transact([insert(thing, { name: 'a', later: 'x' }, 'row'), select(thing, [])]);
  t.deepEqual(server.peer.requests('transact')[0]?.['params'], [
    'Test',
    { op: 'insert', table: 'Thing', row: { name: 'a' }, 'uuid-name': 'row' },
    { op: 'select', table: 'Thing', where: [], columns: ['_uuid', 'name', 'tags'] },
  ]);
});

test('without a session a transaction fails at once; when the session is lost its outcome is unknown', async (t) => {
  const server = await serve(t, { transact: (_params, peer) => void peer.socket.destroy() });
  const database = open(t, server.remote);
  const early = await t.throwsAsync(database.transact([]), { instanceOf: NotConnectedError });
  t.is(early.fields['sent'], false);
  await database.populated();
  const late = await t.throwsAsync(database.transact([insert(thing, {})]), { instanceOf: NotConnectedError });
  t.is(late.fields['sent'], true);
});

test('a transaction gives up after its time or when aborted, and is cancelled', async (t) => {
  const server = await serve(t, { transact: () => undefined });
  const database = open(t, server.remote);
  await database.populated();
  await t.throwsAsync(database.transact([], { timeoutMs: 20 }), { instanceOf: RequestTimeoutError });
  const controller = new AbortController();
  const waiting = database.transact([], { signal: controller.signal });
  controller.abort();
  await t.throwsAsync(waiting, { any: true, name: 'AbortError' });
  await eventually('both are cancelled', () => server.peer.requests('cancel').length === 2);
  const ids = server.peer.requests('transact').map(({ id }) => [id]);
  t.deepEqual(
    server.peer.requests('cancel').map(({ params }) => params),
    ids,
  );
});

test('populated() rejects on abort, of either signal', async (t) => {
  const server = await serve(t, { get_schema: () => undefined });
  const closing = new AbortController();
  t.teardown(() => closing.abort());
  const database = open(t, server.remote, { signal: closing.signal });
  const one = database.populated(AbortSignal.timeout(5));
  const both = database.populated();
  await t.throwsAsync(one, { any: true, name: 'TimeoutError' });
  closing.abort();
  await t.throwsAsync(both, { any: true, name: 'AbortError' });
  await t.throwsAsync(database.populated(), { any: true, name: 'AbortError' });
});

test('abort closes for good', async (t) => {
  const server = await serve(t);
  const closing = new AbortController();
  t.teardown(() => closing.abort());
  const database = open(t, server.remote, { signal: closing.signal });
  await database.populated();
  closing.abort();
  await eventually('disconnected', () => server.peer.socket.destroyed || server.peer.socket.readableEnded);
  await t.throwsAsync(database.transact([]), { instanceOf: NotConnectedError });
  t.is(server.peers.length, 1);
});

test('a listener that throws does not harm others', async (t) => {
  const server = await serve(t, full({ [rowId(1)]: 'a' }));
  const database = open(t, server.remote);
  let heard = 0;
  database.onUpdate(() => {
    throw new Error('broken listener');
  });
  const stop = database.onUpdate(() => heard++);
  await database.populated();
  t.is(heard, 1);
  stop();
  server.peer.notify('update3', [monitorId(server), rowId(0), { Thing: { [rowId(1)]: { delete: null } } }]);
  await until(database, 'empty', () => database.tables.thing.size === 0);
  t.is(heard, 1);
});

test('the database is down at first: waits, says so, carries on when it comes', async (t) => {
  const probe = await FakeServer.start();
  const { remote } = probe;
  probe.stop();
  const database = open(t, remote);
  await until(database, 'backs off', ({ status }) => status.state === 'backoff');
  t.regex(database.status.error ?? '', /ECONNREFUSED/);
  t.false(connected(database));
});

test('a follower is left for the leader at once, and followed when the lead moves', async (t) => {
  const follow = (leads: boolean): Script => ({
    monitor: () => ({ result: { Database: { [rowId(99)]: { new: serverRow({ leader: leads }) } } } }),
    ...full({ [rowId(1)]: 'a' }),
  });
  const [one, two] = [await serve(t, follow(false)), await serve(t, follow(true))];
  // With a back-off this long only changing over at once can succeed in time.
  const patient = { ...timing, backoffInitialMs: 600_000, backoffMaximumMs: 600_000, stableAfterMs: 0 };
  const database = open(t, `${one.remote},${two.remote}`, { timing: patient });
  await database.populated();
  t.is(database.status.remote, two.remote);
  one.script = follow(true);
  two.script = follow(false);
  two.peer.notify('update', [
    'server',
    { Database: { [rowId(99)]: { old: { leader: true }, new: serverRow({ leader: false }) } } },
  ]);
  await until(
    database,
    'at the new leader',
    ({ status }) => status.remote === one.remote && status.reconnects === 1,
  );
  t.true(connected(database));
});

test('leaderOnly: false takes a follower, but not one cut off from its cluster', async (t) => {
  const row = (values: JsonObject): Script => ({
    monitor: () => ({
      result: { Database: { [rowId(99)]: { new: serverRow({ leader: false, ...values }) } } },
    }),
  });
  const server = await serve(t, row({ connected: false }));
  const database = open(t, server.remote, { leaderOnly: false });
  await until(database, 'says why', ({ status }) => status.error?.includes('cut off') ?? false);
  server.script = row({ connected: true });
  await database.populated();
  t.true(connected(database));
});

test('locks: held, stolen, given back, shared by handles of one name, released', async (t) => {
  let granted = false;
  const server = await serve(t, {
    lock: () => ({ result: { locked: granted } }),
    unlock: () => ({ result: {} }),
  });
  const database = open(t, server.remote);
  const lock = database.lock('L');
  const changes: boolean[] = [];
  lock.onChange((held) => changes.push(held));
  await database.populated();
  await eventually('asked for', () => server.peer.requests('lock').length === 1);
  t.false(lock.held);
  const notify = async (method: string, held: boolean): Promise<void> => {
    server.peer.notify(method, ['L']);
    await eventually(`lock: ${method}`, () => lock.held === held);
  };
  await notify('locked', true);
  await notify('stolen', false);
  await notify('locked', true);
  const second = database.lock('L');
  t.true(second.held);
  second.release();
  t.false(second.held);
  t.true(lock.held);
  granted = true;
  server.peer.socket.destroy();
  await until(database, 'reconnected', ({ status }) => status.reconnects === 1);
  await eventually('held again', () => lock.held);
  t.deepEqual(changes, [true, false, true, false, true]);
  lock.release();
  await eventually('given up', () => server.peer.requests('unlock').length === 1);
  t.false(lock.held);
});

test('big notifications and big selects are taken in pieces, too', async (t) => {
  const serials = Array.from({ length: 6000 }, (_, index) => index + 1);
  const server = await serve(
    t,
    full(Object.fromEntries(serials.map((serial) => [rowId(serial), `n${serial}`]))),
  );
  const database = open(t, server.remote);
  await database.populated();
  const changes: number[] = [];
  database.onUpdate((batch) => changes.push(batch.changes.thing?.length ?? 0));
  const padding = 'ä'.repeat(50);
  const rows = serials.map((serial) => [
    rowId(serial),
    serial % 3 === 0 ? { delete: null } : { modify: { name: `m${serial}`, tags: padding } },
  ]);
  server.peer.notify('update3', [
    monitorId(server),
    rowId(0),
    { Thing: Object.fromEntries(rows) as JsonObject },
  ]);
  await until(database, 'changed', () => changes.length > 0);
  t.deepEqual(changes, [6000]);
  t.is(database.tables.thing.size, 4000);
  t.like(database.tables.thing.get(rowId(1) as Uuid), { name: 'm1', tags: [padding] });
  const selected = serials.map((serial) => ({ _uuid: ['uuid', rowId(serial)], name: padding }));
  server.script = { transact: () => ({ result: [{ rows: selected }] }) };
  const [result] = await database.transact([select(thing, [])]);
  t.is(selectedRows(thing, result).length, 6000);
  t.is(selectedRows(thing, result)[5999]?.name, padding);
});

test('a server that disappears in the middle of a dump leaves the contents as they were', async (t) => {
  const server = await serve(t, full({ [rowId(1)]: 'a' }));
  const database = open(t, server.remote);
  await database.populated();
  let updates = 0;
  database.onUpdate(() => updates++);
  const rows = Array.from({ length: 9000 }, (_, index) => `"${rowId(index + 1)}":{"initial":{"name":"x"}}`);
  server.script = {
    monitor_cond_since: (_params, peer) => {
      peer.socket.write(`{"id":4,"error":null,"result":[false,"${rowId(0)}",{"Thing":{${rows.join(',')}`);
      peer.socket.end();
      return undefined;
    },
  };
  server.peer.socket.destroy();
  await until(database, 'tried twice', () => server.peers.length > 2);
  t.deepEqual(names(database), ['a']);
  t.is(updates, 0);
});
