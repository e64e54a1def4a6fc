import fc from 'fast-check';

import { formatIp, macBytes } from '../../common/addresses.js';
import {
  broadcast,
  concat,
  dhcpDiscover,
  ethernet,
  type ExtensionHeader,
  icmp,
  icmp6,
  ip,
  ipv4,
  ipv6,
  mac,
  type Payload,
  raw,
  rawTransport,
  tcp,
  type Transport,
  udp,
  uint16,
  uint32,
} from '../support/packets.js';
import { ownIp4, ownIp6, ownMac, type SwitchDescription } from './network.js';

/** A frame that the VM behind a port sends. */
export interface Frame {
  readonly port: string;
  readonly bytes: Uint8Array;
}

/** Addresses that mean something in a switch, and a few that don't. */
interface Pool {
  readonly mac: fc.Arbitrary<string>;
  readonly ip4: fc.Arbitrary<string>;
  readonly ip6: fc.Arbitrary<string>;
}

/** Mostly what the sender may use, and mostly a destination that is there. */
interface Ends {
  readonly from: Pool;
  readonly to: Pool;
}

const oddMacs = ['0a:00:00:00:00:0f', '00:00:00:00:00:00', '0b:00:00:00:00:01'] as const;
const oddIp4 = [
  '10.0.0.0',
  '10.0.0.9',
  '10.0.0.255',
  '10.0.0.3',
  '10.0.1.7',
  '10.0.1.127',
  '10.0.1.128',
  '192.0.2.1',
  '0.0.0.0',
  '127.0.0.1',
  '128.0.0.1',
  '255.255.255.255',
  '224.0.0.1',
  '239.255.255.250',
  '10.0.2.1',
] as const;
const oddIp6 = [
  'fd00::9',
  'fd00::',
  'fd00::ffff',
  'fd00:1::1',
  'fd00:1:8000::1',
  '2001:db8::1',
  '::',
  '::1',
  'fe80::1',
  'ff02::1',
  'ff02::2',
  'ff02::16',
  'ff02::1:ff00:1',
  'ff02::1:ff00:2',
  'ff05::2',
  'ff00::',
  '::ffff:10.0.0.1',
] as const;

/** fe80::/64 with the modified EUI-64 of the MAC. */
function linkLocal(text: string): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = macBytes(mac(text));
  return formatIp(Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f));
}

function padMac(text: string): string {
  return text
    .split(':')
    .map((octet) => octet.padStart(2, '0'))
    .join(':');
}

/** What port number `index` of the switch has or may use. */
function poolOfPort({ ports }: SwitchDescription, index: number): Pool {
  const port = ports[index];
  const entries = [...(port?.portSecurity ?? []), ...(port?.addresses ?? [])];
  const macs = [...new Set([ownMac(index), ...entries.map((entry) => padMac(entry.mac))])];
  const listed = entries.flatMap(({ addresses }) => addresses.map(({ address }) => address));
  const four = [...new Set([ownIp4(index), ...listed.filter((address) => !address.includes(':'))])];
  const six = [
    ...new Set([ownIp6(index), ...macs.map(linkLocal), ...listed.filter((address) => address.includes(':'))]),
  ];
  return { mac: fc.constantFrom(...macs), ip4: fc.constantFrom(...four), ip6: fc.constantFrom(...six) };
}

function biased(usual: Pool, other: Pool, weight: number): Pool {
  const mix = (a: fc.Arbitrary<string>, b: fc.Arbitrary<string>, odd: readonly string[]) =>
    fc.oneof(
      { weight, arbitrary: a },
      { weight: 1, arbitrary: b },
      { weight: 1, arbitrary: fc.constantFrom(...odd) },
    );
  return {
    mac: mix(usual.mac, other.mac, oddMacs),
    ip4: mix(usual.ip4, other.ip4, oddIp4),
    ip6: mix(usual.ip6, other.ip6, oddIp6),
  };
}

const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });

/** The source is a multicast address now and then, the destination often. */
function sourceMac({ from }: Ends): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 30, arbitrary: from.mac },
    { weight: 1, arbitrary: fc.constantFrom('01:00:5e:00:00:01', broadcast) },
  );
}

