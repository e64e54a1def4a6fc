import { mkdtempSync, readFileSync, rmSync, writeFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import {
  ControlSocket,
  type ControlSocketHandlers,
  isListening,
  requestDecommission,
} from '../../agent/control-socket.js';
import { IntentCache } from '../../agent/intent-cache.js';
import { StateDir } from '../../agent/state-dir.js';
import { type Logger, silentLogger } from '../../common/log.js';
import { makeIntent, portResource, switchResource } from './support/intents.js';

function folder(t: ExecutionContext): string {
  const made = mkdtempSync(path.join(tmpdir(), 'iovn-agent-test-'));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

function recordingLogger(): { readonly log: Logger; readonly warnings: string[] } {
  const warnings: string[] = [];
  return { log: { ...silentLogger, warn: (message) => void warnings.push(message) }, warnings };
}

const handlers = (problems: readonly string[] = []): ControlSocketHandlers => ({
  decommission: () => Promise.resolve(problems),
  ask: async function* () {
    yield await Promise.resolve({ log_level: { level: 'info' } });
  },
});

test('the agent id is made once per state directory', (t) => {
  const dir = path.join(folder(t), 'a', 'b');
  const id = new StateDir(dir).agentId();
  t.regex(id, /^[0-9a-f-]{36}$/);
  t.is(new StateDir(dir).agentId(), id);
  t.not(new StateDir(folder(t)).agentId(), id);
  writeFileSync(path.join(dir, 'agent-id'), 'nonsense');
  const fresh = new StateDir(dir).agentId();
  t.regex(fresh, /^[0-9a-f-]{36}$/);
  t.is(readFileSync(path.join(dir, 'agent-id'), 'utf8'), `${fresh}\n`);
});

test('a state directory that can not be used is named', (t) => {
  const file = path.join(folder(t), 'file');
  writeFileSync(file, '');
  t.throws(() => new StateDir(path.join(file, 'x')), {
    code: 'state_dir',
    message: /cannot use state directory .*file\/x/,
  });
});

test('the intent is kept over a restart, and a damaged cache is ignored with a word', (t) => {
  const dir = folder(t);
  const { log, warnings } = recordingLogger();
  const open = (): IntentCache => new IntentCache(new StateDir(dir), 3_600_000, log);
  t.is(open().load(), undefined);
  t.deepEqual(warnings, []);
  const cache = open();
  cache.store(makeIntent(switchResource('sw0', 1)));
  cache.store(makeIntent(switchResource('sw0', 1), portResource('lp1', 1)));
  t.deepEqual([...(open().load()?.ports.keys() ?? [])], ['lp1'], 'before anything is done with it');
  const ports = Array.from({ length: 2000 }, (_, index) => portResource(`many${index}`, index + 1));
  cache.store(makeIntent(switchResource('sw0', 1), ...ports));
  t.is(open().load()?.ports.size, 1, 'a large one not before it is time');
  cache.flush();
  t.is(open().load()?.ports.size, 2000);
  writeFileSync(path.join(dir, 'intent.cache'), 'damaged');
  t.is(open().load(), undefined);
  t.is(warnings.length, 1);
  cache.store(makeIntent(switchResource('sw0', 1)));
  cache.remove();
  cache.flush();
  t.is(open().load(), undefined);
  t.is(warnings.length, 1);
});

test('one agent per state directory', async (t) => {
  const socket = path.join(folder(t), 'agent.sock');
  t.false(await isListening(socket));
  const first = await ControlSocket.open(socket, handlers());
  t.true(await isListening(socket));
  await t.throwsAsync(ControlSocket.open(socket, handlers()), {
    code: 'agent_running',
    message: /another agent uses this state directory/,
  });
  await first.close(100);
  t.false(await isListening(socket));
});

test('a socket that a killed agent left behind is taken over', async (t) => {
  const dir = folder(t);
  const socket = path.join(dir, 'agent.sock');
  writeFileSync(socket, '');
  const control = await ControlSocket.open(socket, handlers());
  t.true(await isListening(socket));
  await control.close(100);
});

test.serial('only the owner may use the socket, whatever the process lets others do', async (t) => {
  const socket = path.join(folder(t), 'agent.sock');
  const before = process.umask(0);
  try {
    const control = await ControlSocket.open(socket, handlers());
    t.teardown(() => control.close(100));
  } finally {
    process.umask(before);
  }
  const made = statSync(socket);
  t.deepEqual([made.mode & 0o777, made.isSocket()], [0o600, true]);
});

test('a path that is too long for a unix socket', async (t) => {
  const socket = `/tmp/${'x'.repeat(120)}/agent.sock`;
  await t.throwsAsync(ControlSocket.open(socket, handlers()), {
    code: 'control_socket',
    message: /choose a shorter --state-dir/,
  });
});

test('decommissioning through the socket brings back what could not be done', async (t) => {
  const socket = path.join(folder(t), 'agent.sock');
  const control = await ControlSocket.open(socket, handlers(['the controller is away']));
  t.teardown(() => control.close(100));
  t.deepEqual(await requestDecommission(socket, 5000), ['the controller is away']);
});

test('an agent that does not answer is named', async (t) => {
  const socket = path.join(folder(t), 'agent.sock');
  const sockets: { destroy(): void }[] = [];
  const silent = createServer((connection) => void sockets.push(connection));
  await new Promise<void>((resolve) => silent.listen(socket, resolve));
  t.teardown(() => {
    for (const each of sockets) each.destroy();
    silent.close();
  });
  await t.throwsAsync(requestDecommission(socket, 200), {
    code: 'control_call',
    message: /the running agent did not decommission its node/,
  });
});
