import { type Mac, macBytes, parseIp, parseMac } from '../../common/addresses.js';

/** Builders of frames, from the outside in: `ethernet({...}, ipv4({...}, udp({...}, payload)))`. Checksums are right. */

export const etherTypes = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;
const protocols = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const;

export interface EthernetOptions {
  readonly source: string;
  readonly destination: string;
  /** That of the payload when absent. */
  readonly etherType?: number;
  readonly vlan?: number;
}

/** What stands behind an Ethernet header. */
export interface Payload {
  readonly etherType: number;
  readonly bytes: Uint8Array;
}

/** What stands behind an IP header: the checksum depends on the addresses. */
export interface Transport {
  readonly protocol: number;
  bytes(pseudoHeader: Uint8Array): Uint8Array;
}

export const broadcast = 'ff:ff:ff:ff:ff:ff';

export function mac(text: string): Mac {
  const parsed = parseMac(text);
  if (parsed === undefined) throw new RangeError(`not a MAC: ${text}`);
  return parsed;
}

/** 4 or 16 bytes. */
export function ip(text: string): Uint8Array {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new RangeError(`not an IP address: ${text}`);
  return parsed;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

/** A big-endian number of 2 bytes. */
export function uint16(value: number): Uint8Array {
  return Uint8Array.of((value >> 8) & 0xff, value & 0xff);
}

export function uint32(value: number): Uint8Array {
  return concat(uint16(Math.floor(value / 0x10000)), uint16(value & 0xffff));
}

export function raw(etherType: number, bytes: Uint8Array): Payload {
  return { etherType, bytes };
}

export function ethernet(options: EthernetOptions, payload: Payload): Uint8Array {
  const tag = options.vlan === undefined ? [] : [uint16(etherTypes.vlan), uint16(options.vlan)];
  const type = uint16(options.etherType ?? payload.etherType);
  return concat(
    macBytes(mac(options.destination)),
    macBytes(mac(options.source)),
    ...tag,
    type,
    payload.bytes,
  );
}

export interface ArpOptions {
  readonly operation: 'request' | 'reply';
  readonly senderMac: string;
  readonly senderIp: string;
  readonly targetMac?: string;
  readonly targetIp: string;
}

export function arp(options: ArpOptions): Payload {
  const operation = options.operation === 'request' ? 1 : 2;
  const target = macBytes(mac(options.targetMac ?? '00:00:00:00:00:00'));
  const fixed = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, operation);
  const sender = [macBytes(mac(options.senderMac)), ip(options.senderIp)];
  return raw(etherTypes.arp, concat(fixed, ...sender, target, ip(options.targetIp)));
}

export interface IpOptions {
  readonly source: string;
  readonly destination: string;
  readonly ttl?: number;
}

export interface Ipv4Options extends IpOptions {
  /** Whole 32-bit words. */
  readonly options?: Uint8Array;
  /** In units of 8 bytes. */
  readonly fragmentOffset?: number;
  readonly moreFragments?: boolean;
}

export function ipv4(options: Ipv4Options, transport: Transport): Payload {
  const [source, destination] = [ip(options.source), ip(options.destination)];
  const pseudo = (length: number): Uint8Array =>
    concat(source, destination, Uint8Array.of(0, transport.protocol), uint16(length));
  const body = withLength(transport, pseudo);
  const extra = options.options ?? new Uint8Array(0);
  const headerLength = 20 + extra.length;
  const fragment = (options.moreFragments === true ? 0x2000 : 0) | (options.fragmentOffset ?? 0);
  const header = concat(
    Uint8Array.of(0x40 | (headerLength / 4), 0),
    uint16(headerLength + body.length),
    uint16(0),
    uint16(fragment),
    Uint8Array.of(options.ttl ?? 64, transport.protocol, 0, 0),
    source,
    destination,
    extra,
  );
  header.set(uint16(checksum(header)), 10);
  return raw(etherTypes.ipv4, concat(header, body));
}

export interface ExtensionHeader {
  /** Its own number: 0 hop-by-hop, 60 destination options, 43 routing, 44 fragment. */
  readonly protocol: number;
  /** Without the first byte, which says what follows. */
  readonly rest: Uint8Array;
}

export interface Ipv6Options extends IpOptions {
  readonly extensions?: readonly ExtensionHeader[];
}

