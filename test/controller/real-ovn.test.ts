import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';

import test from 'ava';

import { FakeAgent } from './support/fake-agent.js';
import { eventually } from './support/harness.js';
import { RealOvn } from './support/real-ovn.js';

const main = new URL('../../controller/main.ts', import.meta.url).pathname;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

interface Running {
  readonly child: ChildProcess;
  readonly log: () => string;
}

function startController(ovn: Pick<RealOvn, 'nb' | 'sb'>, address: string, metrics: string): Running {
  const args = ['--nb', ovn.nb, '--sb', ovn.sb, '--listen', address, '--metrics', metrics, '--insecure'];
  const child = spawn(process.execPath, ['--import=tsx', main, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  return { child, log: () => log };
}

/** Connects until a controller serves it: on a busy machine one takes its time to start. */
async function connected(address: string, options: { readonly obedient?: boolean } = {}): Promise<FakeAgent> {
  const deadlineMs = performance.now() + 40_000;
  while (performance.now() < deadlineMs) {
    const agent = new FakeAgent({ address, chassis: 'hv1', ...options });
    await eventually('served or not', () => agent.updates.length > 0 || agent.ended, 20_000);
    if (!agent.ended) return agent;
    agent.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('no controller serves the agent');
}

test('with ovsdb-server and ovn-northd: claim, up, --wait=hv, restart, SIGTERM, decommission', async (t) => {
  const ovn = await RealOvn.start();
  const address = `127.0.0.1:${await freePort()}`;
  const metrics = `127.0.0.1:${await freePort()}`;
  let running = startController(ovn, address, metrics);
  t.teardown(() => {
    running.child.kill('SIGKILL');
    ovn.stop();
  });
  let agent = await connected(address, { obedient: false });
  t.teardown(() => agent.close());
  agent.report();
  await eventually('registered', () => agent.generation > 0);
  await ovn.nbctl('ls-add', 'sw0');
  await ovn.nbctl('lsp-add', 'sw0', 'lp1', '--', 'lsp-set-addresses', 'lp1', '00:00:00:00:00:01 10.0.0.1');

  agent.plug('lp1');
  await eventually('claimed and sent', () => agent.port('lp1')?.chassis === 'hv1');
  const binding = agent.port('lp1')?.binding ?? '';
  t.deepEqual(agent.port('lp1')?.multicast_groups.includes(32_768), true);

  let synced = false;
  const sync = ovn.nbctl('--wait=hv', '--timeout=20', 'sync').then(() => {
    synced = true;
  });
  await eventually('nb_cfg is sent', () => agent.updates.at(-1)?.nb_cfg === '1');
  agent.apply(String(agent.generation));
  await ovn.nbctl('--wait=sb', '--timeout=20', 'set', 'Logical_Switch', 'sw0', 'external_ids:x=y');
  t.false(synced, 'the port is not installed yet');
  agent.apply(String(agent.generation));
  agent.obedient = true;
  agent.amend('lp1', { installed_binding: binding });
  await eventually('nb_cfg is sent', () => agent.updates.at(-1)?.nb_cfg === '2');
  agent.apply(String(agent.generation));
  await sync;
  t.is(await ovn.sbctl('get', 'Port_Binding', 'lp1', 'up'), 'true');
  await ovn.nbctl('--timeout=20', 'wait-until', 'Logical_Switch_Port', 'lp1', 'up=true');

  const chassisOf = (port: string) => ovn.sbctl('--bare', '--columns=chassis', 'list', 'Port_Binding', port);
  const chassis = await chassisOf('lp1');
  t.not(chassis, '');
  for (const type of ['router', 'localnet', 'localport', 'virtual']) {
    await ovn.nbctl('--wait=hv', '--timeout=20', 'lsp-set-type', 'lp1', type);
    t.is(await chassisOf('lp1'), '', `released as ${type}`);
    await ovn.nbctl('--wait=hv', '--timeout=20', 'lsp-set-type', 'lp1', '');
    t.is(await chassisOf('lp1'), chassis, `bound again after ${type}`);
  }

  for (let n = 0; n < 20; n += 1) {
    await ovn.nbctl('--', 'lsp-add', 'sw0', `more${n}`);
    agent.plug(`more${n}`);
    await ovn.nbctl('--wait=hv', '--timeout=20', 'sync');
    t.is(await ovn.sbctl('get', 'Port_Binding', `more${n}`, 'up'), 'true');
  }
  t.regex(await (await fetch(`http://${metrics}/metrics`)).text(), /iovn_controller_nodes_connected 1/);
  t.true((await fetch(`http://${metrics}/healthz`)).ok);

  running.child.kill('SIGKILL');
  await eventually('stream lost', () => agent.ended);
  running = startController(ovn, address, metrics);
  agent.close();
  agent = await connected(address);
  t.true(agent.held.has('Port/lp1'), 'what is bound is in the first snapshot');
  t.is(await ovn.sbctl('get', 'Port_Binding', 'lp1', 'up'), 'true');
  agent.plug('lp1', { installed_binding: binding });
  await ovn.nbctl('--wait=hv', '--timeout=20', 'sync');
  t.is(await ovn.sbctl('--bare', '--columns=logical_port', 'find', 'Port_Binding', 'up=true'), 'lp1');

  const beforeMs = Date.now();
  running.child.kill('SIGTERM');
  const [code] = (await once(running.child, 'exit')) as [number | null];
  t.is(code, 0, running.log());
  t.true(Date.now() - beforeMs < 2000);
  t.is(await ovn.sbctl('--bare', '--columns=name', 'list', 'Chassis'), 'hv1');

  running = startController(ovn, address, metrics);
  agent.close();
  agent = await connected(address);
  agent.plug('lp1', { installed_binding: binding });
  agent.send({ decommission: {} });
  await eventually('decommissioned', () => agent.decommissioned, 20_000);
  for (const table of ['Chassis', 'Chassis_Private', 'Encap']) {
    t.is(await ovn.sbctl('--bare', '--columns=_uuid', 'list', table), '');
  }
  await ovn.nbctl('--timeout=20', 'wait-until', 'Logical_Switch_Port', 'lp1', 'up=false');
});

test('a controller started before its databases says so, and carries on when they come', async (t) => {
  const ovn = await RealOvn.start();
  const address = `127.0.0.1:${await freePort()}`;
  const metrics = `127.0.0.1:${await freePort()}`;
  const running = startController({ nb: `unix:${ovn.folder}/late/nb.sock`, sb: ovn.sb }, address, metrics);
  t.teardown(() => {
    running.child.kill('SIGKILL');
    ovn.stop();
  });
  await eventually('said so', () => running.log().includes('no session with the database'), 20_000);
  t.is((await fetch(`http://${metrics}/healthz`)).status, 503);
  const agent = new FakeAgent({ address, chassis: 'hv1' });
  t.teardown(() => agent.close());
  agent.report();
  mkdirSync(`${ovn.folder}/late`);
  symlinkSync(`${ovn.folder}/nb.sock`, `${ovn.folder}/late/nb.sock`);
  await eventually('served', () => agent.updates.length > 0, 30_000);
  await ovn.nbctl('--wait=hv', '--timeout=20', 'sync');
  t.true((await fetch(`http://${metrics}/healthz`)).ok);
});
