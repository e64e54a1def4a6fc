import test from 'ava';

import { OvnOracle } from '../../testbed/ovn-oracle.js';
import { Testbed } from '../../testbed/testbed.js';
import {
  arp,
  broadcast,
  ethernet,
  icmp,
  ipv4,
  ipv6,
  neighbourAdvertisement,
  type Payload,
  raw,
  tagged,
  udp,
  type VlanTag,
} from '../support/packets.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { DataPlane, intentOf } from './data-plane.js';
import { readModel } from './differential.js';

enterPrivateNamespaces();

const mac1 = '0a:00:00:00:00:01';
const mac2 = '0a:00:00:00:00:02';
const serviceTag = 0x88a8;

const stacks: readonly (readonly VlanTag[])[] = [
  [],
  [{ tci: 0 }],
  [{ tci: 0xe000 }],
  [{ tci: 99 }],
  [{ tci: 0xb063 }],
  [{ etherType: serviceTag, tci: 99 }],
  [{ etherType: serviceTag, tci: 99 }, { tci: 7 }],
  [{ tci: 99 }, { etherType: serviceTag, tci: 0 }],
  [{ tci: 1 }, { tci: 2 }, { tci: 3 }],
  [{ etherType: 0x9100, tci: 99 }],
];

const pairs = [
  ['10.0.0.1', '10.0.0.2'],
  ['10.0.0.9', '10.0.0.2'],
  ['10.0.0.1', '10.0.0.9'],
] as const;
const payloads: readonly Payload[] = [
  ...pairs.map(([source, destination]) => ipv4({ source, destination }, icmp())),
  ...['fd00::1', 'fd00::9'].map((source) =>
    ipv6({ source, destination: 'fd00::2' }, udp({ source: 1, destination: 2 })),
  ),
  ...['fd00::1', 'fd00::9'].map((target) =>
    ipv6({ source: 'fd00::1', destination: 'fd00::2' }, neighbourAdvertisement({ target })),
  ),
  ...['10.0.0.1', '10.0.0.9'].map((senderIp) =>
    arp({ operation: 'reply', senderMac: mac1, senderIp, targetMac: mac2, targetIp: '10.0.0.2' }),
  ),
  raw(0x88b5, new Uint8Array(46)),
];

for (const vlanPassthru of [true, false]) {
  test(`tagged frames fare as in OVN, vlan-passthru=${vlanPassthru}`, async (t) => {
    const devices = [1, 2, 3].map((number) => createDevice(`vlan${number}${vlanPassthru ? 't' : 'f'}`));
    const ports = ['p1', 'p2', 'p3'];
    const bed = await Testbed.open();
    t.teardown(() => bed.close());
    const oracle = await OvnOracle.start(bed.scope, bed.folder);
    await oracle.nbctl(
      'ls-add',
      'sw0',
      '--',
      'set',
      'Logical_Switch',
      'sw0',
      `other_config:vlan-passthru=${vlanPassthru}`,
    );
    for (const port of ports) await oracle.nbctl('lsp-add', 'sw0', port);
    for (const [port, entry] of [
      ['p1', `${mac1} 10.0.0.1 fd00::1`],
      ['p2', `${mac2} 10.0.0.2 fd00::2`],
    ] as const) {
      await oracle.nbctl('lsp-set-addresses', port, entry, '--', 'lsp-set-port-security', port, entry);
    }
    await oracle.plug(ports);
    await oracle.sync();
    const ours = new DataPlane(intentOf(await readModel(bed, oracle, 3), 'sw0'), ports, devices);
    t.teardown(() => ours.close());
    let delivered = 0;
    for (const payload of payloads) {
      for (const destination of [mac2, broadcast]) {
        for (const stack of stacks) {
          const frame = tagged(ethernet({ source: mac1, destination }, payload), ...stack);
          const theirs = await oracle.trace('p1', frame);
          const { outputs } = ours.send('p1', frame);
          t.deepEqual(
            outputs,
            theirs.outputs,
            `${JSON.stringify(stack)} ${Buffer.from(frame).toString('hex')}`,
          );
          if (stack.length > 0 && outputs.length > 0) delivered += 1;
        }
      }
    }
    t.log(`${payloads.length * 2 * stacks.length} frames, ${delivered} with tags delivered`);
    t.is(delivered > 12, vlanPassthru);
  });
}
