import test from 'ava';

import { select } from '../../ovsdb/index.js';
import type { JsonObject } from '../../ovsdb/json.js';
import { FakeServer, rowId, type Script, serverRow } from './fake-server.js';
import { connected, full, monitorId, names, open, serve, thing, timing } from './scripted.js';
import { eventually, until } from './support.js';

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
        peer.socket.write(`{"id":1,"result":"${'x'.repeat(68_000_000)}`);
        return undefined;
      },
    },
  ],
];
for (const [what, message, script] of brokenAnswers) {
  test(`a server that sends ${what}: reported, backed off, recovered from`, async (t) => {
    const server = await serve(t, script);
    // Some of these answers take a busy machine seconds to produce.
    const database = open(t, server.remote, { timing: { ...timing, requestTimeoutMs: 30_000 } });
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