function destinationMac({ to }: Ends): fc.Arbitrary<string> {
  const groups = [
    '01:00:5e:00:00:01',
    '33:33:00:00:00:01',
    '33:33:ff:00:00:02',
    '01:80:c2:00:00:0e',
    '01:80:c2:00:00:00',
  ] as const;
  return fc.oneof(
    { weight: 6, arbitrary: to.mac },
    { weight: 2, arbitrary: fc.constant(broadcast) },
    { weight: 1, arbitrary: fc.constantFrom(...groups) },
  );
}

function framed(ends: Ends, payload: fc.Arbitrary<Payload>): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(sourceMac(ends), destinationMac(ends), payload)
    .map(([source, destination, content]) => ethernet({ source, destination }, content));
}

function arpPayload({ from, to }: Ends): fc.Arbitrary<Payload> {
  const rare = <T>(usual: T, ...odd: T[]) =>
    fc.oneof(
      { weight: 20, arbitrary: fc.constant(usual) },
      { weight: 1, arbitrary: fc.constantFrom(...odd) },
    );
  return fc
    .record({
      hardware: rare(1, 6),
      protocol: rare(0x0800, 0x86dd),
      hardwareLength: rare(6, 8),
      protocolLength: rare(4, 16),
      operation: fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom(1, 2) },
        { weight: 1, arbitrary: fc.constantFrom(0, 3, 0x101) },
      ),
      senderMac: from.mac,
      senderIp: from.ip4,
      targetMac: to.mac,
      targetIp: to.ip4,
    })
    .map((a) =>
      raw(
        0x0806,
        concat(
          uint16(a.hardware),
          uint16(a.protocol),
          Uint8Array.of(a.hardwareLength, a.protocolLength),
          uint16(a.operation),
          macBytes(mac(a.senderMac)),
          ip(a.senderIp),
          macBytes(mac(a.targetMac)),
          ip(a.targetIp),
        ),
      ),
    );
}

/** A broadcast request from one of the sender's own addresses: the responder's case. */
function arpQuestion(ends: Ends): fc.Arbitrary<Uint8Array> {
  const { from, to } = ends;
  return fc
    .record({
      source: from.mac,
      senderIp: from.ip4,
      targetIp: to.ip4,
      destination: fc.oneof(
        { weight: 4, arbitrary: fc.constant(broadcast) },
        { weight: 1, arbitrary: to.mac },
      ),
      trailer: bytes(0, 18),
    })
    .map(({ source, senderIp, targetIp, destination, trailer }) => {
      const fixed = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1);
      const content = concat(
        fixed,
        macBytes(mac(source)),
        ip(senderIp),
        new Uint8Array(6),
        ip(targetIp),
        trailer,
      );
      return ethernet({ source, destination }, raw(0x0806, content));
    });
}

const ip4Transport: fc.Arbitrary<Transport> = fc.oneof(
  bytes(0, 40).map((payload) => icmp(payload)),
  fc
    .record({ source: fc.constantFrom(68, 67, 1024), destination: fc.constantFrom(67, 68, 53) })
    .map((ports) => udp(ports)),
  fc.constant(tcp({ source: 1024, destination: 80 })),
  fc
    .tuple(fc.constantFrom(2, 17, 47, 58, 132), bytes(0, 12))
    .map(([protocol, content]) => rawTransport(protocol, content)),
);

function ip4Payload({ from, to }: Ends): fc.Arbitrary<Payload> {
  return fc
    .record({
      source: from.ip4,
      destination: to.ip4,
      options: fc.oneof(
        { weight: 5, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.constantFrom(1, 2, 10) },
      ),
      fragmentOffset: fc.oneof(
        { weight: 8, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.constantFrom(1, 185) },
      ),
      moreFragments: fc.oneof(
        { weight: 8, arbitrary: fc.constant(false) },
        { weight: 1, arbitrary: fc.constant(true) },
      ),
      transport: ip4Transport,
    })
    .map(({ source, destination, options, fragmentOffset, moreFragments, transport }) =>
      ipv4(
        { source, destination, options: new Uint8Array(options * 4).fill(1), fragmentOffset, moreFragments },
        transport,
      ),
    );
}

