import test from 'ava';

import { constants, portFlags } from '../../generated/bpf/layouts.js';
import {
  arp,
  broadcast,
  checksum,
  concat,
  dhcpDiscover,
  ethernet,
  icmp,
  icmp6,
  ip,
  ipv4,
  ipv6,
  neighbourAdvertisement,
  neighbourSolicitation,
  type Payload,
  raw,
  udp,
  uint32,
} from '../support/packets.js';
import { openPacketReceiver } from '../support/packet-receiver.js';
import { enterPrivateNamespaces } from '../support/private-namespace.js';
import { verdicts } from './harness.js';
import { datapathKey, ip4Of, ip6Of, macOf, TestSwitch } from './switch.js';

enterPrivateNamespaces();

const { PORT_ENABLED, PORT_REDIRECT_PEER } = portFlags;
const allNodes = '33:33:00:00:00:01';

function frame(payload: Payload, destination = macOf(2), source = macOf(1)): Uint8Array {
  return ethernet({ source, destination }, payload);
}

const ping4 = frame(ipv4({ source: ip4Of(1), destination: ip4Of(2) }, icmp()));

interface Case {
  readonly title: string;
  readonly frame: Uint8Array;
  /** Port security of the sender, port 1. */
  readonly sender: readonly string[];
  /** Port security of port 2. */
  readonly receiver: readonly string[];
}

const own = [ip4Of(1), ip6Of(1)];
const theirs = [ip4Of(2), ip6Of(2)];
const ownLinkLocal = 'fe80::ff:fe00:1';

/** What port security lets through, from port 1 to port 2 alone. */
const unicast: readonly Case[] = [
  { title: 'IPv4 from and to listed addresses', frame: ping4, sender: own, receiver: theirs },
  {
    title: 'IPv6 from and to listed addresses',
    frame: frame(ipv6({ source: ip6Of(1), destination: ip6Of(2) }, udp({ source: 1, destination: 2 }))),
    sender: own,
    receiver: theirs,
  },
  {
    title: 'any address and protocol where a MAC stands alone',
    frame: frame(raw(0x88b5, new Uint8Array(46))),
    sender: [],
    receiver: [],
  },
  {
    title: 'another protocol to a port that lists addresses',
    frame: frame(raw(0x88b5, new Uint8Array(46))),
    sender: [],
    receiver: theirs,
  },
  {
    title: 'an ARP reply',
    frame: frame(
      arp({
        operation: 'reply',
        senderMac: macOf(1),
        senderIp: ip4Of(1),
        targetMac: macOf(2),
        targetIp: ip4Of(2),
      }),
    ),
    sender: own,
    receiver: theirs,
  },
  {
    title: 'an advertisement for an address of its own',
    frame: frame(
      ipv6(
        { source: ip6Of(1), destination: ip6Of(2) },
        neighbourAdvertisement({ target: ip6Of(1), linkLayerAddress: macOf(1) }),
      ),
    ),
    sender: own,
    receiver: theirs,
  },
  {
    title: 'IPv4 in a SNAP frame',
    frame: frame(
      raw(
        36,
        concat(
          Uint8Array.of(0xaa, 0xaa, 3, 0, 0, 0, 8, 0),
          ipv4({ source: ip4Of(1), destination: ip4Of(2) }, icmp()).bytes,
        ),
      ),
    ),
    sender: own,
    receiver: theirs,
  },
];

for (const { title, frame: bytes, sender, receiver } of unicast) {
  test(`delivered: ${title}`, (t) => {
    const network = TestSwitch.open(t, 3);
    network.secure(1, ...sender);
    network.secure(2, ...receiver);
    const run = network.send(1, bytes);
    t.is(run.verdict, verdicts.redirect, JSON.stringify(network.harness.drops(1)));
    t.deepEqual(run.packet, bytes);
    t.deepEqual(network.sent(), [0, 1, 0]);
    t.is(network.harness.counters(1).receivedBytes, BigInt(bytes.length));
    t.is(network.harness.counters(2).sentBytes, BigInt(bytes.length));
    for (const port of [0, 1, 2, 3]) t.deepEqual(network.harness.drops(port), {});
  });
}

