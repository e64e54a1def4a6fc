import { status } from '@grpc/grpc-js';
import test from 'ava';

import { channelCredentials, serverCredentials } from '../../common/credentials.js';
import { TransactionError } from '../../ovsdb/index.js';
import { Authority } from '../support/certificates.js';
import { eventually, Harness } from './support/harness.js';
import { World } from './support/world.js';

async function started(t: { teardown(stop: () => void): void }, world?: World) {
  const harness = await Harness.start(world);
  t.teardown(() => harness.stop());
  return { harness, world: harness.world };
}

test('a chassis is written as ovn-controller would, and kept in step', async (t) => {
  const { harness, world } = await started(t);
  const agent = harness.agent('hv1');
  await eventually('chassis', () => world.chassis('hv1') !== undefined);
  const row = world.chassis('hv1');
  t.is(row?.hostname, 'hv1.example');
  for (const column of [row?.other_config, row?.external_ids]) {
    t.is(column?.get('port-up-notif'), 'true');
    t.is(column?.get('fdb-timestamp'), 'true', 'without it northd lets no learnt MAC age');
    t.is(column?.get('datapath-type'), 'ebpf');
    t.is(column?.get('ovn-bridge-mappings'), '');
  }
  t.is(row?.external_ids.get('iovn-agent-id'), 'id-hv1');
  t.is(world.chassisPrivate('hv1')?.chassis, row?._uuid);
  t.deepEqual(
    [...world.sb.tables.encap].map(({ type, ip, chassis_name: of }) => [type, ip, of]),
    [['geneve', '192.0.2.1', 'hv1']],
  );
  world.sb.put(
    'chassis',
    {
      external_ids: new Map([...(row?.external_ids ?? []), ['neutron:x', 'y']]),
      other_config: new Map([...(row?.other_config ?? []), ['is-remote', 'false']]),
    },
    row?._uuid,
  );
  agent.send({
    chassis: {
      name: 'hv1',
      hostname: 'renamed',
      encaps: [{ type: 'vxlan', ip: '192.0.2.5', options: {} }],
      other_config: { 'ovn-cms-options': 'enable-chassis-as-gw' },
      transport_zones: ['tz1'],
    },
  });
  await eventually('changed', () => world.chassis('hv1')?.hostname === 'renamed');
  await eventually('encap replaced', () => [...world.sb.tables.encap][0]?.ip === '192.0.2.5');
  t.is(world.sb.tables.encap.size, 1);
  const after = world.chassis('hv1');
  t.false(after?.other_config.has('datapath-type'));
  t.false(after?.external_ids.has('datapath-type'));
  t.is(after?.external_ids.get('neutron:x'), 'y', "the CMS' keys stay");
  t.is(after?.other_config.get('is-remote'), 'false', "and everybody else's");
  t.deepEqual(after?.transport_zones, ['tz1']);
});

test('a row that a vanilla ovn-controller left is adopted with its ports', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1');
  const chassis = world.addVanillaChassis('hv1', '192.0.2.1');
  world.sb.put('portBinding', { chassis, up: true }, lp1.binding);
  const agent = harness.agent('hv1');
  await eventually('adopted', () => world.chassis('hv1')?.external_ids.has('iovn-agent-id') === true);
  t.is(world.chassis('hv1')?._uuid, chassis);
  await eventually('intent', () => agent.port('lp1')?.chassis === 'hv1');
});

test('a tunnel endpoint of somebody else is named and nobody else suffers', async (t) => {
  const { harness, world } = await started(t);
  world.addVanillaChassis('vanilla', '192.0.2.1');
  const bad = harness.agent('hv1', { ip: '192.0.2.1' });
  const good = harness.agent('hv2', { ip: '192.0.2.2' });
  bad.report();
  good.report();
  await eventually('good one', () => world.chassis('hv2') !== undefined);
  await eventually('named', () => (harness.controller.nodes.get('hv1')?.problems.length ?? 0) > 0);
  t.is(world.chassis('hv1'), undefined);
  const [node] = harness.inspector.nodes('hv1').nodes ?? [];
  t.regex(node?.errors?.[0]?.message ?? '', /geneve 192\.0\.2\.1 already belongs to chassis vanilla/);
});