/** DHCP discovery, and what nearly is. */
function dhcp(ends: Ends): fc.Arbitrary<Uint8Array> {
  const mostly = <T>(usual: T, ...odd: T[]) =>
    fc.oneof({ weight: 6, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...odd) });
  return fc
    .record({
      source: ends.from.mac,
      destination: mostly(broadcast, ownMac(0), ownMac(1)),
      sourceIp: mostly('0.0.0.0', '0.0.0.1', '10.0.0.1'),
      destinationIp: mostly('255.255.255.255', '10.0.0.255', '10.0.0.2'),
      sourcePort: mostly(68, 67, 69),
      destinationPort: mostly(67, 68, 547),
      options: mostly(0, 4),
      fragmentOffset: mostly(0, 2),
      moreFragments: mostly(false, true),
    })
    .map((d) => {
      const datagram = udp({ source: d.sourcePort, destination: d.destinationPort }, dhcpDiscover(d.source));
      const { fragmentOffset, moreFragments } = d;
      const header = {
        source: d.sourceIp,
        destination: d.destinationIp,
        fragmentOffset,
        moreFragments,
        options: new Uint8Array(d.options),
      };
      return ethernet({ source: d.source, destination: d.destination }, ipv4(header, datagram));
    });
}

/** Source and target link-layer options, right, repeated, of odd lengths and types. */
function neighbourOptions({ from }: Ends): fc.Arbitrary<Uint8Array> {
  const option = fc
    .record({
      type: fc.constantFrom(1, 2, 2, 2, 5, 14),
      length: fc.oneof(
        { weight: 12, arbitrary: fc.constant(1) },
        { weight: 1, arbitrary: fc.constantFrom(0, 2, 4, 255) },
      ),
      address: from.mac,
      more: bytes(0, 8),
    })
    .map(({ type, length, address, more }) =>
      concat(Uint8Array.of(type, length), macBytes(mac(address)), length === 1 ? new Uint8Array(0) : more),
    );
  return fc.array(option, { maxLength: 3 }).map((options) => concat(...options));
}

function neighbourMessage(ends: Ends): fc.Arbitrary<Transport> {
  return fc
    .record({
      type: fc.constantFrom(135, 136, 136),
      code: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(1) }),
      flags: fc.constantFrom(0, 0x60000000),
      target: fc.oneof({ weight: 3, arbitrary: ends.from.ip6 }, { weight: 2, arbitrary: ends.to.ip6 }),
      options: neighbourOptions(ends),
      cut: fc.oneof(
        { weight: 20, arbitrary: fc.constant(1000) },
        { weight: 1, arbitrary: fc.integer({ min: 0, max: 40 }) },
      ),
    })
    .map(({ type, code, flags, target, options, cut }) =>
      rawTransport(
        58,
        concat(Uint8Array.of(type, code, 0, 0), uint32(flags), ip(target), options).subarray(0, cut),
      ),
    );
}

const extension: fc.Arbitrary<ExtensionHeader> = fc.oneof(
  fc.tuple(fc.constantFrom(0, 43, 60), fc.constantFrom(0, 1)).map(([protocol, length]) => ({
    protocol,
    rest: concat(Uint8Array.of(length), new Uint8Array(6 + length * 8)),
  })),
  fc
    .constantFrom(0, 1, 8, 9, 0x100)
    .map((offset) => ({ protocol: 44, rest: concat(Uint8Array.of(0), uint16(offset), uint32(7)) })),
  fc
    .constantFrom(1, 4)
    .map((length) => ({ protocol: 51, rest: concat(Uint8Array.of(length), new Uint8Array(length * 4 + 6)) })),
);

function ip6Transport(ends: Ends): fc.Arbitrary<Transport> {
  return fc.oneof(
    { weight: 4, arbitrary: neighbourMessage(ends) },
    { weight: 1, arbitrary: bytes(0, 20).map((payload) => udp({ source: 546, destination: 547 }, payload)) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.constantFrom(128, 131, 132, 133, 134, 143), bytes(0, 24))
        .map(([type, rest]) => icmp6(type, rest)),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom(6, 17, 58, 59, 0, 43, 44), bytes(0, 12))
        .map(([protocol, content]) => rawTransport(protocol, content)),
    },
  );
}

