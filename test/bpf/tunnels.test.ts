import test, { type ExecutionContext } from 'ava';

import type { TestContext } from '../../agent/libbpf/kernel-program.js';
import { macBytes } from '../../common/addresses.js';
import {
  constants,
  dropReasons,
  ipFamily,
  portFlags,
  tunnelEndpointFlags,
  tunnelType,
} from '../../generated/bpf/layouts.js';
import { geneve, type GeneveOptions } from '../support/geneve.js';
import {
  arp,
  broadcast,
  checksum,
  concat,
  ethernet,
  icmp,
  ip,
  ipv4,
  ipv6,
  mac,
  type Payload,
  raw,
  tagged,
  tcp,
  type Transport,
  udp,
  uint16,
  type VlanTag,
} from '../support/packets.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { type Run, verdicts } from './harness.js';
import { datapathKey, ip4Of, ip6Of, macOf, TestSwitch } from './switch.js';
import { plainPort } from '../support/plain-port.js';

enterPrivateNamespaces();

//   ports 1 and 2 here (slots 1, 2; keys 11, 12)        port 9 behind the tunnel (key 19)
//                      192.0.2.1 ───────────────────────── 192.0.2.2

const remote = { port: 9, key: 19, tunnel: 3, mac: macOf(9) } as const;
const tunnelMtu = 1500;
const overlays = {
  ip4: { family: ipFamily.FAMILY_IP4, local: '192.0.2.1', remote: '192.0.2.2', overhead: 58 },
  ip6: { family: ipFamily.FAMILY_IP6, local: '2001:db8::1', remote: '2001:db8::2', overhead: 78 },
} as const;
type Overlay = (typeof overlays)[keyof typeof overlays];

let devicesMade = 0;

function padded(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(ip(text));
  return bytes;
}

interface Stage {
  readonly sw: TestSwitch;
  readonly underlay: number;
  readonly arrive: (outer: Payload | Uint8Array, context?: TestContext) => Run;
}

/** A switch of which one port is on another chassis. */
function open(t: ExecutionContext, overlay: Overlay = overlays.ip4): Stage {
  const sw = TestSwitch.open(t, 2);
  const { harness } = sw;
  devicesMade += 1;
  const underlay = createDevice(`under${devicesMade}`);
  const relayIfindex = createDevice(`relay${devicesMade}`);
  const { family } = overlay;
  harness.put('tunnels', remote.tunnel, {
    remote: padded(overlay.remote),
    local: padded(overlay.local),
    type: tunnelType.TUNNEL_GENEVE,
    flags: 0,
    family,
    ifindex: underlay,
    relayIfindex,
    mtu: tunnelMtu,
  });
  const endpoint = (text: string, flags: number): void =>
    harness.put(
      'tunnel_endpoints',
      { family, type: tunnelType.TUNNEL_GENEVE, address: padded(text) },
      { flags },
    );
  endpoint(overlay.local, tunnelEndpointFlags.ENDPOINT_LOCAL);
  endpoint(overlay.remote, tunnelEndpointFlags.ENDPOINT_REMOTE);
  harness.put('ports_by_key', { datapathKey, portKey: 0 }, { slot: 0, tunnel: 0 });
  for (const port of sw.ports)
    harness.put('ports_by_key', { datapathKey, portKey: 10 + port }, { slot: port, tunnel: 0 });
  harness.put('ports_by_key', { datapathKey, portKey: remote.key }, { slot: 0, tunnel: remote.tunnel });
  const destination = { datapathKey, mac: macBytes(mac(remote.mac)) };
  harness.put('destinations', destination, { portKey: remote.key, slot: 0 });
  const group = { datapathKey, groupKey: constants.MULTICAST_FLOOD };
  harness.put('remote_members', { ...group, tunnel: 0 }, { nextTunnel: remote.tunnel });
  harness.put('remote_members', { ...group, tunnel: remote.tunnel }, { nextTunnel: 0 });
  const arrive = (outer: Payload | Uint8Array, context: TestContext = {}): Run => {
    const frame = outer instanceof Uint8Array ? outer : outerFrame(outer);
    return harness.run(frame, { ingressIfindex: underlay, ifindex: underlay, ...context }, 'tunnel_ingress');
  };
  return { sw, underlay, arrive };
}