test('one refused write does not stop the others, and is tried again', async (t) => {
  const { harness, world } = await started(t);
  let refusing = true;
  world.sb.beforeCommit = (operations) => {
    if (refusing && JSON.stringify(operations).includes('hv1')) {
      throw new TransactionError('constraint violation', 'made up', 0);
    }
  };
  harness.agent('hv1', { ip: '192.0.2.1' });
  harness.agent('hv2', { ip: '192.0.2.2' });
  await eventually('good one', () => world.chassis('hv2') !== undefined);
  await eventually('told', () => harness.controller.writeFailure('chassis', 'hv1') !== undefined);
  t.is(world.chassis('hv1'), undefined);
  refusing = false;
  await eventually('bad one', () => world.chassis('hv1') !== undefined);
});

test('a chassis that changed its name leaves nothing behind', async (t) => {
  const { harness, world } = await started(t);
  harness.agent('old', { agentId: 'same' });
  await eventually('old', () => world.chassisPrivate('old') !== undefined);
  harness.agent('new', { agentId: 'same' });
  await eventually('new', () => world.chassis('new') !== undefined);
  t.is(world.chassis('old'), undefined);
  t.is(world.chassisPrivate('old'), undefined);
  t.is([...world.sb.tables.encap][0]?.chassis_name, 'new');
});

test('decommission releases the ports and removes every row of the chassis, and of no other', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1');
  world.addVanillaChassis('vanilla', '192.0.2.9');
  const agent = harness.agent('hv1');
  agent.plug('lp1', { encap_ip: '192.0.2.1' });
  await eventually('up', () => world.binding(lp1)?.up === true);
  agent.send({ decommission: {} });
  await eventually('answered', () => agent.decommissioned);
  t.is(world.chassis('hv1'), undefined);
  t.is(world.chassisPrivate('hv1'), undefined);
  t.is(world.binding(lp1)?.chassis, undefined);
  t.false(world.binding(lp1)?.up);
  t.deepEqual(
    [...world.sb.tables.encap].map(({ chassis_name: of }) => of),
    ['vanilla'],
  );
  await eventually('ended', () => agent.ended);
  t.deepEqual(harness.inspector.nodes('').nodes, []);
});

test('a name taken by a live agent is refused, and free again when that is gone', async (t) => {
  const { harness } = await started(t);
  const holder = harness.agent('hv1', { agentId: 'a' });
  await eventually('connected', () => holder.updates.length > 0);
  const other = harness.agent('hv1', { agentId: 'b' });
  await eventually('refused', () => other.refusals.length > 0 && other.ended);
  t.is(other.refusals[0]?.code, 'chassis_name_taken');
  t.false(holder.ended);
  holder.close();
  await eventually('gone', () => harness.controller.nodes.get('hv1')?.connected === false);
  const third = harness.agent('hv1', { agentId: 'b' });
  await eventually('served', () => third.updates.length > 0);
});

test('a newer stream of the same agent replaces the old one', async (t) => {
  const { harness } = await started(t);
  const old = harness.agent('hv1');
  await eventually('connected', () => old.updates.length > 0);
  const next = harness.agent('hv1');
  await eventually('served', () => next.updates.length > 0);
  await eventually('ended', () => old.ended);
  t.is(old.error?.code, status.ABORTED);
  t.true(harness.controller.nodes.get('hv1')?.connected);
});

for (const [what, hello, code] of [
  ['an empty name', { chassis: '' }, 'invalid_chassis'],
  ['a name with a newline', { chassis: 'a\nb' }, 'invalid_chassis'],
  ['a name without end', { chassis: 'x'.repeat(300) }, 'invalid_chassis'],
  ['no agent id', { chassis: 'hv1', agentId: '' }, 'invalid_agent_id'],
] as const) {
  test(`refused: ${what}`, async (t) => {
    const { harness } = await started(t);
    const agent = harness.agent(hello.chassis, hello);
    await eventually('refused', () => agent.refusals.length > 0 && agent.ended);
    t.is(agent.refusals[0]?.code, code);
    t.is(harness.controller.nodes.size, 0);
  });
}