function ip6Payload(ends: Ends): fc.Arbitrary<Payload> {
  return fc
    .record({
      source: ends.from.ip6,
      destination: ends.to.ip6,
      ttl: fc.oneof(
        { weight: 8, arbitrary: fc.constant(255) },
        { weight: 1, arbitrary: fc.constantFrom(64, 254, 1) },
      ),
      extensions: fc.oneof(
        { weight: 4, arbitrary: fc.constant<ExtensionHeader[]>([]) },
        { weight: 1, arbitrary: fc.array(extension, { maxLength: 4 }) },
      ),
      transport: ip6Transport(ends),
    })
    .map(({ transport, ...header }) => ipv6(header, transport));
}

/** Duplicate address detection and multicast listener reports: from ::, to ff02::/16. */
function autoconfiguration(ends: Ends): fc.Arbitrary<Uint8Array> {
  return fc
    .record({
      source: ends.from.mac,
      sourceIp: fc.oneof(
        { weight: 6, arbitrary: fc.constant('::') },
        { weight: 1, arbitrary: fc.constantFrom('::1', 'fe80::1') },
      ),
      destinationIp: fc.constantFrom(
        'ff02::1:ff00:1',
        'ff02::1:ff00:2',
        'ff02::16',
        'ff02::1',
        'ff05::1',
        'ff02:1::1',
        'fd00::1',
      ),
      type: fc.constantFrom(131, 132, 135, 136, 143),
      rest: fc
        .tuple(ends.from.ip6, neighbourOptions(ends))
        .map(([target, options]) => concat(uint32(0), ip(target), options)),
      ttl: fc.constantFrom(255, 255, 1),
      extensions: fc.constantFrom<ExtensionHeader[]>(
        [],
        [],
        [{ protocol: 0, rest: Uint8Array.of(0, 5, 2, 0, 0, 1, 0) }],
      ),
    })
    .map((a) =>
      ethernet(
        { source: a.source, destination: '33:33:ff:00:00:01' },
        ipv6(
          { source: a.sourceIp, destination: a.destinationIp, ttl: a.ttl, extensions: a.extensions },
          icmp6(a.type, a.rest),
        ),
      ),
    );
}

/** A solicitation for the responder: to the target's group, or to the target itself. */
function neighbourQuestion(ends: Ends): fc.Arbitrary<Uint8Array> {
  return fc
    .record({
      source: ends.from.mac,
      sourceIp: ends.from.ip6,
      target: ends.to.ip6,
      toGroup: fc.oneof(
        { weight: 5, arbitrary: fc.constant(true) },
        { weight: 1, arbitrary: fc.constant(false) },
      ),
      destination: fc.oneof(
        { weight: 4, arbitrary: fc.constant('33:33:ff:00:00:02') },
        { weight: 1, arbitrary: ends.to.mac },
      ),
      ttl: fc.constantFrom(255, 255, 255, 255, 64),
      options: neighbourOptions(ends),
    })
    .map((n) => {
      const group = formatIp(concat(ip('ff02::1:ff00:0').subarray(0, 13), ip(n.target).subarray(13)));
      const message = icmp6(135, concat(uint32(0), ip(n.target), n.options));
      const header = { source: n.sourceIp, destination: n.toGroup ? group : n.target, ttl: n.ttl };
      return ethernet({ source: n.source, destination: n.destination }, ipv6(header, message));
    });
}

/** Protocols that the switch does not look into, and lengths in the type's place. */
const otherPayload: fc.Arbitrary<Payload> = fc
  .tuple(
    fc.constantFrom(
      0x88cc,
      0x8035,
      0x8847,
      0x88e7,
      0x9000,
      0x05ff,
      0x0600,
      0x0026,
      0x0000,
      0x8100,
      0x88a8,
      0x9100,
    ),
    bytes(0, 60),
  )
  .map(([type, content]) => raw(type, content));

/** IEEE 802.2 SNAP around a payload, and what nearly is. */
function snap(payload: Payload, header: readonly number[]): Payload {
  const content = concat(Uint8Array.from(header), uint16(payload.etherType), payload.bytes);
  return raw(content.length, content);
}

