import test from 'ava';

import type { Uuid } from '../../common/addresses.js';
import {
  byUuid,
  insert,
  NotConnectedError,
  RequestTimeoutError,
  select,
  TransactionError,
  update,
} from '../../ovsdb/index.js';
import { rowId } from './fake-server.js';
import { full, monitorId, open, serve, thing } from './scripted.js';
import { eventually, until } from './support.js';

test('transactions are possible as soon as the contents are heard of', async (t) => {
  const server = await serve(t, full({ [rowId(1)]: 'a' }));
  const database = open(t, server.remote);
  const outcome = new Promise((resolve) => {
    database.onUpdate(() => resolve(database.transact([select(thing, [])])));
  });
  await t.notThrowsAsync(outcome);
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