function outerFrame(payload: Payload): Uint8Array {
  return ethernet({ source: '0e:00:00:00:00:02', destination: '0e:00:00:00:00:01' }, payload);
}

function fromRemote(transport: Transport, overlay: Overlay = overlays.ip4): Payload {
  const addresses = { source: overlay.remote, destination: overlay.local };
  return overlay === overlays.ip4 ? ipv4(addresses, transport) : ipv6(addresses, transport);
}

const keys = { vni: datapathKey, from: remote.key, to: 11 } as const;

function toPort1(payload: Payload, source = remote.mac): Uint8Array {
  return ethernet({ source, destination: macOf(1) }, payload);
}

const ping4 = ipv4({ source: ip4Of(9), destination: ip4Of(1) }, icmp(new Uint8Array(20)));
const ping6 = ipv6({ source: ip6Of(9), destination: ip6Of(1) }, udp({ source: 1, destination: 2 }));
const question = arp({ operation: 'request', senderMac: remote.mac, senderIp: ip4Of(9), targetIp: ip4Of(1) });
const inner: Readonly<Record<string, Uint8Array>> = {
  'a header alone': toPort1(raw(0x88b5, new Uint8Array(0))),
  'one byte': toPort1(raw(0x88b5, Uint8Array.of(9))),
  IPv4: toPort1(ping4),
  IPv6: toPort1(ping6),
  ARP: toPort1(question),
  tagged: ethernet({ source: remote.mac, destination: macOf(1), vlan: 5 }, ping4),
};

for (const [underlay, overlay] of Object.entries(overlays)) {
  for (const [what, frame] of Object.entries(inner)) {
    test(`${what} comes out of a tunnel over ${underlay} as it went in`, (t) => {
      const { sw, arrive } = open(t, overlay);
      const { verdict, packet } = arrive(fromRemote(geneve(keys, frame), overlay));
      t.is(verdict, verdicts.redirect);
      t.deepEqual(packet, frame);
      t.is(sw.harness.counters(1).sentPackets, 1n);
      t.deepEqual(sw.harness.drops(0), {});
    });
  }

  for (const [what, payload] of Object.entries({
    IPv4: ipv4({ source: ip4Of(1), destination: ip4Of(9) }, udp({ source: 5, destination: 6 })),
    IPv6: ipv6({ source: ip6Of(1), destination: ip6Of(9) }, udp({ source: 5, destination: 6 })),
    ARP: arp({ operation: 'reply', senderMac: macOf(1), senderIp: ip4Of(1), targetIp: ip4Of(9) }),
    LLC: raw(0x20, Uint8Array.of(0x42, 0x42, 3, ...new Uint8Array(29))),
  })) {
    test(`${what} goes into a tunnel over ${underlay} as OVN's`, (t) => {
      const { sw } = open(t, overlay);
      const frame = ethernet({ source: macOf(1), destination: remote.mac }, payload);
      const { verdict, packet } = sw.send(1, frame);
      t.is(verdict, verdicts.redirect);
      const sent = { vni: datapathKey, from: 11, to: remote.key };
      t.deepEqual(withoutHash(packet, overlay), expectedOuter(frame, sent, overlay));
      const sourcePort = Buffer.from(packet).readUInt16BE(overlay.overhead - 24);
      t.true(sourcePort >= 32_768 && sourcePort < 61_000);
      t.deepEqual(sw.harness.drops(1), {});
    });
  }
}