function encapsulated(ends: Ends, inner: fc.Arbitrary<Payload>): fc.Arbitrary<Uint8Array> {
  const snapHeader = fc.constantFrom(
    [0xaa, 0xaa, 3, 0, 0, 0],
    [0xaa, 0xaa, 3, 0, 0, 0],
    [0xaa, 0xaa, 3, 0, 0, 1],
    [0x42, 0x42, 3, 0, 0, 0],
  );
  const inSnap = fc.tuple(inner, snapHeader).map(([payload, header]) => snap(payload, header));
  const tagged = fc
    .tuple(inner, fc.constantFrom(0x8100, 0x88a8), fc.constantFrom(0, 5, 0xe005))
    .map(([payload, type, tag]) => raw(type, concat(uint16(tag), uint16(payload.etherType), payload.bytes)));
  return framed(ends, fc.oneof(inSnap, tagged));
}

type Damage = (frame: Uint8Array) => Uint8Array;

/** What a hostile or broken sender does to a good frame. */
const damage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 12, arbitrary: fc.constant<Damage>((frame) => frame) },
  {
    weight: 2,
    arbitrary: fc.integer({ min: 14, max: 120 }).map(
      (length): Damage =>
        (frame) =>
          frame.subarray(0, length),
    ),
  },
  {
    weight: 2,
    arbitrary: bytes(1, 40).map(
      (trailer): Damage =>
        (frame) =>
          concat(frame, trailer),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 250, max: 300 }).map(
      (length): Damage =>
        (frame) =>
          concat(frame, new Uint8Array(length)),
    ),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.oneof(fc.integer({ min: 12, max: 24 }), fc.integer({ min: 14, max: 90 })), fc.nat(255))
      .map(
        ([offset, value]): Damage =>
          (frame) =>
            frame.map((byte, index) => (index === offset ? value : byte)),
      ),
  },
);

/** BPF_PROG_TEST_RUN takes no frame without anything behind the Ethernet header, or with less than an IP header there. */
function isRunnable(frame: Uint8Array): boolean {
  const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
  const needed = type === 0x0800 ? 20 : type === 0x86dd ? 40 : 1;
  return frame.length >= 14 + needed;
}

function frameFrom(ends: Ends): fc.Arbitrary<Uint8Array> {
  const network = fc.oneof(ip4Payload(ends), ip6Payload(ends), arpPayload(ends));
  const good = fc.oneof(
    { weight: 4, arbitrary: framed(ends, ip4Payload(ends)) },
    { weight: 5, arbitrary: framed(ends, ip6Payload(ends)) },
    { weight: 2, arbitrary: framed(ends, arpPayload(ends)) },
    { weight: 3, arbitrary: arpQuestion(ends) },
    { weight: 3, arbitrary: neighbourQuestion(ends) },
    { weight: 1, arbitrary: dhcp(ends) },
    { weight: 2, arbitrary: autoconfiguration(ends) },
    { weight: 1, arbitrary: framed(ends, otherPayload) },
    { weight: 2, arbitrary: encapsulated(ends, network) },
  );
  return fc
    .tuple(good, damage)
    .map(([frame, harm]) => Uint8Array.from(harm(frame)))
    .filter(isRunnable);
}

/** Frames that the switch's ports send, mostly close to what port security and the switch decide about. */
export function frameArbitrary(description: SwitchDescription): fc.Arbitrary<Frame> {
  const count = description.ports.length;
  const any: Pool = {
    mac: fc.constantFrom(...oddMacs, ...Array.from({ length: count }, (_, index) => ownMac(index))),
    ip4: fc.constantFrom(...oddIp4),
    ip6: fc.constantFrom(...oddIp6),
  };
  const index = fc.nat(count - 1);
  return fc.tuple(index, index).chain(([sender, receiver]) => {
    const ends = {
      from: biased(poolOfPort(description, sender), any, 12),
      to: biased(poolOfPort(description, receiver), any, 8),
    };
    const port = description.ports[sender]?.name ?? '';
    return frameFrom(ends).map((frame) => ({ port, bytes: frame }));
  });
}