/** What a port with addresses may flood. */
const flooded: readonly (readonly [title: string, bytes: Uint8Array])[] = [
  [
    'DHCP discovery',
    frame(
      ipv4(
        { source: '0.0.0.0', destination: '255.255.255.255' },
        udp({ source: 68, destination: 67 }, dhcpDiscover(macOf(1))),
      ),
      broadcast,
    ),
  ],
  [
    'duplicate address detection',
    frame(
      ipv6({ source: '::', destination: 'ff02::1:ff00:1' }, neighbourSolicitation({ target: ip6Of(1) })),
      '33:33:ff:00:00:01',
    ),
  ],
  [
    'a multicast listener report',
    frame(
      ipv6(
        {
          source: '::',
          destination: 'ff02::16',
          extensions: [{ protocol: 0, rest: Uint8Array.of(0, 5, 2, 0, 0, 1, 0) }],
        },
        icmp6(143, uint32(0)),
      ),
      '33:33:00:00:00:16',
    ),
  ],
  [
    'IPv6 from the link-local address',
    frame(ipv6({ source: ownLinkLocal, destination: 'ff02::1' }, icmp6(128, uint32(1))), allNodes),
  ],
  [
    'an ARP request for an address that nobody has',
    frame(
      arp({ operation: 'request', senderMac: macOf(1), senderIp: ip4Of(1), targetIp: '10.0.0.99' }),
      broadcast,
    ),
  ],
];

for (const [title, bytes] of flooded) {
  test(`flooded: ${title}`, async (t) => {
    const network = TestSwitch.open(t, 3);
    network.secure(1, ...own, ownLinkLocal);
    const receivers = [2, 3].map((port) => openPacketReceiver(network.vmEndOf(port)));
    t.teardown(() => receivers.forEach((receiver) => receiver.close()));
    network.send(1, bytes);
    t.deepEqual(network.sent(), [0, 1, 1], JSON.stringify(network.harness.drops(1)));
    for (const receiver of receivers) t.deepEqual(await receiver.waitForFrames(1), [bytes]);
    t.deepEqual(network.harness.drops(1), {});
  });
}

test('a frame for an unknown MAC goes to the ports that take unknown ones', (t) => {
  const network = TestSwitch.open(t, 3);
  network.harness.putGroup(datapathKey, constants.MULTICAST_UNKNOWN, [1, 3]);
  network.send(1, frame(ipv4({ source: ip4Of(1), destination: ip4Of(2) }, icmp()), macOf(9)));
  t.deepEqual(network.sent(), [0, 0, 1]);
  t.deepEqual(network.harness.drops(1), {});
});

test('a copy that its receiver may not have is counted there and stops no other', (t) => {
  const network = TestSwitch.open(t, 3);
  network.setFlags(2, 0);
  network.send(1, frame(ipv4({ source: ip4Of(1), destination: '10.0.0.255' }, icmp()), broadcast));
  t.deepEqual(network.sent(), [0, 0, 1]);
  t.deepEqual(network.harness.drops(2), { egress_port_disabled: 1 });
  t.deepEqual(network.harness.drops(1), {});
});

test('a mark is kept from a TAP, and taken off what goes straight into a namespace', (t) => {
  const network = TestSwitch.open(t, 2);
  t.is(network.send(1, ping4, { mark: 5 }).mark, 5);
  network.setFlags(2, PORT_ENABLED | PORT_REDIRECT_PEER);
  const run = network.send(1, ping4, { mark: 5 });
  t.is(run.verdict, verdicts.redirect);
  t.is(run.mark, 0);
  t.deepEqual(run.packet, ping4);
});

const question = arp({ operation: 'request', senderMac: macOf(1), senderIp: ip4Of(1), targetIp: ip4Of(2) });

test('an ARP request for a known address is answered to the asker alone', (t) => {
  const network = TestSwitch.open(t, 3);
  network.answerFor(2, ip4Of(2));
  const run = network.send(1, frame(question, broadcast));
  const reply = arp({
    operation: 'reply',
    senderMac: macOf(2),
    senderIp: ip4Of(2),
    targetMac: macOf(1),
    targetIp: ip4Of(1),
  });
  t.is(run.verdict, verdicts.redirect);
  t.deepEqual(run.packet, frame(reply, macOf(1), macOf(2)));
  t.deepEqual(network.sent(), [1, 0, 0]);
});

test('an answer leaves the padding of the request as it is', (t) => {
  const network = TestSwitch.open(t, 2);
  network.answerFor(2, ip4Of(2));
  const padding = new Uint8Array(18).fill(7);
  const run = network.send(1, concat(frame(question, broadcast), padding));
  t.deepEqual(run.packet.subarray(42), padding);
});