test('what a port sends comes from its own tunnel source, with and without the relay', (t) => {
  const { sw, underlay } = open(t);
  const source = 2;
  sw.harness.put('tunnels', remote.tunnel + source * constants.MAX_TUNNELS, {
    remote: padded(overlays.ip4.remote),
    local: padded('198.51.100.1'),
    type: tunnelType.TUNNEL_GENEVE,
    flags: 0,
    family: ipFamily.FAMILY_IP4,
    ifindex: underlay,
    relayIfindex: underlay,
    mtu: tunnelMtu,
  });
  sw.setFlags(1, portFlags.PORT_ENABLED + source * 2 ** constants.PORT_SOURCE_SHIFT);
  const sourceOf = (port: number, payload: Payload): string =>
    sw
      .send(port, ethernet({ source: macOf(port), destination: remote.mac }, payload))
      .packet.subarray(26, 30)
      .join('.');
  const datagram = (port: number): Payload => ipv4({ source: ip4Of(port), destination: ip4Of(9) }, icmp());
  t.is(sourceOf(1, datagram(1)), '198.51.100.1');
  t.is(sourceOf(1, raw(0x88b5, new Uint8Array(46))), '198.51.100.1');
  t.is(sourceOf(2, datagram(2)), '192.0.2.1');
  sw.setFlags(1, portFlags.PORT_ENABLED + (source + 1) * 2 ** constants.PORT_SOURCE_SHIFT);
  sourceOf(1, datagram(1));
  t.deepEqual(sw.harness.drops(1), { destination_not_plugged: 1 });
});

/** With the source port, which depends on a hash, replaced by 0. */
function withoutHash(packet: Uint8Array, { overhead }: Overlay): Uint8Array {
  const copy = Uint8Array.from(packet);
  copy.set([0, 0], overhead - 24);
  return copy;
}

/** What OVN would send, but for the MACs (the kernel's part), the source port, and the UDP checksum, which are 0. */
function expectedOuter(frame: Uint8Array, sent: GeneveOptions, overlay: Overlay): Uint8Array {
  const transport = geneve({ ...sent, sourcePort: 0 }, frame);
  const addresses = { source: overlay.local, destination: overlay.remote, ttl: 64 };
  const payload = overlay === overlays.ip4 ? ipv4(addresses, transport) : ipv6(addresses, transport);
  const zero = '00:00:00:00:00:00';
  const expected = ethernet({ source: zero, destination: zero }, payload);
  if (overlay === overlays.ip4) {
    expected.set([0x40, 0], 20);
    expected.set([0, 0], 24);
    expected.set(uint16(checksum(expected.subarray(14, 34))), 24);
  }
  expected.set([0, 0], overlay.overhead - 24 + 6);
  return expected;
}

/** The first is beside the packet when the program makes a tunnel packet of it, as it is when a device has received it. */
const tagStacks: Readonly<Record<string, readonly VlanTag[]>> = {
  'one tag': [{ tci: 0xa005 }],
  'two tags': [{ etherType: 0x88a8, tci: 99 }, { tci: 0x6007 }],
  'three tags': [{ etherType: 0x88a8, tci: 99 }, { tci: 7 }, { tci: 8 }],
};

/** Port 1 is a nested one: taking its tag off leaves the next beside the packet. */
function openNestedPassthru(t: ExecutionContext, overlay?: Overlay) {
  const { sw } = open(t, overlay);
  const port = {
    ...plainPort,
    datapathKey,
    portKey: 11,
    ifindex: sw.deviceOf(1),
    vlanId: 42,
  };
  const flags = portFlags.PORT_ENABLED | portFlags.PORT_VLAN_PASSTHRU;
  sw.harness.put('ports', 1, { ...port, flags });
  sw.harness.put('ports_by_interface', { ifindex: port.ifindex, vlanId: port.vlanId }, 1);
  return { sw, send: (frame: Uint8Array): Run => sw.send(1, tagged(frame, { tci: port.vlanId })) };
}

