import test from 'ava';

import { Announcer } from '../../agent/localnet/announcer.js';
import { findAnnouncements } from '../../agent/localnet/announcements.js';
import { findLocalPorts, localPort } from '../../agent/local-ports.js';
import type { PluggedPort } from '../../agent/modules/io-module.js';
import { silentLogger } from '../../common/log.js';
import type { PortInput } from '../../generated/proto/iovn/v1/Port.js';
import type { Resource } from '../../generated/proto/iovn/v1/Resource.js';
import { waitFor } from '../../testbed/wait.js';
import { arp, broadcast, ethernet, ip, raw, tagged } from '../support/packets.js';
import { FakeDataPlane } from './support/fake-data-plane.js';
import { makeLink } from './support/fake-devices.js';
import { chassisName, mac, makeIntent, portResource, switchResource } from './support/intents.js';
import { vif } from './support/vif.js';

const [vm1, vm2] = ['02:00:00:00:00:01', '02:00:00:00:00:02'] as const;
const told = (text: string, address?: string): PortInput => ({
  announced: { mac: mac(text), address: address === undefined ? new Uint8Array() : ip(address) },
});
const localnet = portResource('ln', 9, { type: 'localnet', network_name: 'net', macs: [] });

/** vm1 has the device 11, vm2 12; the localnet port is in place where it is among the resources. */
function plug(...resources: readonly Resource[]): readonly PluggedPort[] {
  const intent = makeIntent(switchResource('sw0', 1), ...resources);
  const vifs = findLocalPorts(intent, [vif('vm1', 11), vif('vm2', 12)], chassisName);
  const place = { interfaceName: 'eth1', device: makeLink('eth1', 3), awaits: [] };
  const uplinks = [...intent.ports.values()]
    .filter(({ type }) => type === 'localnet')
    .flatMap((port) => localPort(intent, port, place, ''));
  return [...vifs, ...uplinks].map((local, index) => ({ ...local, slot: index + 1 }));
}

function announced(...resources: readonly Resource[]): readonly string[] {
  return Array.from(
    findAnnouncements(plug(...resources)).values(),
    ({ ifindex, frame }) => `${ifindex} ${Buffer.from(frame).toString('hex')}`,
  );
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const garp = ethernet(
  { source: vm1, destination: broadcast },
  arp({ operation: 'request', senderMac: vm1, senderIp: '10.0.0.1', targetIp: '10.0.0.1' }),
);
const rarp = ethernet(
  { source: vm2, destination: broadcast },
  raw(0x8035, Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 3, ...mac(vm2), 0, 0, 0, 0, ...mac(vm2), 0, 0, 0, 0)),
);

test('a port is announced by its IPv4 address, or by its MAC alone', (t) => {
  const ports = [portResource('vm1', 1, told(vm1, '10.0.0.1')), portResource('vm2', 2, told(vm2))];
  t.deepEqual(announced(...ports, localnet), [`11 ${hex(garp)}`, `12 ${hex(rarp)}`]);
  t.deepEqual(announced(...ports), [], 'no physical network here');
});

test('only where it is bound, and when there is something to tell', (t) => {
  const telling = told(vm1, '10.0.0.1');
  const elsewhere = { ...telling, chassis: 'other', additional_chassis: [chassisName] };
  t.deepEqual(announced(portResource('vm1', 1, elsewhere), localnet), [], 'an additional chassis');
  t.deepEqual(announced(portResource('vm1', 1, { ...telling, chassis: 'other' }), localnet), []);
  t.deepEqual(announced(portResource('vm1', 1), localnet), []);
  t.deepEqual(announced(portResource('vm1', 1, { ...telling, enabled: false }), localnet), []);
});

test('a nested port is announced as its VM would do it, with its tag', (t) => {
  const nested = portResource('c1', 3, { ...told(vm1, '10.0.0.1'), parent: 'vm2', tag: 7 });
  t.deepEqual(announced(portResource('vm2', 2), nested, localnet), [`12 ${hex(tagged(garp, { tci: 7 }))}`]);
});

test('five times; again when it has come anew or speaks of another address; not when it has gone', async (t) => {
  const plane = new FakeDataPlane();
  const announcer = new Announcer(plane, silentLogger, [1, 2, 3, 4, 5]);
  t.teardown(() => announcer.stop());
  const here = plug(portResource('vm1', 1, told(vm1, '10.0.0.1')), localnet);
  const settled = async (count: number): Promise<void> => {
    await waitFor(`${count} announcements`, () => plane.broadcasts.length >= count);
    await new Promise((resolve) => setTimeout(resolve, 30));
    t.is(plane.broadcasts.length, count);
  };
  announcer.apply(here);
  announcer.apply(here);
  await settled(5);
  announcer.apply(here);
  await settled(5);
  announcer.apply(plug(portResource('vm1', 1, told(vm1, '10.0.0.99')), localnet));
  await settled(10);
  announcer.apply([]);
  announcer.apply(here);
  announcer.apply([]);
  await settled(10);
  announcer.apply(here);
  announcer.stop();
  await settled(10);
});

test('what can not be sent is not the end of it', async (t) => {
  let attempts = 0;
  const broadcast_ = (): void => {
    attempts += 1;
    throw new Error('no such device');
  };
  const announcer = new Announcer({ broadcast: broadcast_ }, silentLogger, [1, 1]);
  t.teardown(() => announcer.stop());
  announcer.apply(plug(portResource('vm1', 1, told(vm1)), localnet));
  await t.notThrowsAsync(waitFor('both attempts', () => attempts === 2));
});