/** What is left to the owner. */
const unanswered: readonly (readonly [title: string, bytes: Uint8Array])[] = [
  ['a request to the owner', frame(question)],
  [
    'a reply',
    frame(
      arp({ operation: 'reply', senderMac: macOf(1), senderIp: ip4Of(1), targetIp: ip4Of(2) }),
      broadcast,
    ),
  ],
  [
    'a request for the address of the asker',
    frame(
      arp({ operation: 'request', senderMac: macOf(1), senderIp: ip4Of(1), targetIp: ip4Of(1) }),
      broadcast,
    ),
  ],
  [
    'a request in a SNAP frame',
    frame(raw(36, concat(Uint8Array.of(0xaa, 0xaa, 3, 0, 0, 0, 8, 6), question.bytes)), broadcast),
  ],
  [
    'a solicitation with hop limit 64',
    frame(
      ipv6(
        { source: ip6Of(1), destination: 'ff02::1:ff00:2', ttl: 64 },
        neighbourSolicitation({ target: ip6Of(2) }),
      ),
      '33:33:ff:00:00:02',
    ),
  ],
  [
    'a solicitation to another group',
    frame(
      ipv6({ source: ip6Of(1), destination: 'ff02::1' }, neighbourSolicitation({ target: ip6Of(2) })),
      allNodes,
    ),
  ],
  [
    'a solicitation with code 1',
    withCode(
      frame(
        ipv6(
          { source: ip6Of(1), destination: 'ff02::1:ff00:2' },
          neighbourSolicitation({ target: ip6Of(2) }),
        ),
        '33:33:ff:00:00:02',
      ),
    ),
  ],
];

function withCode(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, index) => (index === 14 + 40 + 1 ? 1 : byte));
}

for (const [title, bytes] of unanswered) {
  test(`not answered: ${title}`, (t) => {
    const network = TestSwitch.open(t, 3);
    for (const port of [1, 2]) {
      network.answerFor(port, ip4Of(port));
      network.answerFor(port, ip6Of(port));
    }
    t.deepEqual(network.send(1, bytes).packet, bytes);
    t.is(network.sent()[0], 0);
    t.is(network.sent()[1], 1);
  });
}

/** A solicitation for port 2's address, with whatever options. */
function solicitation(source: string, ...options: readonly number[]): Uint8Array {
  const message = icmp6(135, concat(uint32(0), ip(ip6Of(2)), Uint8Array.from(options)));
  return frame(ipv6({ source, destination: 'ff02::1:ff00:2' }, message), '33:33:ff:00:00:02');
}

const sourceOption = [1, 1, 2, 0, 0, 0, 0, 1];
const answerable: readonly (readonly [title: string, bytes: Uint8Array, asker: string])[] = [
  ['with the source option', solicitation(ip6Of(1), ...sourceOption), ip6Of(1)],
  ['without options', solicitation(ip6Of(1)), ip6Of(1)],
  ['of duplicate address detection', solicitation('::'), '::'],
  ['with a nonce', solicitation(ip6Of(1), ...sourceOption, 14, 1, 1, 2, 3, 4, 5, 6), ip6Of(1)],
  ['with an option cut off', solicitation(ip6Of(1), 1, 4, 2, 0, 0, 0, 0, 1), ip6Of(1)],
];

for (const [title, bytes, asker] of answerable) {
  test(`a solicitation ${title} is answered as by its target`, (t) => {
    const network = TestSwitch.open(t, 3);
    network.answerFor(2, ip6Of(2));
    const run = network.send(1, bytes);
    const advertisement = ipv6(
      { source: ip6Of(2), destination: asker },
      neighbourAdvertisement({ target: ip6Of(2), linkLayerAddress: macOf(2) }),
    );
    t.is(run.verdict, verdicts.redirect);
    t.deepEqual(run.packet, frame(advertisement, macOf(1), macOf(2)));
    t.is(
      checksum(concat(ip(ip6Of(2)), ip(asker), uint32(32), uint32(58), run.packet.subarray(54))),
      0,
      'the checksum holds',
    );
    t.deepEqual(network.sent(), [1, 0, 0]);
  });
}

test('an answer passes the egress stages of the asker', (t) => {
  const network = TestSwitch.open(t, 2);
  network.secure(1, ip6Of(1));
  network.answerFor(2, ip6Of(2));
  const run = network.send(1, solicitation('::'));
  t.is(run.verdict, verdicts.drop);
  t.deepEqual(network.harness.drops(1), { egress_port_security_ip6: 1 });
});