for (const [underlay, overlay] of Object.entries(overlays)) {
  for (const [what, stack] of Object.entries(tagStacks)) {
    test(`${what} cross a tunnel over ${underlay} inside the frame, in order`, (t) => {
      const { send } = openNestedPassthru(t, overlay);
      const keysTo = (to: number): GeneveOptions => ({ vni: datapathKey, from: 11, to });
      for (const payload of [ping4, ping6, question]) {
        const unicast = tagged(ethernet({ source: macOf(1), destination: remote.mac }, payload), ...stack);
        const { verdict, packet } = send(unicast);
        t.is(verdict, verdicts.redirect);
        t.deepEqual(withoutHash(packet, overlay), expectedOuter(unicast, keysTo(remote.key), overlay));

        const flooded = tagged(ethernet({ source: macOf(1), destination: broadcast }, payload), ...stack);
        const copy = withoutHash(send(flooded).packet, overlay);
        t.deepEqual(copy, expectedOuter(flooded, keysTo(constants.MULTICAST_FLOOD), overlay));
      }
    });
  }
}

test('with more than three tags a frame does not cross', (t) => {
  const { sw, send } = openNestedPassthru(t);
  const frame = ethernet({ source: macOf(1), destination: remote.mac }, ping4);
  t.is(send(tagged(frame, { tci: 1 }, { tci: 2 }, { tci: 3 }, { tci: 4 })).verdict, verdicts.drop);
  t.deepEqual(sw.harness.drops(1), { tunnel_failed: 1 });
});

test('a group key reaches the local members, the sender excepted, and nobody by tunnel', (t) => {
  const { sw, arrive } = open(t);
  const frame = ethernet({ source: remote.mac, destination: broadcast }, question);
  t.is(arrive(fromRemote(geneve({ ...keys, to: constants.MULTICAST_FLOOD }, frame))).verdict, verdicts.drop);
  t.is(sw.harness.counters(1).sentPackets, 1n);
  t.is(sw.harness.counters(2).sentPackets, 1n);
  arrive(fromRemote(geneve({ ...keys, from: 12, to: constants.MULTICAST_FLOOD }, frame)));
  t.is(sw.harness.counters(1).sentPackets, 2n);
  t.is(sw.harness.counters(2).sentPackets, 1n, 'a packet does not return to where it came from');
  t.deepEqual(sw.harness.drops(0), {});
});

test('the egress stages of the receiver are asked', (t) => {
  const { sw, arrive } = open(t);
  sw.secure(1, ip4Of(1));
  t.is(arrive(fromRemote(geneve(keys, toPort1(ping4)))).verdict, verdicts.redirect);
  const foreign = ipv4({ source: ip4Of(9), destination: '10.9.9.9' }, icmp());
  t.is(arrive(fromRemote(geneve(keys, toPort1(foreign)))).verdict, verdicts.drop);
  t.deepEqual(sw.harness.drops(1), { egress_port_security_ip4: 1 });
});

