import test from 'ava';

import { listPorts } from '../../controller/port-status.js';
import { eventually, Harness } from './support/harness.js';
import type { World } from './support/world.js';

async function started(t: { teardown(stop: () => void): void }, world?: World) {
  const harness = await Harness.start(world);
  t.teardown(() => harness.stop());
  return { harness, world: harness.world };
}

/** Resolves when everything that was marked has been written and nothing is left to do. */
async function quiet(harness: Harness): Promise<void> {
  const { committed } = harness.world.sb;
  for (let turns = 0, seen = committed.length; turns < 20; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    if (committed.length !== seen) turns = 0;
    seen = committed.length;
  }
}

test('a plugged port is claimed, sent, installed, up, and only then nb_cfg is acknowledged', async (t) => {
  const { harness, world } = await started(t);
  const sw0 = world.addSwitch('sw0');
  const lp1 = world.addPort(sw0, 'lp1', { addresses: ['00:00:00:00:00:01 10.0.0.1'] });
  world.addPort(sw0, 'lp2', { addresses: ['00:00:00:00:00:02'] });
  const agent = harness.agent('hv1', { obedient: false });
  await eventually('chassis', () => world.chassisPrivate('hv1') !== undefined);
  agent.plug('lp1');
  await eventually('claim', () => world.chassisOf(lp1) === 'hv1');
  await eventually('intent', () => agent.port('lp1')?.chassis === 'hv1');
  t.true(agent.held.has('Port/lp2'), 'the whole switch is sent');
  world.setNbCfg(7);
  await eventually('generation with nb_cfg', () => agent.updates.at(-1)?.nb_cfg === '7');
  agent.apply(String(agent.generation));
  await eventually('applied', () => harness.controller.nodes.get('hv1')?.nbCfgApplied === 7);
  await quiet(harness);
  t.is(world.chassisPrivate('hv1')?.nb_cfg, 0, 'the port has not been answered');
  t.is(world.binding(lp1)?.up, false);
  let upWhenAcknowledged: boolean | undefined;
  world.sb.onUpdate(() => {
    if (world.chassisPrivate('hv1')?.nb_cfg === 7) upWhenAcknowledged ??= world.binding(lp1)?.up;
  });
  agent.amend('lp1', { installed_binding: lp1.binding });
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 7);
  t.true(upWhenAcknowledged);
});

test('a node without any switch acknowledges nb_cfg', async (t) => {
  const { harness, world } = await started(t);
  world.setNbCfg(3);
  const agent = harness.agent('hv1');
  agent.report();
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 3);
  t.true((world.chassisPrivate('hv1')?.nb_cfg_timestamp ?? 0) > 1_600_000_000_000, 'in milliseconds');
  world.setNbCfg(4);
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 4);
  t.deepEqual(agent.updates.at(-1)?.changed, []);
});

test('southbound nb_cfg is not acknowledged before northbound content of that nb_cfg is seen', async (t) => {
  const { harness, world } = await started(t);
  const agent = harness.agent('hv1');
  agent.report();
  await eventually('first update', () => agent.updates.length > 0);
  world.setSouthboundNbCfg(5);
  world.setNorthboundNbCfg(4);
  await eventually('update', () => agent.updates.at(-1)?.nb_cfg === '4');
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 4);
  world.setNorthboundNbCfg(5);
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 5);
  t.pass();
});

test('a port that could not be installed does not hold nb_cfg back, and is not up', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1');
  const agent = harness.agent('hv1', { obedient: false });
  agent.plug('lp1', { install_error: 'map ports is full' });
  await eventually('claim', () => world.chassisOf(lp1) === 'hv1');
  world.setNbCfg(2);
  await eventually('update', () => agent.updates.at(-1)?.nb_cfg === '2');
  agent.apply(String(agent.generation));
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 2);
  t.is(world.binding(lp1)?.up, false);
  const [status] = harness.inspector.ports('', '').ports;
  t.deepEqual(status?.problems, ['tap-lp1 on hv1: map ports is full']);
});

test('nothing is released for a disconnect, nor before the first report after a reconnect', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1');
  const first = harness.agent('hv1');
  first.plug('lp1');
  await eventually('up', () => world.binding(lp1)?.up === true);
  first.close();
  await eventually('disconnected', () => harness.controller.nodes.get('hv1')?.connected === false);
  await quiet(harness);
  t.is(world.chassisOf(lp1), 'hv1');
  const second = harness.agent('hv1');
  await eventually('snapshot', () => second.updates.length > 0);
  await quiet(harness);
  t.true(second.updates[0]?.snapshot);
  t.true(second.held.has('Port/lp1'), 'what is bound is sent before it reports anything');
  t.is(world.chassisOf(lp1), 'hv1');
  t.true(world.binding(lp1)?.up);
  second.report();
  await eventually('released', () => world.binding(lp1)?.chassis === undefined);
  t.false(world.binding(lp1)?.up);
});

