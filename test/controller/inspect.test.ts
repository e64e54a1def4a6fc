import { credentials, makeClientConstructor, type ServiceError } from '@grpc/grpc-js';
import test from 'ava';
import { service as healthService } from 'grpc-health-check';

import { v1 } from '../../common/proto.js';
import { eventually, Harness } from './support/harness.js';

type Call<Request, Response> = (
  request: Request,
  callback: (error: ServiceError | null, response?: Response) => void,
) => unknown;

/** One unary call as a promise. */
function ask<Request, Response>(call: Call<Request, Response>, request: Request): Promise<Response> {
  return new Promise((resolve, reject) => {
    call(request, (error, response) => {
      if (error !== null) reject(error);
      else if (response === undefined) reject(new Error('no response'));
      else resolve(response);
    });
  });
}

async function started(t: { teardown(stop: () => void): void }) {
  const harness = await Harness.start();
  const client = new v1.Inspect(harness.address, credentials.createInsecure());
  t.teardown(() => {
    client.close();
    harness.stop();
  });
  return {
    harness,
    world: harness.world,
    status: () => ask(client.GetStatus.bind(client), {}),
    nodes: (node = '') => ask(client.ListNodes.bind(client), { node }),
    switches: async (name: string) =>
      (await ask(client.ListSwitches.bind(client), { switch: name })).switches,
    ports: (filter: { readonly switch?: string; readonly node?: string } = {}) =>
      ask(client.ListPorts.bind(client), filter),
  };
}

test('status counts what there is, and lists what is not done and what makes no sense', async (t) => {
  const { harness, world, status } = await started(t);
  const sw0 = world.addSwitch('sw0');
  world.addPort(sw0, 'lp1', { addresses: ['nonsense'] });
  world.addPort(sw0, 'lp2');
  const acl = world.nb.put('acl', { name: 'block', action: 'drop' });
  world.setNbCfg(4);
  harness.agent('hv1').plug('lp2');
  await eventually('up', () => world.chassisPrivate('hv1')?.nb_cfg === 4);
  const seen = await status();
  t.like(seen, { nodes_connected: 1, switches: 1, ports: 2, ports_up: 1 });
  t.deepEqual([seen.nb_cfg_nb, seen.nb_cfg_sb, seen.nb_cfg_nodes], ['4', '4', '4']);
  t.deepEqual(
    seen.databases.map(({ database, state }) => [database, state]),
    [
      ['OVN_Northbound', 'connected'],
      ['OVN_Southbound', 'connected'],
    ],
  );
  t.like(seen.unsupported[0], { kind: 'ACL', object: 'block', uuid: acl });
  t.like(seen.invalid[0], {
    table: 'Logical_Switch_Port',
    object: 'lp1',
    column: 'addresses',
    value: 'nonsense',
  });
  world.nb.remove('acl', acl);
  await eventually('computed', () => harness.inspector.status().unsupported?.length === 0);
  t.regex(await harness.metrics.registry.metrics(), /iovn_controller_invalid_rows 1/);
});

test('nodes by chassis name or host name, connected or not', async (t) => {
  const { harness, world, nodes, status } = await started(t);
  world.addVanillaChassis('vanilla', '192.0.2.9');
  const agent = harness.agent('hv1', { ip: '192.0.2.1' });
  harness.agent('hv2', { ip: '192.0.2.2' });
  agent.plug('lp1', { error: 'no such device' });
  await eventually('both', () => world.chassis('hv1') !== undefined && world.chassis('hv2') !== undefined);
  t.deepEqual(
    (await nodes()).nodes.map(({ chassis }) => chassis?.name),
    ['hv1', 'hv2'],
  );
  for (const name of ['hv1', 'hv1.example']) {
    const [node] = (await nodes(name)).nodes;
    t.like(node, { connected: true, agent_version: '0.0.0', kernel_release: 'test' });
    t.is(node?.interfaces[0]?.error, 'no such device');
  }
  t.deepEqual((await nodes('hv')).nodes, []);
  agent.close();
  await eventually('gone', () => harness.controller.nodes.get('hv1')?.connected === false);
  t.false((await nodes('hv1')).nodes[0]?.connected);
  const [absent, ...others] = (await status()).absent_nodes;
  t.deepEqual([absent?.name, others.length], ['hv1', 0]);
  t.true(Math.abs((absent?.since ?? 0) - Date.now() / 1000) < 60);
});