const good = toPort1(ping4);
const outer = outerFrame(fromRemote(geneve(keys, good)));
const refused: Readonly<Record<string, readonly [reason: string, outer: Payload | Uint8Array]>> = {
  'from an address that is no chassis': [
    'tunnel_unknown_source',
    ipv4({ source: '192.0.2.66', destination: overlays.ip4.local }, geneve(keys, good)),
  ],
  'of an unknown network': ['tunnel_unknown_network', fromRemote(geneve({ ...keys, vni: 99 }, good))],
  'to an unknown port': ['tunnel_unknown_port', fromRemote(geneve({ ...keys, to: 77 }, good))],
  'to port 0': ['tunnel_unknown_port', fromRemote(geneve({ ...keys, to: 0 }, good))],
  'from an unknown port': ['tunnel_unknown_port', fromRemote(geneve({ ...keys, from: 78 }, good))],
  'to a port that is elsewhere': [
    'destination_not_plugged',
    fromRemote(geneve({ ...keys, to: remote.key }, good)),
  ],
  'to a group without members here': ['no_receiver', fromRemote(geneve({ ...keys, to: 40_000 }, good))],
  'with an option of another class': [
    'tunnel_option',
    fromRemote(geneve({ ...keys, optionClass: 0x0103 }, good)),
  ],
  'with an option of another type': [
    'tunnel_option',
    fromRemote(geneve({ ...keys, optionType: 0x81 }, good)),
  ],
  'without options': ['tunnel_option', fromRemote(geneve({ ...keys, optionBytes: new Uint8Array(0) }, good))],
  'with a second option': [
    'tunnel_option',
    fromRemote(
      geneve({ ...keys, optionBytes: Uint8Array.of(1, 2, 0x80, 1, 0, 19, 0, 11, 1, 2, 0, 0) }, good),
    ),
  ],
  'of another Geneve version': ['tunnel_malformed', fromRemote(geneve({ ...keys, version: 1 }, good))],
  'that is a control message': ['tunnel_malformed', fromRemote(geneve({ ...keys, flags: 0xc0 }, good))],
  'with no Ethernet inside': ['tunnel_malformed', fromRemote(geneve({ ...keys, protocol: 0x0800 }, good))],
  'that ends in its inner Ethernet header': [
    'tunnel_malformed',
    fromRemote(geneve(keys, good.subarray(0, 13))),
  ],
  'that ends in its option': [
    'tunnel_malformed',
    fromRemote(udp({ source: 1, destination: 6081 }, Uint8Array.of(2, 0x40, 0x65, 0x58, 0, 0, 7, 0, 1, 2))),
  ],
  'that is cut off': ['tunnel_malformed', outer.subarray(0, outer.length - 3)],
};

for (const [what, [reason, packet]] of Object.entries(refused)) {
  test(`a tunnel packet ${what} is dropped`, (t) => {
    const { sw, arrive } = open(t);
    t.is(arrive(packet).verdict, verdicts.drop);
    t.deepEqual(sw.harness.drops(0), { [reason]: 1 });
    for (const port of sw.ports) t.is(sw.harness.counters(port).sentPackets, 0n);
  });
}

test('OVN itself sends from port key 0', (t) => {
  const { arrive } = open(t);
  t.is(arrive(fromRemote(geneve({ ...keys, from: 0 }, good))).verdict, verdicts.redirect);
});

test('what is behind the outer IP packet is not delivered', (t) => {
  const { arrive } = open(t);
  t.deepEqual(arrive(concat(outer, new Uint8Array(9))).packet, good);
});

const foreign: Readonly<Record<string, Payload>> = {
  'another UDP port': fromRemote(geneve({ ...keys, destinationPort: 6082 }, good)),
  'another address of the host': ipv4(
    { source: overlays.ip4.remote, destination: '192.0.2.200' },
    geneve(keys, good),
  ),
  TCP: fromRemote(tcp({ source: 1, destination: 6081 })),
  ARP: question,
  'a fragment': ipv4(
    { source: overlays.ip4.remote, destination: overlays.ip4.local, moreFragments: true },
    geneve(keys, good),
  ),
  'a later fragment': ipv4(
    { source: overlays.ip4.remote, destination: overlays.ip4.local, fragmentOffset: 4 },
    geneve(keys, good),
  ),
};

for (const [what, payload] of Object.entries(foreign)) {
  test(`${what} on the underlay passes untouched`, (t) => {
    const { sw, arrive } = open(t);
    const { verdict, packet } = arrive(payload);
    t.is(verdict, verdicts.unspecified);
    t.deepEqual(packet, outerFrame(payload));
    t.deepEqual(sw.harness.drops(0), {});
  });
}

/** A frame whose IPv4 header has this TOS byte at `offset`, its checksum put right. */
function withTos(frame: Uint8Array, tos: number, offset: number): Uint8Array {
  const copy = Uint8Array.from(frame);
  copy.set([tos], offset + 1);
  copy.set([0, 0], offset + 10);
  copy.set(uint16(checksum(copy.subarray(offset, offset + 20))), offset + 10);
  return copy;
}

