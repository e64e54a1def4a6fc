import test from 'ava';

import type { Uuid } from '../../common/addresses.js';
import { type DatabaseUpdate, select, selectedRows, where } from '../../ovsdb/index.js';
import type { JsonObject } from '../../ovsdb/json.js';
import { fakeSchema, rowId, type Script, unknownMethod } from './fake-server.js';
import type { tables } from './scripted.js';
import { full, initialRows, monitorId, names, open, serve, thing } from './scripted.js';
import { until } from './support.js';

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
