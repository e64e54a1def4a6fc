import path from 'node:path';

import test from 'ava';

import type { Live, Topology } from '../../controller/web/shapes.js';
import type { WhyPage } from '../../inspect/why.js';
import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import { waitFor } from '../../testbed/wait.js';
import { openPair } from '../support/network.js';

test.serial('the web page shows the ports of a real agent, what they carry and drop, and why', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const { central, controller } = network;
  const get = async (route: string): Promise<unknown> => JSON.parse((await controller.get(route)).body);
  await central.nbctl('set', 'Logical_Switch_Port', 'vm1', 'external_ids:neutron\\:port_name=frontend');
  t.regex((await controller.get('/')).body, /<title>IOVisor-OVN<\/title>/);
  await waitFor('the topology', async () => {
    const { ports } = (await get('/api/topology')) as Topology;
    const [first, second] = ports;
    return first?.neutron_name === 'frontend' && first.state === 'up' && second?.node === 'hv1';
  });
  await vm2.changeAddress('10.0.0.99/24');
  const live = await waitFor('traffic and drops', async () => {
    await Promise.all([vm1.ping('10.0.0.77', { count: 5, intervalMs: 20 }), vm2.ping(vm1.address)]);
    const seen = (await get('/api/live')) as Live;
    return seen.ports.length === 2 && seen.reasons.length > 0 && seen;
  });
  t.true(live.drops.some(({ port, reason }) => port === 'vm2' && reason === 'port_security_arp'));
  const why = (await get('/api/why?port=vm2')) as WhyPage;
  t.true(
    why.drops.some(({ reason, packet }) => reason === 'port_security_arp' && packet.includes('10.0.0.99')),
  );
});

test.serial('health, for people and for gRPC', async (t) => {
  const { network } = await openPair(t);
  const { central, controller, hypervisor } = network;
  const script = path.join(import.meta.dirname, '../support/check-health.ts');
  const health = async (service: string) =>
    (
      await central.namespace.runOk([process.execPath, '--import=tsx', script, '127.0.0.1:6650', service])
    ).trim();
  for (const service of ['', 'iovn.v1.ControlPlane', 'iovn.v1.Inspect'])
    t.is(await health(service), 'SERVING');
  t.is((await controller.get('/healthz')).status, 200);
  t.is((await hypervisor.get('/healthz')).status, 200);

  await central.southbound.stop();
  await waitFor(
    'the controller is not healthy',
    async () => (await controller.get('/healthz')).status === 503,
  );
  t.is(await health(''), 'NOT_SERVING');
  await controller.daemon.stop();
  await waitFor('the agent is not healthy', async () => (await hypervisor.get('/healthz')).status === 503);
});

test.serial('iovn shows status, ports and nodes', async (t) => {
  const { network, vm1 } = await openPair(t);
  const { controller } = network;
  await network.central.nbctl('lsp-add', 'sw0', 'nowhere');
  await network.sync();
  const json = async (...args: string[]): Promise<unknown> => {
    const { status, stdout, stderr } = await controller.iovn(...args, '--json');
    t.is(status, 0, stderr);
    return JSON.parse(stdout);
  };
  t.like(await json('status'), { nodes_connected: 1, switches: 1, ports: 3, ports_up: 2 });
  const { ports } = (await json('ports', '--switch', 'sw0')) as {
    ports: { name: string; problems: string[] }[];
  };
  t.like(
    ports.find(({ name }) => name === 'vm1'),
    { up: true, chassis: 'hv1', interface: vm1.tap, problems: [], enabled: true },
  );
  const nowhere = ports.find(({ name }) => name === 'nowhere');
  t.is(nowhere?.problems.length, 1);
  t.like(await json('node', 'show', 'hv1'), {
    connected: true,
    switches: 1,
    interfaces: [{ link_up: true }, { link_up: true }],
  });
  const unknown = await controller.iovn('node', 'show', 'hv7');
  t.deepEqual([unknown.status, unknown.stderr], [1, "iovn: there is no node 'hv7'; did you mean 'hv1'?\n"]);
  for (const args of [['status'], ['ports'], ['node', 'list'], ['node', 'show', 'hv1']]) {
    t.is((await controller.iovn(...args)).status, 0, args.join(' '));
  }
});

test.serial('what NB asks for and we do not do is listed by kind and object, and in a metric', async (t) => {
  const { network } = await openPair(t);
  const { central, controller } = network;
  await central.nbctl('acl-add', 'sw0', 'to-lport', '1000', 'ip4', 'drop');
  await central.nbctl('--wait=hv', 'lr-add', 'lr0');
  const { stdout } = await controller.iovn('status', '--json');
  const { unsupported } = JSON.parse(stdout) as {
    unsupported: { kind: string; object: string; detail: string }[];
  };
  t.true(
    unsupported.some(({ kind }) => kind === 'ACL'),
    stdout,
  );
  const router = unsupported.find(({ kind }) => kind === 'Logical_Router');
  t.is(router?.object, 'lr0');
  t.not(router?.detail, '');
  const metrics = parseMetrics((await controller.get('/metrics')).body);
  t.is(sumOf(metrics, 'iovn_controller_unsupported', { kind: 'ACL' }), 1);
});
