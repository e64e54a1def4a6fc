import test from 'ava';

import { DatabaseWriter } from '../../agent/vswitch/database-writer.js';
import { readNodeConfig } from '../../agent/vswitch/node-config.js';
import { readTopology } from '../../agent/vswitch/topology.js';
import { silentLogger } from '../../common/log.js';
import { FakeDatabase } from './support/fake-database.js';
import { nodeIds } from './support/rig.js';

function open() {
  const database = new FakeDatabase();
  database.init(nodeIds);
  database.addBridge('br-int');
  const warnings: string[] = [];
  const writer = new DatabaseWriter(database, {
    ...silentLogger,
    warn: (message) => void warnings.push(message),
  });
  writer.onChange(() => undefined);
  const write = (nowMs: number): Promise<boolean> => {
    const topology = readTopology(database.tables);
    const config = readNodeConfig(topology, 'host');
    return writer.write({
      ...{ topology, config, links: new Map(), interfaces: [], nowMs },
      ...{ installed: new Set(), progress: undefined },
    });
  };
  return { database, warnings, write };
}

test('somebody else with the lock is reported once, and again when it comes back', async (t) => {
  const { database, warnings, write } = open();
  database.vswitchdLock.set(false);
  t.true(await write(0));
  t.true(await write(1999));
  t.deepEqual(warnings, [], 'the server may not have answered yet');
  t.true(await write(2000));
  t.true(await write(9000));
  t.is(warnings.length, 1);
  t.regex(warnings[0] ?? '', /another agent holds its lock/);
  t.deepEqual(database.transactions, []);
  database.vswitchdLock.set(true);
  t.true(await write(10_000));
  t.is(database.root.cur_cfg, database.root.next_cfg);
  database.vswitchdLock.set(false);
  t.true(await write(11_000));
  t.true(await write(13_000));
  t.is(warnings.length, 2);
});

test('without a session nothing is written and nobody is accused', async (t) => {
  const { database, warnings, write } = open();
  database.vswitchdLock.set(false);
  database.setConnected(false);
  t.true(await write(0));
  t.true(await write(5000));
  t.deepEqual(warnings, []);
});

test('a transaction that is refused is tried again: the writer says that it failed', async (t) => {
  const { database, warnings, write } = open();
  database.transact = () => Promise.reject(new Error('no space'));
  t.false(await write(0));
  t.deepEqual(warnings, ['could not write to the local database']);
});