test('explicit congestion notification crosses as RFC 6040 and Open vSwitch have it', (t) => {
  const { sw, arrive } = open(t);
  const frame = ethernet(
    { source: macOf(1), destination: remote.mac },
    ipv4({ source: ip4Of(1), destination: ip4Of(9) }, icmp()),
  );
  const outerOf = (inner: number): number => sw.send(1, withTos(frame, inner, 14)).packet[15] ?? -1;
  t.deepEqual([0x00, 0xb9, 0xba, 0xbb].map(outerOf), [0, 1, 2, 2], 'DSCP is not copied, CE becomes ECT(0)');

  const arriveWith = (innerTos: number, outerTos: number): Run =>
    arrive(withTos(outerFrame(fromRemote(geneve(keys, withTos(good, innerTos, 14)))), outerTos, 14));
  t.deepEqual(arriveWith(0xb9, 3).packet, withTos(good, 0xbb, 14), 'congestion on the way is told');
  t.deepEqual(arriveWith(0xb9, 1).packet, withTos(good, 0xb9, 14));
  t.deepEqual(arriveWith(0xb8, 0).packet, withTos(good, 0xb8, 14));
  t.is(arriveWith(0xb8, 3).verdict, verdicts.drop);
  t.deepEqual(sw.harness.drops(0), { tunnel_congestion: 1 });
});

function big4(length: number, transport: (payload: Uint8Array) => Transport): Uint8Array {
  const payload = ipv4({ source: ip4Of(1), destination: ip4Of(9) }, transport(new Uint8Array(length)));
  return ethernet({ source: macOf(1), destination: remote.mac }, payload);
}

for (const [underlay, overlay] of Object.entries(overlays)) {
  test(`the longest packet passes a tunnel over ${underlay}, and one byte more is answered with ICMP`, (t) => {
    const { sw } = open(t, overlay);
    const mtu = tunnelMtu - overlay.overhead;
    const datagram = (bytes: number) =>
      big4(bytes - 28, (payload) => udp({ source: 7, destination: 8 }, payload));
    t.is(sw.send(1, datagram(mtu)).packet.length, tunnelMtu + 14);
    t.deepEqual(sw.harness.drops(1), {});

    const sent = datagram(mtu + 1);
    const { verdict, packet } = sw.send(1, sent);
    t.is(verdict, verdicts.redirect, 'to the port that has sent it');
    t.is(sw.harness.counters(1).sentPackets, 1n);
    t.deepEqual(sw.harness.drops(1), { tunnel_too_big: 1 });
    const bytes = Buffer.from(packet);
    t.deepEqual(packet.subarray(0, 12), Uint8Array.from([...sent.subarray(6, 12), ...sent.subarray(0, 6)]));
    t.deepEqual(packet.subarray(26, 34), Uint8Array.from([...ip(ip4Of(9)), ...ip(ip4Of(1))]));
    t.is(checksum(packet.subarray(14, 34)), 0);
    t.is(bytes.readUInt16BE(16), packet.length - 14);
    t.is(bytes.readUInt16BE(34), 0x0304, 'fragmentation needed');
    t.is(checksum(packet.subarray(34)), 0);
    t.is(bytes.readUInt16BE(40), mtu);
    t.deepEqual(
      packet.subarray(42, 42 + 26),
      sent.subarray(14, 14 + 26),
      'quotes the packet up to its checksum',
    );
  });
}

