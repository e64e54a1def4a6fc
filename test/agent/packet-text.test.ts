import test from 'ava';
import fc from 'fast-check';

import { describePacket } from '../../agent/drops/packet-text.js';
import {
  arp,
  broadcast,
  ethernet,
  icmp,
  icmp6,
  ipv4,
  ipv6,
  neighbourAdvertisement,
  neighbourSolicitation,
  type Payload,
  raw,
  rawTransport,
  tagged,
  tcp,
  udp,
} from '../support/packets.js';

const [a, b] = ['02:00:00:00:00:01', '02:00:00:00:00:02'] as const;

function frame(payload: Payload, destination: string = b): Uint8Array {
  return ethernet({ source: a, destination }, payload);
}

const ip4 = { source: '10.0.0.1', destination: '10.0.0.2' };
const ip6 = { source: 'fd00::1', destination: 'fd00::2' };
const flow4 = `${a} > ${b}, IPv4 10.0.0.1 > 10.0.0.2`;
const flow6 = `${a} > ${b}, IPv6 fd00::1 > fd00::2`;

const cases: readonly (readonly [title: string, frame: Uint8Array, text: string])[] = [
  [
    'a request',
    frame(arp({ operation: 'request', senderMac: a, senderIp: '10.0.0.1', targetIp: '10.0.0.2' }), broadcast),
    `${a} > ${broadcast}, ARP who-has 10.0.0.2 tell 10.0.0.1 (${a})`,
  ],
  [
    'a reply',
    frame(arp({ operation: 'reply', senderMac: a, senderIp: '10.0.0.1', targetIp: '10.0.0.2' })),
    `${a} > ${b}, ARP 10.0.0.1 is-at ${a}`,
  ],
  [
    'ARP of another network',
    frame(raw(0x0806, new Uint8Array(28))),
    `${a} > ${b}, ARP that does not speak of IPv4`,
  ],
  ['ICMP', frame(ipv4(ip4, icmp())), `${flow4}: ICMP echo request`],
  [
    'UDP',
    frame(ipv4(ip4, udp({ source: 1024, destination: 53 }))),
    `${a} > ${b}, IPv4 10.0.0.1:1024 > 10.0.0.2:53: UDP`,
  ],
  [
    'TCP',
    frame(ipv4(ip4, tcp({ source: 1024, destination: 80 }))),
    `${a} > ${b}, IPv4 10.0.0.1:1024 > 10.0.0.2:80: TCP [S]`,
  ],
  ['a protocol by name', frame(ipv4(ip4, rawTransport(47, new Uint8Array(8)))), `${flow4}: GRE`],
  ['a protocol by number', frame(ipv4(ip4, rawTransport(253, new Uint8Array(8)))), `${flow4}: protocol 253`],
  [
    'UDP over IPv6',
    frame(ipv6(ip6, udp({ source: 1, destination: 2 }))),
    `${a} > ${b}, IPv6 fd00::1:1 > fd00::2:2: UDP`,
  ],
  ['ICMPv6', frame(ipv6(ip6, icmp6(128, new Uint8Array(4)))), `${flow6}: ICMPv6 echo request`],
  [
    'a solicitation',
    frame(ipv6(ip6, neighbourSolicitation({ target: 'fd00::9' }))),
    `${flow6}: ICMPv6 neighbour solicitation who has fd00::9`,
  ],
  [
    'an advertisement',
    frame(ipv6(ip6, neighbourAdvertisement({ target: 'fd00::9' }))),
    `${flow6}: ICMPv6 neighbour advertisement for fd00::9`,
  ],
  [
    'tags',
    tagged(frame(ipv4(ip4, icmp())), { tci: 5 }, { tci: 6 }),
    `${a} > ${b}, vlan 5, vlan 6, IPv4 10.0.0.1 > 10.0.0.2: ICMP echo request`,
  ],
  ['another type', frame(raw(0x88cc, new Uint8Array(8))), `${a} > ${b}, ethertype 0x88cc`],
  ['a length in place of a type', frame(raw(8, new Uint8Array(8))), `${a} > ${b}, 802.3`],
  ['IPv4 that is none', frame(raw(0x0800, Uint8Array.of(0x64, 0))), `${a} > ${b}, IPv4 with a bad header`],
  ['IPv6 that is none', frame(raw(0x86dd, Uint8Array.of(0x45, 0))), `${a} > ${b}, IPv6 with a bad header`],
];

for (const [title, bytes, text] of cases) {
  test(title, (t) => t.is(describePacket(bytes, bytes.length), `${text}, length ${bytes.length}`));
}

test('a later fragment has no ports', (t) => {
  const bytes = frame(ipv4(ip4, udp({ source: 1, destination: 2 })));
  bytes.set([0x00, 0xb9], 20);
  t.is(
    describePacket(bytes, bytes.length),
    `${flow4}: fragment at 1480 of protocol 17, length ${bytes.length}`,
  );
});

test('what was not taken along and what the packet lacks are told apart', (t) => {
  const bytes = frame(ipv4(ip4, udp({ source: 1, destination: 2 })));
  const head = bytes.subarray(0, 34);
  t.is(
    describePacket(head, bytes.length),
    `${flow4}: UDP, [the rest was not taken along], length ${bytes.length}`,
  );
  t.is(describePacket(head, head.length), `${flow4}: UDP, [cut off], length 34`);
  t.is(describePacket(new Uint8Array(0), 0), '[cut off], length 0');
});

test('no bytes are too strange to be described in one line', (t) => {
  const types = fc.constantFrom([0x08, 0x00], [0x86, 0xdd], [0x08, 0x06], [0x81, 0x00]);
  const bytes = fc.tuple(
    fc.uint8Array({ minLength: 12, maxLength: 12 }),
    types,
    fc.uint8Array({ maxLength: 120 }),
  );
  fc.assert(
    fc.property(bytes, ([macs, type, rest]) => {
      const head = Uint8Array.from([...macs, ...type, ...rest]);
      t.regex(describePacket(head, head.length), /^[ -~]+, length \d+$/);
    }),
  );
});
