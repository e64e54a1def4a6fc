import test from 'ava';

import type { GeneveMode } from '../../agent/settings.js';
import { tunnelDeviceNames } from '../../agent/tunnels/tunnel-device.js';
import { type DeviceProblems, TunnelDevices } from '../../agent/tunnels/tunnel-devices.js';
import type { TunnelType } from '../../agent/tunnels/tunnel-endpoints.js';
import { FakeDevices } from './support/fake-devices.js';

const needed = (...types: readonly TunnelType[]) => ({ relay: false, tunnels: new Set(types) });
const no = (): boolean => false;
const yes = (): boolean => true;

class Refusing extends FakeDevices {
  refusesToMake = true;
  refusesToRaise = false;
  attempts = 0;
  override createTunnelDevice(name: string, type: TunnelType): void {
    this.attempts++;
    if (this.refusesToMake) throw new Error('no such module');
    super.createTunnelDevice(name, type);
  }
  override raiseTunnelDevice(ifindex: Parameters<FakeDevices['setUp']>[0]): void {
    if (this.refusesToRaise) throw new Error('address in use');
    super.raiseTunnelDevice(ifindex);
  }
}

/** A node of which the clock is `clock.ms`. */
function open(devices: FakeDevices, geneve: GeneveMode = 'auto') {
  const clock = { ms: 0 };
  const problems: DeviceProblems = new Map();
  return { clock, problems, tunnelDevices: new TunnelDevices(devices, geneve, () => clock.ms) };
}

test('the VXLAN device goes up when the program is on it, and goes when nobody needs it', (t) => {
  const devices = new FakeDevices();
  const { problems, tunnelDevices } = open(devices);
  t.true(tunnelDevices.prepare(needed('vxlan'), problems), 'it is on its way');
  devices.refresh();
  const device = () => devices.links.get(tunnelDeviceNames.vxlan);
  t.true(tunnelDevices.prepare(needed('vxlan'), problems), 'it is not up yet');
  t.is(tunnelDevices.underlay.guards.get('vxlan'), device()?.ifindex);
  t.deepEqual(tunnelDevices.underlay.way('vxlan'), { by: 'none', reason: undefined });
  tunnelDevices.finish(needed('vxlan'), no, problems);
  t.false(device()?.adminUp);
  const hooks: string[] = [];
  tunnelDevices.finish(needed('vxlan'), (hook) => hooks.push(hook) > 0, problems);
  t.deepEqual(hooks, [`vxlan_ingress ${device()?.ifindex}`]);
  t.true(device()?.adminUp);
  t.false(tunnelDevices.prepare(needed('vxlan'), problems));
  const way = tunnelDevices.underlay.way('vxlan');
  t.is(way.by === 'device' ? way.device : undefined, device()?.ifindex);
  tunnelDevices.finish(needed(), yes, problems);
  t.is(device(), undefined);
  t.deepEqual([...problems], []);
});

test('why there is no VXLAN device is told, until there is one', (t) => {
  const devices = new Refusing();
  const { problems, tunnelDevices } = open(devices);
  t.false(tunnelDevices.prepare(needed('vxlan'), problems));
  t.is(problems.get(tunnelDeviceNames.vxlan), 'no such module');
  t.deepEqual(tunnelDevices.underlay.way('vxlan'), { by: 'none', reason: 'no such module' });
  devices.refusesToMake = false;
  t.true(tunnelDevices.prepare(needed('vxlan'), new Map()));
  t.deepEqual(tunnelDevices.underlay.way('vxlan'), { by: 'none', reason: undefined });
});

test('another device of that name is not taken for it', (t) => {
  const devices = new FakeDevices();
  devices.add(tunnelDeviceNames.vxlan, 7, { kind: 'veth' });
  devices.add(tunnelDeviceNames.geneve, 8, { kind: 'vxlan' });
  const { tunnelDevices } = open(devices);
  t.is(tunnelDevices.underlay.guards.size, 0);
  tunnelDevices.finish(needed(), yes, new Map());
  t.true(devices.links.has(tunnelDeviceNames.vxlan));
});

test('our own program speaks Geneve until the device is up', (t) => {
  const devices = new FakeDevices();
  const { problems, tunnelDevices } = open(devices);
  const ways: string[] = [];
  const round = (): void => {
    devices.refresh();
    tunnelDevices.prepare(needed('geneve'), problems);
    ways.push(tunnelDevices.underlay.way('geneve').by);
    tunnelDevices.finish(needed('geneve'), yes, problems);
  };
  for (let index = 0; index < 3; index++) round();
  t.deepEqual(ways, ['program', 'program', 'device']);
  t.deepEqual([...problems], []);
});

test('where the kernel has no Geneve device our own program serves, says why, and tries again each minute', (t) => {
  const devices = new Refusing();
  const { clock, problems, tunnelDevices } = open(devices);
  for (let second = 0; second < 120; second++) {
    clock.ms = second * 1000;
    t.false(tunnelDevices.prepare(needed('geneve'), problems));
    t.deepEqual(tunnelDevices.underlay.way('geneve'), { by: 'program', reason: 'no such module' });
  }
  t.is(devices.attempts, 2);
  t.deepEqual([...problems], [], 'it is no problem of the node');
  devices.refusesToMake = false;
  clock.ms = 120_000;
  t.true(tunnelDevices.prepare(needed('geneve'), problems));
});

test('a Geneve device that can not be set up is removed again', (t) => {
  const devices = new Refusing();
  devices.refusesToMake = false;
  devices.refusesToRaise = true;
  const { problems, tunnelDevices } = open(devices);
  tunnelDevices.prepare(needed('geneve'), problems);
  devices.refresh();
  tunnelDevices.finish(needed('geneve'), yes, problems);
  t.deepEqual(tunnelDevices.underlay.way('geneve'), { by: 'program', reason: 'address in use' });
  t.is(tunnelDevices.underlay.guards.size, 0);
  t.false(tunnelDevices.prepare(needed('geneve'), problems));
  t.deepEqual([...problems], []);
});

test('insisted on, the Geneve device is missed', (t) => {
  const { problems, tunnelDevices } = open(new Refusing(), 'device');
  t.false(tunnelDevices.prepare(needed('geneve'), problems));
  t.deepEqual(tunnelDevices.underlay.way('geneve'), { by: 'none', reason: 'no such module' });
  t.is(problems.get(tunnelDeviceNames.geneve), 'no such module');
});

test('with --geneve=program there is no device, and one that there was goes', (t) => {
  const devices = new FakeDevices();
  devices.add(tunnelDeviceNames.geneve, 7, { kind: 'geneve' });
  const { problems, tunnelDevices } = open(devices, 'program');
  t.false(tunnelDevices.prepare(needed('geneve'), problems));
  t.is(tunnelDevices.underlay.way('geneve').by, 'program');
  tunnelDevices.finish(needed('geneve'), yes, problems);
  t.false(devices.links.has(tunnelDeviceNames.geneve));
});