test('an IPv6 packet that is too big is answered with ICMPv6', (t) => {
  const { sw } = open(t);
  const transport = udp({ source: 7, destination: 8 }, new Uint8Array(1500));
  const payload = ipv6({ source: ip6Of(1), destination: ip6Of(9) }, transport);
  const sent = ethernet({ source: macOf(1), destination: remote.mac }, payload);
  const { verdict, packet } = sw.send(1, sent);
  t.is(verdict, verdicts.redirect);
  const bytes = Buffer.from(packet);
  t.is(bytes.readUInt16BE(54), 0x0200, 'packet too big');
  t.is(bytes.readUInt32BE(58), tunnelMtu - 58);
  const length = packet.length - 54;
  t.is(bytes.readUInt16BE(18), length);
  const pseudo = concat(packet.subarray(22, 54), uint16(0), uint16(length), uint16(0), uint16(58));
  t.is(checksum(concat(pseudo, packet.subarray(54))), 0);
  t.deepEqual(packet.subarray(62, 62 + 46), sent.subarray(14, 14 + 46));
});

test('the quoted checksum stays as it is if somebody fills it in', (t) => {
  const { sw } = open(t);
  const fields = { tcp: [20 + 16, tcp], udp: [20 + 6, udp] } as const;
  for (const [name, [offset, transport]] of Object.entries(fields)) {
    const { packet } = sw.send(
      1,
      big4(1500, (payload) => transport({ source: 7, destination: 8 }, payload)),
    );
    const quoted = packet.subarray(42);
    const filled = checksum(quoted.subarray(20));
    t.is(filled, Buffer.from(quoted).readUInt16BE(offset), name);
  }
});

const unanswered: Readonly<Record<string, Uint8Array>> = {
  'a later fragment': ethernet(
    { source: macOf(1), destination: remote.mac },
    ipv4(
      { source: ip4Of(1), destination: ip4Of(9), fragmentOffset: 8 },
      udp({ source: 1, destination: 2 }, new Uint8Array(1500)),
    ),
  ),
  'no IP': ethernet({ source: macOf(1), destination: remote.mac }, raw(0x88b5, new Uint8Array(1500))),
};

for (const [what, frame] of Object.entries(unanswered)) {
  test(`what is too big and not to be answered is dropped: ${what}`, (t) => {
    const { sw } = open(t);
    t.is(sw.send(1, frame).verdict, verdicts.drop);
    t.deepEqual(sw.harness.drops(1), { tunnel_too_big: 1 });
    t.is(sw.harness.counters(1).sentPackets, 0n);
  });
}

test('a GSO packet is judged by its segments', (t) => {
  const { sw } = open(t);
  const frame = big4(3000, (payload) => tcp({ source: 7, destination: 8 }, payload));
  const mtu = tunnelMtu - 58;
  const send = (gsoSize: number) => sw.send(1, frame, { gsoSegments: 3, gsoSize });
  t.is(send(mtu - 40).verdict, verdicts.redirect);
  t.deepEqual(sw.harness.drops(1), {});
  t.is(Buffer.from(send(mtu - 39).packet).readUInt16BE(34), 0x0304);
  t.true((sw.harness.drops(1)['tunnel_too_big'] ?? 0) >= 1);
});

test('a broadcast is flooded here, and once to each chassis that hosts members', (t) => {
  const { sw } = open(t);
  const frame = ethernet({ source: macOf(1), destination: broadcast }, question);
  t.is(sw.send(1, frame).verdict, verdicts.drop, 'copies were made');
  t.is(sw.harness.counters(2).sentPackets, 1n);
  t.deepEqual(sw.harness.drops(1), {});
});

test('a broadcast that is too big for a tunnel is still flooded here, and counted', (t) => {
  const { sw } = open(t);
  sw.send(1, ethernet({ source: macOf(1), destination: broadcast }, raw(0x88b5, new Uint8Array(1500))));
  t.is(sw.harness.counters(2).sentPackets, 1n);
  t.deepEqual(sw.harness.drops(1), { tunnel_too_big: 1 });
});

