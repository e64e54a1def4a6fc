import test from 'ava';

import { Capture, sendFrames } from '../../testbed/frames.js';
import { waitFor } from '../../testbed/wait.js';
import { openPair } from '../support/network.js';
import { broadcast, ethernet, ipv4, rawTransport, tagged, type VlanTag } from '../support/packets.js';

const serviceTag = 0x88a8;

const tagStacks: Readonly<Record<string, readonly VlanTag[]>> = {
  '802.1Q': [{ tci: 0xa063 }],
  '802.1ad': [{ etherType: serviceTag, tci: 99 }],
  'priority only': [{ tci: 0x6000 }],
  'two tags': [{ etherType: serviceTag, tci: 99 }, { tci: 7 }],
  'three tags': [{ etherType: serviceTag, tci: 99 }, { tci: 7 }, { tci: 8 }],
};

/** An echo reply that nobody waits for: whoever gets it says nothing. */
const unasked = rawTransport(1, Uint8Array.of(0, 0, 0xff, 0xff, 0, 0, 0, 0));

test.serial('tagged frames pass byte for byte where the switch lets them, and not elsewhere', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const { central, bed, hypervisor } = network;
  const between = (source: string, destination: string): Uint8Array =>
    ethernet({ source: vm1.mac, destination }, ipv4({ source, destination: vm2.address }, unasked));
  const allowed = between(vm1.address, vm2.mac);
  const tags = Object.values(tagStacks);
  // With addresses in its port security only what is IP or ARP behind two tags may pass, as in OVN.
  const passing = tags.filter(({ length }) => length <= 2).map((stack) => tagged(allowed, ...stack));
  const frames = tags.map((stack) => tagged(allowed, ...stack));
  const capture = await Capture.start(bed, vm2.namespace, 'eth0');

  await sendFrames(vm1.namespace, 'eth0', [...frames, allowed]);
  await capture.waitForFrame(allowed);
  t.is(capture.frames().length, 1, 'without the option');

  await central.nbctl('--wait=hv', 'set', 'Logical_Switch', 'sw0', 'other_config:vlan-passthru=true');
  const everybody = tagged(between(vm1.address, broadcast), { tci: 5 });
  const spoofed = tags.map((stack) => tagged(between('10.0.0.99', vm2.mac), ...stack));
  await sendFrames(vm1.namespace, 'eth0', [...frames, ...spoofed, everybody]);
  await capture.waitForFrame(everybody);
  const hex = (list: readonly Uint8Array[]) => list.map((frame) => Buffer.from(frame).toString('hex'));
  t.deepEqual(hex(capture.frames()), hex([allowed, ...passing, everybody]));

  await central.nbctl('lsp-set-port-security', 'vm1', vm1.mac, '--', 'lsp-set-port-security', 'vm2');
  await network.sync();
  const deep = tagged(allowed, ...(tagStacks['three tags'] ?? []));
  await sendFrames(vm1.namespace, 'eth0', [deep]);
  await capture.waitForFrame(deep);

  await central.nbctl('--wait=hv', 'remove', 'Logical_Switch', 'sw0', 'other_config', 'vlan-passthru');
  await sendFrames(vm1.namespace, 'eth0', [...frames, everybody]);
  const dropped = async (): Promise<boolean> => {
    const { body } = await hypervisor.get('/metrics');
    return /port_dropped_packets_total\{[^}]*port="vm1"[^}]*reason="vlan_tagged"[^}]*\} 11$/m.test(body);
  };
  await waitFor('five frames before and six after are counted', dropped);
});