test('a switch: its keys, ports, groups, localnets and nodes; in a list without its ports', async (t) => {
  const { harness, world, switches } = await started(t);
  const sw0 = world.addSwitch('sw0');
  const sw1 = world.addSwitch('sw1');
  const lp1 = world.addPort(sw0, 'lp1');
  world.addPort(sw0, 'ln0', { type: 'localnet', options: { network_name: 'physnet' } });
  world.addPort(sw1, 'lp2');
  world.sb.put('multicastGroup', {
    datapath: sw0.datapath,
    name: '_MC_unknown',
    tunnel_key: 32_769,
    ports: [lp1.binding],
  });
  harness.agent('hv1').plug('lp1');
  await eventually('up', () => world.binding(lp1)?.up === true);
  const [shown, ...others] = await switches('sw0');
  t.deepEqual(others, []);
  t.like(shown, {
    name: 'sw0',
    nb_uuid: sw0.nb,
    datapath: sw0.datapath,
    datapath_key: 1,
    port_count: 2,
    ports_up: 1,
    nodes: ['hv1'],
    localnets: [{ port: 'ln0', network_name: 'physnet', tag: 0 }],
    groups: [
      { name: '_MC_flood', tunnel_key: 32_768, ports: ['ln0', 'lp1'] },
      { name: '_MC_unknown', tunnel_key: 32_769, ports: ['lp1'] },
    ],
  });
  t.deepEqual(
    shown?.ports.map(({ name, chassis }) => [name, chassis]),
    [
      ['ln0', ''],
      ['lp1', 'hv1'],
    ],
  );
  t.deepEqual(
    (await switches(sw1.nb)).map(({ name, nodes }) => [name, nodes]),
    [['sw1', []]],
  );
  t.deepEqual(
    (await switches('')).map(({ name, ports }) => [name, ports.length]),
    [
      ['sw0', 0],
      ['sw1', 0],
    ],
  );
  t.deepEqual(await switches('sw2'), []);
});

test('each port says in words why it is not up', async (t) => {
  const { harness, world, ports } = await started(t);
  const sw0 = world.addSwitch('sw0');
  const sw1 = world.addSwitch('sw1');
  for (const name of ['bare', 'broken', 'failing', 'good', 'loose']) world.addPort(sw0, name);
  world.addPort(sw1, 'wanted', { options: { 'requested-chassis': 'elsewhere' } });
  world.addPort(sw1, 'vlan', { type: 'l2gateway' });
  world.addPort(sw1, 'off', { enabled: false });
  const agent = harness.agent('hv1');
  agent.plug('broken', { error: 'no such device' });
  agent.plug('failing', { install_error: 'map ports is full' });
  agent.plug('good');
  agent.plug('wanted');
  await eventually('good is up', () => harness.inspector.ports('sw0', '').ports.some(({ up }) => up));
  await eventually('failing is claimed', () => harness.inspector.ports('', 'hv1').ports.length === 2);
  const shown = new Map((await ports()).ports.map((port) => [port.name, port]));
  const problems = (name: string) => shown.get(name)?.problems.join('; ') ?? '';
  t.regex(problems('bare'), /no interface on any connected node has iface-id bare/);
  t.regex(problems('broken'), /tap-broken on hv1: no such device/);
  t.regex(problems('wanted'), /tap-wanted on hv1: .*requested-chassis.* elsewhere/);
  t.regex(problems('vlan'), /l2gateway/);
  t.regex(problems('off'), /disabled/);
  t.like(shown.get('good'), { switch: 'sw0', chassis: 'hv1', interface: 'tap-good', up: true, problems: [] });
  t.deepEqual(
    (await ports({ switch: 'sw1' })).ports.map(({ name }) => name),
    ['off', 'vlan', 'wanted'],
  );
  t.deepEqual((await ports({ node: 'hv1.example' })).ports.map(({ name }) => name).sort(), [
    'failing',
    'good',
  ]);
});

test('standard health checking tells whether the databases are there', async (t) => {
  const { harness } = await started(t);
  const Health = makeClientConstructor(healthService, 'grpc.health.v1.Health');
  const client = new Health(harness.address, credentials.createInsecure());
  t.teardown(() => client.close());
  const check = client['Check'] as Call<{ service: string }, { status: string }>;
  const of = async (service: string) => (await ask(check.bind(client), { service })).status;
  t.is(await of(''), 'NOT_SERVING');
  harness.setServing(harness.inspector.health().ok);
  t.is(await of(''), 'SERVING');
  t.is(await of('iovn.v1.ControlPlane'), 'SERVING');
  harness.world.sb.setStatus({ state: 'backoff', error: 'gone' });
  harness.setServing(harness.inspector.health().ok);
  t.is(await of('iovn.v1.Inspect'), 'NOT_SERVING');
});