test('what is sent to a port at several places is copied to them, and to nobody else', (t) => {
  const { sw } = open(t);
  const group = { datapathKey, groupKey: remote.key };
  const place = { slot: 2, tunnel: constants.SEVERAL_PLACES };
  sw.harness.put('ports_by_key', { datapathKey, portKey: remote.key }, place);
  sw.harness.put('multicast_members', { ...group, slot: 0 }, { nextSlot: 2 });
  sw.harness.put('multicast_members', { ...group, slot: 2 }, { nextSlot: 0 });
  const send = () =>
    sw.send(1, ethernet({ source: macOf(1), destination: remote.mac }, raw(0x88b5, new Uint8Array(40))));
  t.is(send().verdict, verdicts.drop, 'a copy was made here');
  t.is(sw.harness.counters(2).sentPackets, 1n);
  t.deepEqual(sw.harness.drops(1), {});

  sw.harness.put('remote_members', { ...group, tunnel: 0 }, { nextTunnel: remote.tunnel });
  send();
  t.deepEqual(sw.harness.drops(1), { multicast_list_changed: 1 }, 'the tunnels of its list are asked, too');
  sw.harness.put('remote_members', { ...group, tunnel: remote.tunnel }, { nextTunnel: 0 });
  send();
  t.is(sw.harness.counters(2).sentPackets, 3n);
  t.deepEqual(sw.harness.drops(1), { multicast_list_changed: 1 });
});

test('a port behind no tunnel is not plugged in anywhere', (t) => {
  const { sw } = open(t);
  sw.harness.put('ports_by_key', { datapathKey, portKey: remote.key }, { slot: 0, tunnel: 0 });
  t.is(
    sw.send(
      1,
      big4(20, (payload) => udp({ source: 1, destination: 2 }, payload)),
    ).verdict,
    verdicts.drop,
  );
  t.deepEqual(sw.harness.drops(1), { destination_not_plugged: 1 });
});

test('what a switch passes on to another by the underlay’s interface is no tunnel packet', (t) => {
  const { sw, arrive } = open(t);
  const { verdict, packet } = arrive(outer, { mark: 0x6b000000 | (1 << 20) | 1 });
  t.is(verdict, verdicts.unspecified);
  t.deepEqual(packet, outer);
  t.deepEqual(sw.sent(), [0, 0]);
});

test('the relay takes orders by mark and nothing else', (t) => {
  const { sw, underlay } = open(t);
  const run = (mark: number): Run => sw.harness.run(outer, { mark, ifindex: underlay }, 'relay_ingress');
  t.is(run(0x5a000000 | remote.tunnel).verdict, verdicts.redirect);
  t.is(run(0x5a000000 | 99).verdict, verdicts.drop);
  t.is(run(0).verdict, verdicts.drop);
  t.deepEqual(sw.harness.drops(0), {}, "what the host says there is nobody's packet");
  const segments = sw.harness.run(
    good,
    { mark: 0x5b000000 | 1, ifindex: underlay, gsoSegments: 2, gsoSize: 30 },
    'relay_ingress',
  );
  t.is(segments.verdict, verdicts.drop);
  t.deepEqual(sw.harness.drops(1), { tunnel_failed: 2 });
});

test('every drop reason of tunnels has a test', (t) => {
  const elsewhere = ['tunnel_congestion', 'tunnel_failed', 'tunnel_too_big'];
  const tested = new Set([...Object.values(refused).map(([reason]) => reason), ...elsewhere]);
  const reasons = dropReasons.map(({ name }) => name).filter((name) => name.startsWith('tunnel_'));
  t.deepEqual(
    reasons.filter((name) => !tested.has(name)),
    [],
  );
});

for (const program of ['geneve_ingress', 'vxlan_ingress'] as const) {
  test(`${program}: what comes out of the tunnel device must have come in by it`, (t) => {
    const { sw, underlay } = open(t);
    const run = sw.harness.run(toPort1(ping4), { ingressIfindex: underlay, ifindex: underlay }, program);
    t.is(run.verdict, verdicts.drop);
    t.deepEqual(sw.harness.drops(0), { tunnel_malformed: 1 });
  });
}
