import fc from 'fast-check';

import { macBytes } from '../../common/addresses.js';
import {
  concat,
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
import type { Ends } from './pools.js';

export const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });

export function arpPayload({ from, to }: Ends): fc.Arbitrary<Payload> {
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

export function ip4Payload({ from, to }: Ends): fc.Arbitrary<Payload> {
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

/** Source and target link-layer options, right, repeated, of odd lengths and types. */
export function neighbourOptions({ from }: Ends): fc.Arbitrary<Uint8Array> {
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

export function ip6Payload(ends: Ends): fc.Arbitrary<Payload> {
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

/** Protocols that the switch does not look into, and lengths in the type's place. */
export const otherPayload: fc.Arbitrary<Payload> = fc
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
