import fc from 'fast-check';

import { formatIp, macBytes } from '../../common/addresses.js';
import {
  broadcast,
  concat,
  dhcpDiscover,
  ethernet,
  type ExtensionHeader,
  icmp6,
  ip,
  ipv4,
  ipv6,
  mac,
  type Payload,
  raw,
  udp,
  uint16,
  uint32,
} from '../support/packets.js';
import { ownMac, type SwitchDescription } from './network.js';
import { arpPayload, bytes, ip4Payload, ip6Payload, neighbourOptions, otherPayload } from './payloads.js';
import { destinationMac, type Ends, endsOf, sourceMac } from './pools.js';

/** A frame that the VM behind a port sends. */
export interface Frame {
  readonly port: string;
  readonly bytes: Uint8Array;
}

function framed(ends: Ends, payload: fc.Arbitrary<Payload>): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(sourceMac(ends), destinationMac(ends), payload)
    .map(([source, destination, content]) => ethernet({ source, destination }, content));
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

/** IEEE 802.2 SNAP around a payload, and what nearly is. */
function snap(payload: Payload, header: readonly number[]): Payload {
  const content = concat(Uint8Array.from(header), uint16(payload.etherType), payload.bytes);
  return raw(content.length, content);
}

function behindTag(inside: Payload, { type, control }: { type: number; control: number }): Payload {
  return raw(type, concat(uint16(control), uint16(inside.etherType), inside.bytes));
}

function encapsulated(ends: Ends, inner: fc.Arbitrary<Payload>): fc.Arbitrary<Uint8Array> {
  const snapHeader = fc.constantFrom(
    [0xaa, 0xaa, 3, 0, 0, 0],
    [0xaa, 0xaa, 3, 0, 0, 0],
    [0xaa, 0xaa, 3, 0, 0, 1],
    [0x42, 0x42, 3, 0, 0, 0],
  );
  const inSnap = fc.tuple(inner, snapHeader).map(([payload, header]) => snap(payload, header));
  const tag = fc.record({ type: fc.constantFrom(0x8100, 0x88a8), control: fc.constantFrom(0, 5, 0xe005) });
  const tags = fc.array(tag, { minLength: 1, maxLength: 3 });
  const tagged = fc
    .tuple(fc.oneof(inner, inner, inSnap), tags)
    .map(([payload, outward]) => outward.reduce(behindTag, payload));
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
  const index = fc.nat(description.ports.length - 1);
  return fc.tuple(index, index).chain(([sender, receiver]) => {
    const ends = endsOf(description, sender, receiver);
    const port = description.ports[sender]?.name ?? '';
    return frameFrom(ends).map((frame) => ({ port, bytes: frame }));
  });
}
