import { mkdirSync } from 'node:fs';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { IovnError } from '../../common/errors.js';
import { insert } from '../../ovsdb/index.js';
import { type LogLine, loads, recordingLogger } from './recording-logger.js';
import { names, open, prepareFolder, type TestDatabase, thing } from './real-server.js';
import { command, eventually, Server, until } from './support.js';

interface Member {
  readonly server: Server;
  readonly remote: string;
}

/** A running cluster of three, all joined. */
async function startCluster(t: ExecutionContext): Promise<readonly Member[]> {
  const { folder, schemaFile } = prepareFolder(t);
  const raft = (index: number): string => `unix:${path.join(folder, `raft${index}`)}`;
  const members: Member[] = [];
  for (const index of [0, 1, 2]) {
    const own = path.join(folder, String(index));
    mkdirSync(own);
    const file = path.join(own, 'db');
    if (index === 0) await command('ovsdb-tool', 'create-cluster', file, schemaFile, raft(0));
    else await command('ovsdb-tool', 'join-cluster', file, 'Test', raft(index), raft(0));
    const socket = path.join(own, 'sock');
    const server = new Server(own, [file, `--remote=punix:${socket}`]);
    t.teardown(() => server.stop('SIGKILL'));
    await server.start();
    members.push({ server, remote: `unix:${socket}` });
    await eventually(`member ${index} has joined`, async () =>
      (await clusterStatus(server)).includes('Status: cluster member'),
    );
  }
  return members;
}

async function clusterStatus(server: Server): Promise<string> {
  return server.control('cluster/status', 'Test').catch(() => '');
}

async function leaderOf(members: readonly Member[]): Promise<Member> {
  let leader: Member | undefined;
  await eventually('there is a leader', async () => {
    for (const member of members) {
      if ((await clusterStatus(member.server)).includes('Role: leader')) leader = member;
    }
    return leader !== undefined;
  });
  if (leader === undefined) throw new Error('no leader');
  return leader;
}

/** Inserts under changing sessions; returns the names that the cluster has acknowledged. */
async function insertAll(database: TestDatabase, wanted: readonly string[]): Promise<readonly string[]> {
  const acknowledged: string[] = [];
  for (const name of wanted) {
    await eventually(`${name} is tried on a session`, async () => {
      try {
        await database.transact([insert(thing, { name })]);
        acknowledged.push(name);
        return true;
      } catch (error) {
        // Sent without an answer, or refused while there was no leader: whether it was done is not known.
        return !(error instanceof IovnError && error.fields['sent'] === false);
      }
    });
  }
  return acknowledged;
}

const serial = (prefix: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

test('the leader is found, followed when it dies, and no acknowledged row is lost', async (t) => {
  const members = await startCluster(t);
  const leader = await leaderOf(members);
  const remote = members.map((member) => member.remote).join(',');
  const lines: LogLine[] = [];
  const database = open(t, remote, { log: recordingLogger(lines) });
  await database.populated();
  t.is(database.status.remote, leader.remote);
  const removed: unknown[] = [];
  database.onUpdate(({ changes }) =>
    removed.push(...(changes.thing ?? []).filter(({ after }) => after === undefined)),
  );
  const before = await insertAll(database, serial('before', 50));
  t.is(before.length, 50);
  const during = insertAll(database, serial('during', 50));
  await leader.server.stop('SIGKILL');
  const acknowledged = [...before, ...(await during), ...(await insertAll(database, serial('after', 10)))];
  const others = members.filter((member) => member !== leader);
  await until(database, 'at the new leader', ({ status }) =>
    others.some((other) => other.remote === status.remote),
  );
  await until(database, 'all acknowledged rows are there', () => {
    const present = new Set(names(database));
    return acknowledged.every((name) => present.has(name));
  });
  t.is(database.status.remote, (await leaderOf(others)).remote);
  t.deepEqual(removed, []);
  t.is(loads(lines).at(-1)?.['resumed'], true);
});

test('when the leader loses the lead and lives on, the client goes along', async (t) => {
  const members = await startCluster(t);
  const leader = await leaderOf(members);
  const remote = members.map((member) => member.remote).join(',');
  const database = open(t, remote, { inactivityProbeMs: 0 });
  await database.populated();
  await insertAll(database, ['a']);
  // While it stands still the others choose another leader; when it goes on it learns of that, and tells its clients.
  leader.server.signal('SIGSTOP');
  await leaderOf(members.filter((member) => member !== leader));
  t.is(database.status.remote, leader.remote);
  leader.server.signal('SIGCONT');
  await until(
    database,
    'elsewhere',
    ({ status }) => status.state === 'connected' && status.remote !== leader.remote,
  );
  await insertAll(database, ['b']);
  await until(database, 'both rows', () => names(database).length === 2);
  t.deepEqual(names(database), ['a', 'b']);
});

test('a follower serves those who do not insist on the leader', async (t) => {
  const members = await startCluster(t);
  const leader = await leaderOf(members);
  const follower = members.find((member) => member !== leader);
  const patient = open(t, follower?.remote ?? '', { leaderOnly: false });
  await patient.populated();
  const picky = open(t, follower?.remote ?? '');
  await until(picky, 'says why', ({ status }) => status.error?.includes('does not lead') ?? false);
  await insertAll(patient, ['a']);
  await until(patient, 'the row is there', () => names(patient).length === 1);
  t.false(picky.status.populated);
});