test('messages that make no sense end the stream with a status', async (t) => {
  const { harness } = await started(t);
  const cases = [
    { message: { applied: { generation: '999' } }, code: status.INVALID_ARGUMENT },
    { message: { interfaces: { interfaces: [{ name: '' }] } }, code: status.INVALID_ARGUMENT },
    {
      message: { interfaces: { interfaces: [{ name: 'a', encap_ip: 'x'.repeat(2000) }] } },
      code: status.INVALID_ARGUMENT,
    },
    { message: { hello: {} }, code: status.FAILED_PRECONDITION },
    {
      message: { interfaces: { interfaces: Array.from({ length: 16_385 }, (_, n) => ({ name: `t${n}` })) } },
      code: status.INVALID_ARGUMENT,
    },
  ];
  for (const { message, code } of cases) {
    const agent = harness.agent('hv1');
    await eventually('connected', () => agent.updates.length > 0);
    agent.send(message);
    await eventually('ended', () => agent.ended);
    t.is(agent.error?.code, code);
  }
});

test('an agent that does not answer is sent a bounded number of updates, and then all at once', async (t) => {
  const { harness, world } = await started(t);
  const sw0 = world.addSwitch('sw0');
  world.addPort(sw0, 'lp1');
  const agent = harness.agent('hv1', { obedient: false });
  agent.plug('lp1');
  await eventually('intent', () => agent.port('lp1')?.chassis === 'hv1');
  for (let n = 0; n < 50; n += 1) {
    const generation = agent.generation;
    const before = harness.controller.store.resources(sw0.datapath);
    world.addPort(sw0, `more${n}`);
    await eventually('computed', () => harness.controller.store.resources(sw0.datapath) !== before);
    if (generation < 8) await eventually('sent', () => agent.generation > generation);
  }
  t.is(agent.generation, 8);
  agent.apply('8');
  await eventually('the rest', () => agent.held.has('Port/more49'));
  t.is(agent.generation, 9);
});

test('nothing is sent or written before both databases are there', async (t) => {
  const world = new World();
  world.addPort(world.addSwitch('sw0'), 'lp1');
  world.nb.setStatus({ state: 'backoff', populated: false, error: 'connection refused' });
  const { harness } = await started(t, world);
  const agent = harness.agent('hv1');
  agent.plug('lp1');
  await eventually('known', () => (harness.controller.nodes.get('hv1')?.plugs.size ?? 0) === 1);
  t.deepEqual(agent.updates, []);
  t.deepEqual(world.sb.committed, []);
  t.false(harness.inspector.health().ok);
  t.is(harness.inspector.status().databases?.[0]?.error, 'connection refused');
  world.nb.setStatus({ state: 'connected', populated: true });
  world.setNbCfg(1);
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 1);
  t.true(harness.inspector.health().ok);
});

test('while the southbound database is away nothing is lost', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1');
  const agent = harness.agent('hv1');
  agent.report();
  await eventually('chassis', () => world.chassis('hv1') !== undefined);
  world.sb.setStatus({ state: 'backoff' });
  agent.plug('lp1');
  await eventually('seen', () => harness.controller.board.decision('lp1') !== undefined);
  t.is(world.chassisOf(lp1), undefined);
  world.sb.setStatus({ state: 'connected' });
  await eventually('up', () => world.binding(lp1)?.up === true);
});

test('with TLS an agent can only be the chassis of its certificate', async (t) => {
  const authority = new Authority(t);
  const settings = (name: string) => {
    const { certFile: tlsCert, keyFile: tlsKey, caFile: tlsCa } = authority.issue(name);
    return { tlsCert, tlsKey, tlsCa, insecure: false };
  };
  const loopback = { host: '127.0.0.1', port: 0 };
  const harness = await Harness.start(undefined, serverCredentials(settings('controller'), loopback));
  t.teardown(() => harness.stop());
  const credentials = channelCredentials(settings('hv1'), loopback);
  const other = harness.agent('hv2', { credentials });
  await eventually('refused', () => other.refusals.length > 0 && other.ended);
  t.is(other.refusals[0]?.code, 'chassis_not_in_certificate');
  const agent = harness.agent('hv1', { credentials });
  await eventually('served', () => agent.updates.length > 0);
  t.deepEqual(agent.refusals, []);
});