export function ipv6(options: Ipv6Options, transport: Transport): Payload {
  const [source, destination] = [ip(options.source), ip(options.destination)];
  const pseudo = (length: number): Uint8Array =>
    concat(source, destination, uint32(length), Uint8Array.of(0, 0, 0, transport.protocol));
  const extensions = options.extensions ?? [];
  const following = [...extensions.slice(1).map(({ protocol }) => protocol), transport.protocol];
  const headers = extensions.map(({ rest }, index) => concat(Uint8Array.of(following[index] ?? 59), rest));
  const body = concat(...headers, withLength(transport, pseudo));
  const next = extensions[0]?.protocol ?? transport.protocol;
  const fixed = Uint8Array.of(next, options.ttl ?? 255);
  return raw(
    etherTypes.ipv6,
    concat(uint32(0x60000000), uint16(body.length), fixed, source, destination, body),
  );
}

/** Anything behind an IP header, as it is. */
export function rawTransport(protocol: number, bytes: Uint8Array): Transport {
  return { protocol, bytes: () => bytes };
}

export interface PortOptions {
  readonly source: number;
  readonly destination: number;
}

export function udp(
  { source, destination }: PortOptions,
  payload: Uint8Array = new Uint8Array(0),
): Transport {
  const header = concat(uint16(source), uint16(destination), uint16(8 + payload.length), uint16(0));
  return withChecksum(protocols.udp, concat(header, payload), 6);
}

export function tcp(
  { source, destination }: PortOptions,
  payload: Uint8Array = new Uint8Array(0),
): Transport {
  const header = concat(uint16(source), uint16(destination), uint32(1), uint32(0), Uint8Array.of(0x50, 0x02));
  const rest = concat(uint16(65535), uint16(0), uint16(0));
  return withChecksum(protocols.tcp, concat(header, rest, payload), 16);
}

/** An echo request. */
export function icmp(payload: Uint8Array = new Uint8Array(0)): Transport {
  const bytes = concat(Uint8Array.of(8, 0), uint16(0), uint16(1), uint16(1), payload);
  bytes.set(uint16(checksum(bytes)), 2);
  return rawTransport(protocols.icmp, bytes);
}

/** Any ICMPv6 message; `rest` is what stands behind the checksum. */
export function icmp6(type: number, rest: Uint8Array): Transport {
  return withChecksum(protocols.icmp6, concat(Uint8Array.of(type, 0), uint16(0), rest), 2);
}

export interface NeighbourOptions {
  readonly target: string;
  /** The source (solicitation) or target (advertisement) link-layer address option. */
  readonly linkLayerAddress?: string;
}

export function neighbourSolicitation({ target, linkLayerAddress }: NeighbourOptions): Transport {
  return icmp6(135, concat(uint32(0), ip(target), linkLayerOption(1, linkLayerAddress)));
}

export function neighbourAdvertisement({ target, linkLayerAddress }: NeighbourOptions): Transport {
  return icmp6(136, concat(uint32(0x60000000), ip(target), linkLayerOption(2, linkLayerAddress)));
}

/** What a DHCP client sends first, as the payload of `udp({ source: 68, destination: 67 }, …)` (RFC 2131). */
export function dhcpDiscover(clientMac: string): Uint8Array {
  const bytes = new Uint8Array(244);
  bytes.set([1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78]);
  bytes.set(macBytes(mac(clientMac)), 28);
  bytes.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 236);
  return bytes;
}

/** The Internet checksum (RFC 1071) of bytes whose own checksum field is zero. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

function linkLayerOption(type: number, address: string | undefined): Uint8Array {
  if (address === undefined) return new Uint8Array(0);
  return concat(Uint8Array.of(type, 1), macBytes(mac(address)));
}

/** The pseudo header has the length of the transport part in it, which does not depend on the checksum. */
function withLength(transport: Transport, pseudo: (length: number) => Uint8Array): Uint8Array {
  return transport.bytes(pseudo(transport.bytes(new Uint8Array(0)).length));
}

function withChecksum(protocol: number, segment: Uint8Array, offset: number): Transport {
  return {
    protocol,
    bytes: (pseudoHeader) => {
      const bytes = Uint8Array.from(segment);
      const sum = checksum(concat(pseudoHeader, segment));
      /* 0 would mean "no checksum" (RFC 768). */
      bytes.set(uint16(sum === 0 && protocol === protocols.udp ? 0xffff : sum), offset);
      return bytes;
    },
  };
}

export interface VlanTag {
  /** Of the tag; that of 802.1Q by default. */
  readonly etherType?: number;
  /** Priority, drop eligibility and VLAN id. */
  readonly tci: number;
}

/** An untagged frame with tags put in, the outermost first. */
export function tagged(frame: Uint8Array, ...tags: readonly VlanTag[]): Uint8Array {
  const bytes = tags.map(({ etherType = etherTypes.vlan, tci }) => concat(uint16(etherType), uint16(tci)));
  return concat(frame.subarray(0, 12), ...bytes, frame.subarray(12));
}
