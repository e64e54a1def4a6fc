import type { TunnelType } from '../tunnels/tunnel-endpoints.js';

/** What a tunnel packet says beside the frame in it: what the kernel's tunnel devices give to programs, and take from them. */
export interface TunnelMetadata {
  /** 24 bits */
  readonly vni: number;
  /** Outer addresses, 4 or 16 bytes each. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** Geneve's (RFC 8926 3.5), whole 32-bit words. */
  readonly options: Uint8Array;
}

/** A tunnel packet taken apart. */
export interface TunnelPacket {
  readonly type: TunnelType;
  readonly metadata: TunnelMetadata;
  readonly frame: Uint8Array;
}

const ports: Readonly<Record<TunnelType, number>> = { geneve: 6081, vxlan: 4789 };
const etherTypes = { ip4: 0x0800, ip6: 0x86dd } as const;
const lengths = { ethernet: 14, ip4: 20, ip6: 40, udp: 8, header: 8 } as const;
const udpProtocol = 17;
const timeToLive = 64;
const bridgedEthernet = 0x6558;
const vxlanHasVni = 0x08;
const geneve = { critical: 0x40, criticalOption: 0x80, optionsLengthMask: 0x3f } as const;

function isIp6({ source }: TunnelMetadata): boolean {
  return source.length === 16;
}

/** The internet checksum (RFC 1071) of a whole number of 16-bit words. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function outerIp4({ source, destination }: TunnelMetadata, length: number): Buffer {
  const header = Buffer.alloc(lengths.ip4);
  header.writeUInt8(0x45, 0);
  header.writeUInt16BE(lengths.ip4 + length, 2);
  header.writeUInt16BE(0x4000, 6);
  header.writeUInt8(timeToLive, 8);
  header.writeUInt8(udpProtocol, 9);
  header.set(source, 12);
  header.set(destination, 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function outerIp6({ source, destination }: TunnelMetadata, length: number): Buffer {
  const header = Buffer.alloc(lengths.ip6);
  header.writeUInt8(0x60, 0);
  header.writeUInt16BE(length, 4);
  header.writeUInt8(udpProtocol, 6);
  header.writeUInt8(timeToLive, 7);
  header.set(source, 8);
  header.set(destination, 24);
  return header;
}

function tunnelHeader(type: TunnelType, { vni, options }: TunnelMetadata): Buffer {
  const header = Buffer.alloc(lengths.header);
  if (type === 'vxlan') header.writeUInt8(vxlanHasVni, 0);
  else {
    header.writeUInt8(options.length / 4, 0);
    header.writeUInt8((options[2] ?? 0) & geneve.criticalOption ? geneve.critical : 0, 1);
    header.writeUInt16BE(bridgedEthernet, 2);
  }
  header.writeUIntBE(vni, 4, 3);
  return Buffer.concat([header, options]);
}

/**
 * The packet that a tunnel device makes of a frame. What the kernel chooses in its own way is zero: outer MACs, the source
 * port, the outer UDP checksum.
 */
export function makeTunnelPacket({ type, metadata, frame }: TunnelPacket): Uint8Array {
  const header = tunnelHeader(type, metadata);
  const udp = Buffer.alloc(lengths.udp);
  const length = udp.length + header.length + frame.length;
  udp.writeUInt16BE(ports[type], 2);
  udp.writeUInt16BE(length, 4);
  const ethernet = Buffer.alloc(lengths.ethernet);
  ethernet.writeUInt16BE(isIp6(metadata) ? etherTypes.ip6 : etherTypes.ip4, 12);
  const outer = isIp6(metadata) ? outerIp6(metadata, length) : outerIp4(metadata, length);
  return Uint8Array.from(Buffer.concat([ethernet, outer, udp, header, frame]));
}

interface Outer {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** From the UDP header on. */
  readonly datagram: Buffer;
}

function readOuter(packet: Buffer): Outer | undefined {
  const type = packet.readUInt16BE(12);
  const ip = packet.subarray(lengths.ethernet);
  if (type === etherTypes.ip4 && ip.length >= lengths.ip4 && ip.readUInt8(9) === udpProtocol) {
    const datagram = ip.subarray((ip.readUInt8(0) & 0xf) * 4);
    return { source: ip.subarray(12, 16), destination: ip.subarray(16, 20), datagram };
  }
  if (type !== etherTypes.ip6 || ip.length < lengths.ip6 || ip.readUInt8(6) !== udpProtocol) return undefined;
  const datagram = ip.subarray(lengths.ip6);
  return { source: ip.subarray(8, 24), destination: ip.subarray(24, 40), datagram };
}

/** What a tunnel device reads in a packet; undefined for what is no tunnel packet with an Ethernet frame in it. */
export function takeApart(bytes: Uint8Array): TunnelPacket | undefined {
  const packet = Buffer.from(bytes);
  const outer = packet.length < lengths.ethernet ? undefined : readOuter(packet);
  const before = lengths.udp + lengths.header;
  if (outer === undefined || outer.datagram.length < before) return undefined;
  const { datagram } = outer;
  const port = datagram.readUInt16BE(2);
  const header = datagram.subarray(lengths.udp);
  const optionsLength = port === ports.geneve ? (header.readUInt8(0) & geneve.optionsLengthMask) * 4 : 0;
  const isVxlan = port === ports.vxlan && (header.readUInt8(0) & vxlanHasVni) !== 0;
  const isGeneve = port === ports.geneve && header.readUInt16BE(2) === bridgedEthernet;
  const frame = datagram.subarray(before + optionsLength);
  if (!(isVxlan || isGeneve) || frame.length < lengths.ethernet) return undefined;
  const metadata = {
    vni: header.readUIntBE(4, 3),
    source: Uint8Array.from(outer.source),
    destination: Uint8Array.from(outer.destination),
    options: Uint8Array.from(datagram.subarray(before, before + optionsLength)),
  };
  return { type: isVxlan ? 'vxlan' : 'geneve', metadata, frame: Uint8Array.from(frame) };
}
