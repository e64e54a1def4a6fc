import { bigEndian } from './fields.js';
import { fragment, type Microflow } from './microflow.js';

type Values = Microflow['values'];

const etherTypes = { ip4: 0x0800, arp: 0x0806, rarp: 0x8035, vlan: 0x8100, ip6: 0x86dd } as const;
const protocols = { icmp4: 1, igmp: 2, tcp: 6, udp: 17, fragment: 44, icmp6: 58, sctp: 132 } as const;
const linkLayerOptions = { 'nd.sll': 1, 'nd.tll': 2 } as const;
const solicitedAndOverride = 0x60;
/** In vlan.tci, where OVN notes that there is a tag; in a frame it is the drop eligible indicator, which OVN has no name for. */
const tagPresent = 0x1000;
/** What is behind the header of a frame of which nothing is said. */
const emptyPayload = new Uint8Array(46);
/** What is behind the first 4 bytes of ICMPv6 messages, by type (RFC 4443, 4861, 2710, 3810). */
const icmp6Lengths: Readonly<Record<number, number>> = {
  130: 20,
  131: 20,
  132: 20,
  133: 4,
  134: 12,
  135: 20,
  136: 20,
};
/** Of fragments offsets count, in bytes. */
const fragmentUnit = 8;
const moreFragments = 0x2000;

/** The frame that a microflow determines; lengths and checksums are right, everything else that is not said is zero. */
export function buildFrame({ values }: Microflow): Uint8Array {
  const type = number(values, 'eth.type');
  const tci = number(values, 'vlan.tci');
  const tag = tci === 0 ? [] : [bigEndian(etherTypes.vlan, 2), bigEndian(tci & ~tagPresent, 2)];
  return concat(
    bytes(values, 'eth.dst', 6),
    bytes(values, 'eth.src', 6),
    ...tag,
    bigEndian(type, 2),
    payload(values, type),
  );
}

function payload(values: Values, type: number): Uint8Array {
  if (type === etherTypes.arp) return arp(values, 'arp');
  if (type === etherTypes.rarp) return arp(values, 'rarp');
  if (type === etherTypes.ip4) return ip4(values);
  if (type === etherTypes.ip6) return ip6(values);
  return emptyPayload;
}

function arp(values: Values, protocol: 'arp' | 'rarp'): Uint8Array {
  return concat(
    Uint8Array.of(0, 1, 8, 0, 6, 4),
    bytes(values, `${protocol}.op`, 2),
    bytes(values, `${protocol}.sha`, 6),
    bytes(values, `${protocol}.spa`, 4),
    bytes(values, `${protocol}.tha`, 6),
    bytes(values, `${protocol}.tpa`, 4),
  );
}

/** What the IP packet holds of a datagram; of a fragment as little as can be. Its checksum is that of what is there. */
function pieceOf(values: Values, datagram: () => Uint8Array): Uint8Array {
  const kind = BigInt(number(values, 'ip.frag'));
  if ((kind & fragment.later) !== 0n) return new Uint8Array(fragmentUnit);
  const whole = datagram();
  const missing = (kind & fragment.any) === 0n ? 0 : -whole.length & (fragmentUnit - 1);
  return concat(whole, new Uint8Array(missing));
}

/** Which fragment it is, in units of 8 bytes, and whether there are more. */
function fragmentOf(values: Values): { readonly offset: number; readonly more: boolean } | undefined {
  const kind = BigInt(number(values, 'ip.frag'));
  if ((kind & fragment.any) === 0n) return undefined;
  const isLater = (kind & fragment.later) !== 0n;
  return { offset: isLater ? 1 : 0, more: !isLater };
}

function ip4(values: Values): Uint8Array {
  const addresses = concat(bytes(values, 'ip4.src', 4), bytes(values, 'ip4.dst', 4));
  const protocol = number(values, 'ip.proto');
  const pseudo = (length: number): Uint8Array =>
    concat(addresses, Uint8Array.of(0, protocol), bigEndian(length, 2));
  const body = pieceOf(values, () => transport(values, protocol, pseudo));
  const { offset = 0, more = false } = fragmentOf(values) ?? {};
  const header = concat(
    Uint8Array.of(0x45, trafficClass(values)),
    bigEndian(20 + body.length, 2),
    new Uint8Array(2),
    bigEndian((more ? moreFragments : 0) | offset, 2),
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
  const piece = pieceOf(values, () => transport(values, protocol, pseudo));
  const place = fragmentOf(values);
  const extension =
    place &&
    concat(
      Uint8Array.of(protocol, 0),
      bigEndian((place.offset << 3) | Number(place.more), 2),
      new Uint8Array(4),
    );
  const body = concat(extension ?? new Uint8Array(0), piece);
  const start = 6 * 2 ** 28 + trafficClass(values) * 2 ** 20 + number(values, 'ip6.label');
  const next = extension === undefined ? protocol : protocols.fragment;
  const rest = Uint8Array.of(next, number(values, 'ip.ttl'));
  return concat(bigEndian(start, 4), bigEndian(body.length, 2), rest, addresses, body);
}

function trafficClass(values: Values): number {
  return (number(values, 'ip.dscp') << 2) | number(values, 'ip.ecn');
}

function transport(values: Values, protocol: number, pseudo: (length: number) => Uint8Array): Uint8Array {
  const ports = (name: string): Uint8Array =>
    concat(bytes(values, `${name}.src`, 2), bytes(values, `${name}.dst`, 2));
  const unsummed = (): Uint8Array => new Uint8Array(0);
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
    case protocols.icmp4: {
      const start = concat(bytes(values, 'icmp4.type', 1), bytes(values, 'icmp4.code', 1));
      return withChecksum(concat(start, new Uint8Array(6)), 2, unsummed);
    }
    case protocols.igmp:
      return withChecksum(new Uint8Array(8), 2, unsummed);
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
    return concat(start, new Uint8Array(icmp6Lengths[type] ?? 4));
  const flags = Uint8Array.of(type === 136 ? solicitedAndOverride : 0, 0, 0, 0);
  const options = Object.entries(linkLayerOptions).map(([name, option]) =>
    values.has(name) ? concat(Uint8Array.of(option, 1), bytes(values, name, 6)) : new Uint8Array(0),
  );
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
  return bigEndian(values.get(name) ?? 0n, length);
}

/** Of fields of at most 32 bits. */
function number(values: Values, name: string): number {
  return Number(values.get(name) ?? 0n);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}
