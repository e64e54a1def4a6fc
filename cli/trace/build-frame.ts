import { bigEndian } from './fields.js';
import type { Microflow } from './microflow.js';

type Values = Microflow['values'];

const etherTypes = { ip4: 0x0800, arp: 0x0806, vlan: 0x8100, ip6: 0x86dd } as const;
const protocols = { icmp4: 1, tcp: 6, udp: 17, icmp6: 58, sctp: 132 } as const;
const linkLayerOptions = { 'nd.sll': 1, 'nd.tll': 2 } as const;
const solicitedAndOverride = 0x60;
/** What is behind the header of a frame of which nothing is said. */
const emptyPayload = new Uint8Array(46);

/** The frame that a microflow determines; lengths and checksums are right, everything else that is not said is zero. */
export function buildFrame({ values }: Microflow): Uint8Array {
  const type = number(values, 'eth.type');
  const tag = ['vlan.vid', 'vlan.pcp'].some((name) => values.has(name))
    ? [
        bigEndian(etherTypes.vlan, 2),
        bigEndian((number(values, 'vlan.pcp') << 13) | number(values, 'vlan.vid'), 2),
      ]
    : [];
  return concat(
    bytes(values, 'eth.dst', 6),
    bytes(values, 'eth.src', 6),
    ...tag,
    bigEndian(type, 2),
    payload(values, type),
  );
}

function payload(values: Values, type: number): Uint8Array {
  if (type === etherTypes.arp) return arp(values);
  if (type === etherTypes.ip4) return ip4(values);
  if (type === etherTypes.ip6) return ip6(values);
  return emptyPayload;
}

function arp(values: Values): Uint8Array {
  return concat(
    Uint8Array.of(0, 1, 8, 0, 6, 4),
    bytes(values, 'arp.op', 2),
    bytes(values, 'arp.sha', 6),
    bytes(values, 'arp.spa', 4),
    bytes(values, 'arp.tha', 6),
    bytes(values, 'arp.tpa', 4),
  );
}

function ip4(values: Values): Uint8Array {
  const addresses = concat(bytes(values, 'ip4.src', 4), bytes(values, 'ip4.dst', 4));
  const protocol = number(values, 'ip.proto');
  const pseudo = (length: number): Uint8Array =>
    concat(addresses, Uint8Array.of(0, protocol), bigEndian(length, 2));
  const body = transport(values, protocol, pseudo);
  const header = concat(
    Uint8Array.of(0x45, trafficClass(values)),
    bigEndian(20 + body.length, 2),
    new Uint8Array(4),
    Uint8Array.of(number(values, 'ip.ttl'), protocol, 0, 0),
    addresses,
  );
  header.set(bigEndian(checksum(header), 2), 10);
  return concat(header, body);
}

function ip6(values: Values): Uint8Array {
  const addresses = concat(bytes(values, 'ip6.src', 16), bytes(values, 'ip6.dst', 16));
  const protocol = number(values, 'ip.proto');
  const pseudo = (length: number): Uint8Array =>
    concat(addresses, bigEndian(length, 4), Uint8Array.of(0, 0, 0, protocol));
  const body = transport(values, protocol, pseudo);
  const start = 6 * 2 ** 28 + trafficClass(values) * 2 ** 20 + number(values, 'ip6.label');
  const rest = Uint8Array.of(protocol, number(values, 'ip.ttl'));
  return concat(bigEndian(start, 4), bigEndian(body.length, 2), rest, addresses, body);
}

function trafficClass(values: Values): number {
  return (number(values, 'ip.dscp') << 2) | number(values, 'ip.ecn');
}

function transport(values: Values, protocol: number, pseudo: (length: number) => Uint8Array): Uint8Array {
  const ports = (name: string): Uint8Array =>
    concat(bytes(values, `${name}.src`, 2), bytes(values, `${name}.dst`, 2));
  switch (protocol) {
    case protocols.tcp: {
      const flags = bigEndian(0x5000 | number(values, 'tcp.flags'), 2);
      return withChecksum(concat(ports('tcp'), new Uint8Array(8), flags, new Uint8Array(6)), 16, pseudo);
    }
    case protocols.udp: {
      const datagram = withChecksum(concat(ports('udp'), bigEndian(8, 2), new Uint8Array(2)), 6, pseudo);
      /* 0 would say that there is no checksum (RFC 768). */
      if (datagram[6] === 0 && datagram[7] === 0) datagram.fill(0xff, 6, 8);
      return datagram;
    }
    case protocols.sctp:
      return concat(ports('sctp'), new Uint8Array(8));
    case protocols.icmp4:
      return withChecksum(
        concat(bytes(values, 'icmp4.type', 1), bytes(values, 'icmp4.code', 1), new Uint8Array(6)),
        2,
        () => new Uint8Array(0),
      );
    case protocols.icmp6:
      return withChecksum(icmp6(values), 2, pseudo);
    default:
      return new Uint8Array(0);
  }
}

function icmp6(values: Values): Uint8Array {
  const type = number(values, 'icmp6.type');
  const start = concat(Uint8Array.of(type), bytes(values, 'icmp6.code', 1), new Uint8Array(2));
  if (!values.has('nd.target') && !values.has('nd.sll') && !values.has('nd.tll'))
    return concat(start, new Uint8Array(type === 135 || type === 136 ? 20 : 4));
  const flags = Uint8Array.of(type === 136 ? solicitedAndOverride : 0, 0, 0, 0);
  const options = Object.entries(linkLayerOptions).map(([name, option]) => {
    const mac = values.get(name);
    return mac === undefined ? new Uint8Array(0) : concat(Uint8Array.of(option, 1), mac);
  });
  return concat(start, flags, bytes(values, 'nd.target', 16), ...options);
}

/** `segment` with its checksum (RFC 1071) at `offset`, where there are zeros. */
function withChecksum(
  segment: Uint8Array,
  offset: number,
  pseudo: (length: number) => Uint8Array,
): Uint8Array {
  const summed = Uint8Array.from(segment);
  summed.set(bigEndian(checksum(concat(pseudo(segment.length), segment)), 2), offset);
  return summed;
}

function checksum(content: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < content.length; i += 2) sum += ((content[i] ?? 0) << 8) | (content[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function bytes(values: Values, name: string, length: number): Uint8Array {
  return values.get(name) ?? new Uint8Array(length);
}

function number(values: Values, name: string): number {
  return (values.get(name) ?? new Uint8Array(0)).reduce((value, byte) => value * 256 + byte, 0);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}