test('pulling the tap, or an error on it, releases the port', async (t) => {
  const { harness, world } = await started(t);
  const sw0 = world.addSwitch('sw0');
  const lp1 = world.addPort(sw0, 'lp1');
  const lp2 = world.addPort(sw0, 'lp2');
  const agent = harness.agent('hv1');
  agent.plug('lp1', { encap_ip: '192.0.2.1' });
  agent.plug('lp2');
  await eventually('up', () => world.binding(lp1)?.up === true && world.binding(lp2)?.up === true);
  t.not(world.binding(lp1)?.encap, undefined, 'encap-ip asks for an encap');
  t.is(world.binding(lp2)?.encap, undefined);
  agent.unplug('lp1');
  await eventually('released', () => world.binding(lp1)?.chassis === undefined);
  t.false(world.binding(lp1)?.up);
  t.is(world.binding(lp1)?.encap, undefined);
  agent.amend('lp2', { error: 'no such device' });
  await eventually('released', () => world.binding(lp2)?.chassis === undefined);
  await eventually('nothing left', () => agent.held.size === 0);
});

test('encap-ip is followed; one that the chassis does not have is named and leaves encap empty', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1');
  const agent = harness.agent('hv1', { ip: '2001:db8::1' });
  agent.plug('lp1');
  await eventually('up', () => world.binding(lp1)?.up === true);
  t.is(world.binding(lp1)?.encap, undefined);
  const problems = () => listPorts(harness.controller, { logicalSwitch: '', node: '' })[0]?.problems ?? [];
  const encapIps = () => agent.port('lp1')?.encap_ips;
  agent.amend('lp1', { encap_ip: '2001:DB8::1' });
  await eventually('an encap', () => world.binding(lp1)?.encap !== undefined);
  await eventually('told', () => encapIps()?.join() === '2001:db8::1');
  t.deepEqual(problems(), []);
  for (const wrong of ['192.0.2.77', 'nonsense']) {
    agent.amend('lp1', { encap_ip: wrong });
    await eventually('no encap', () => world.binding(lp1)?.encap === undefined);
    t.is(problems().length, 1);
    t.regex(problems()[0] ?? '', new RegExp(`encap-ip ${wrong} is not one of hv1's tunnel addresses`));
    t.true(world.binding(lp1)?.up, 'the port works');
    agent.amend('lp1', { encap_ip: '2001:db8::1' });
    await eventually('an encap', () => world.binding(lp1)?.encap !== undefined);
  }
  agent.amend('lp1', { encap_ip: '' });
  await eventually('no encap', () => world.binding(lp1)?.encap === undefined);
  await eventually('told', () => encapIps()?.length === 0);
});

test('up that northd left empty stays empty', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1');
  world.sb.put('portBinding', { up: undefined }, lp1.binding);
  const agent = harness.agent('hv1');
  agent.plug('lp1');
  await eventually('claim', () => world.chassisOf(lp1) === 'hv1');
  world.setNbCfg(1);
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 1);
  t.is(world.binding(lp1)?.up, undefined);
});

test('of two claimants the latest wins, and the earlier one does not fight back', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1');
  const one = harness.agent('hv1', { ip: '192.0.2.1' });
  const two = harness.agent('hv2', { ip: '192.0.2.2' });
  one.report();
  two.report();
  await eventually('both', () => world.chassis('hv1') !== undefined && world.chassis('hv2') !== undefined);
  one.plug('lp1');
  await eventually('first', () => world.chassisOf(lp1) === 'hv1' && world.binding(lp1)?.up === true);
  two.plug('lp1');
  await eventually('second', () => world.chassisOf(lp1) === 'hv2' && world.binding(lp1)?.up === true);
  const writes = world.sb.committed.length;
  one.amend('lp1', { link_up: true, encap_ip: '192.0.2.1' });
  await quiet(harness);
  t.is(world.chassisOf(lp1), 'hv2');
  t.is(world.sb.committed.length, writes);
  two.unplug('lp1');
  await eventually('back', () => world.chassisOf(lp1) === 'hv1');
});

