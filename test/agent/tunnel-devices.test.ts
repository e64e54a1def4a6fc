import test from 'ava';

import type { DeviceProblems } from '../../agent/tunnel-devices.js';
import { TunnelDevices } from '../../agent/tunnel-devices.js';
import { vxlanDeviceName } from '../../agent/vxlan-device.js';
import { FakeDevices } from './support/fake-devices.js';

const needed = { relay: false, vxlan: true } as const;

test('the VXLAN device goes up when the program is on it, and goes when nobody needs it', (t) => {
  const devices = new FakeDevices();
  const problems: DeviceProblems = new Map();
  const tunnelDevices = new TunnelDevices(devices);
  t.true(tunnelDevices.prepare(needed, problems), 'it is on its way');
  devices.refresh();
  const isUp = (): boolean | undefined => devices.links.get(vxlanDeviceName)?.adminUp;
  t.false(tunnelDevices.prepare(needed, problems));
  t.is(tunnelDevices.underlay.vxlan, devices.links.get(vxlanDeviceName)?.ifindex);
  tunnelDevices.finish(needed, () => false, problems);
  t.false(isUp());
  tunnelDevices.finish(needed, () => true, problems);
  t.true(isUp());
  tunnelDevices.finish({ relay: false, vxlan: false }, () => true, problems);
  t.is(isUp(), undefined);
  t.deepEqual([...problems], []);
});

test('why there is no VXLAN device is told, until there is one', (t) => {
  class Refusing extends FakeDevices {
    refuses = true;
    override createVxlan(name: string): void {
      if (this.refuses) throw new Error('no such module');
      super.createVxlan(name);
    }
  }
  const devices = new Refusing();
  const tunnelDevices = new TunnelDevices(devices);
  const problems: DeviceProblems = new Map();
  t.false(tunnelDevices.prepare(needed, problems));
  t.is(problems.get(vxlanDeviceName), 'no such module');
  t.is(tunnelDevices.underlay.vxlanProblem, 'no such module');
  devices.refuses = false;
  t.true(tunnelDevices.prepare(needed, new Map()));
  t.is(tunnelDevices.underlay.vxlanProblem, undefined);
});

test('another device of that name is not taken for it', (t) => {
  const devices = new FakeDevices();
  devices.add(vxlanDeviceName, 7, { kind: 'veth' });
  const tunnelDevices = new TunnelDevices(devices);
  t.is(tunnelDevices.underlay.vxlan, undefined);
  tunnelDevices.finish({ relay: false, vxlan: false }, () => true, new Map());
  t.true(devices.links.has(vxlanDeviceName));
});