test('a vanilla chassis that takes a port keeps it', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1');
  const vanilla = world.addVanillaChassis('vanilla', '192.0.2.9');
  const before = world.chassis('vanilla');
  const agent = harness.agent('hv1');
  agent.report();
  world.sb.put('portBinding', { chassis: vanilla, up: true }, lp1.binding);
  agent.plug('lp1');
  await eventually(
    'our later plug wins',
    () => world.chassisOf(lp1) === 'hv1' && world.binding(lp1)?.up === true,
  );
  world.sb.put('portBinding', { chassis: vanilla }, lp1.binding);
  await quiet(harness);
  agent.amend('lp1', { encap_ip: '192.0.2.1' });
  await quiet(harness);
  t.is(world.chassisOf(lp1), 'vanilla');
  t.true(world.binding(lp1)?.up, 'what a vanilla chassis holds is left alone');
  t.deepEqual(world.chassis('vanilla'), before);
  t.is(world.chassisPrivate('vanilla')?.nb_cfg, 0);
});

test('a plug that was there before its node connected waits for the holder to come back', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1');
  const vanilla = world.addVanillaChassis('other', '192.0.2.9');
  world.sb.put('portBinding', { chassis: vanilla, up: true }, lp1.binding);
  const agent = harness.agent('hv1');
  agent.plug('lp1');
  world.setNbCfg(1);
  await eventually('settled by refusal', () => world.chassisPrivate('hv1')?.nb_cfg === 1);
  t.is(world.chassisOf(lp1), 'other');
  harness.skewMs = 60_000;
  agent.amend('lp1', { encap_ip: '192.0.2.1' });
  await eventually('taken over', () => world.chassisOf(lp1) === 'hv1');
});

test('requested-chassis keeps others out, and a port re-requested elsewhere is released', async (t) => {
  const { harness, world } = await started(t);
  const sw0 = world.addSwitch('sw0');
  const lp1 = world.addPort(sw0, 'lp1', { options: { 'requested-chassis': 'hv2.example' } });
  const one = harness.agent('hv1', { ip: '192.0.2.1' });
  const two = harness.agent('hv2', { ip: '192.0.2.2' });
  one.plug('lp1');
  two.plug('lp1');
  await eventually('claim by host name', () => world.chassisOf(lp1) === 'hv2');
  t.is(harness.controller.board.refusal('lp1', 'hv1')?.code, 'requested_elsewhere');
  world.sb.put('portBinding', { options: new Map([['requested-chassis', 'hv1']]) }, lp1.binding);
  await eventually('moved', () => world.chassisOf(lp1) === 'hv1');
  world.sb.put('portBinding', { options: new Map([['requested-chassis', 'nowhere']]) }, lp1.binding);
  await eventually('released', () => world.binding(lp1)?.chassis === undefined);
  t.false(world.binding(lp1)?.up);
});

test('further names in requested-chassis are additional chassis', async (t) => {
  const { harness, world } = await started(t);
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1', { options: { 'requested-chassis': 'hv1,hv2' } });
  const one = harness.agent('hv1', { ip: '192.0.2.1' });
  const two = harness.agent('hv2', { ip: '192.0.2.2' });
  one.plug('lp1');
  two.plug('lp1', { encap_ip: '192.0.2.2' });
  await eventually('main', () => world.chassisOf(lp1) === 'hv1');
  await eventually('additional', () => world.binding(lp1)?.additional_chassis.length === 1);
  t.deepEqual(world.binding(lp1)?.additional_chassis, [world.chassis('hv2')?._uuid]);
  t.is(world.binding(lp1)?.additional_encap.length, 1);
  world.sb.put('portBinding', { options: new Map([['requested-chassis', 'hv2']]) }, lp1.binding);
  await eventually('moved', () => world.chassisOf(lp1) === 'hv2');
  await eventually('no longer additional', () => world.binding(lp1)?.additional_chassis.length === 0);
  t.deepEqual(world.binding(lp1)?.additional_encap, []);
});

test('a port can be created after its tap, and be removed before it', async (t) => {
  const { harness, world } = await started(t);
  const sw0 = world.addSwitch('sw0');
  const agent = harness.agent('hv1');
  agent.plug('lp1');
  world.setNbCfg(1);
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 1);
  const lp1 = world.addPort(sw0, 'lp1');
  await eventually('up', () => world.binding(lp1)?.up === true);
  world.removePort(lp1);
  await eventually('gone', () => agent.held.size === 0);
  world.setNbCfg(2);
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 2);
  const again = world.addPort(sw0, 'lp1');
  await eventually('up again', () => world.binding(again)?.up === true);
  t.is(agent.port('lp1')?.binding, again.binding);
});
