import { concat, type Transport, udp, uint16, uint32 } from './packets.js';

export const genevePort = 6081;

export interface GeneveOptions {
  readonly vni: number;
  /** Port keys. */
  readonly from: number;
  readonly to: number;
  /** What follows is OVN's unless it is given. */
  readonly version?: number;
  readonly flags?: number;
  readonly protocol?: number;
  readonly optionClass?: number;
  readonly optionType?: number;
  /** All options, in place of OVN's. */
  readonly optionBytes?: Uint8Array;
  readonly destinationPort?: number;
  readonly sourcePort?: number;
}

/** A frame in OVN's Geneve (RFC 8926), as what stands behind an outer IP header. */
export function geneve(options: GeneveOptions, frame: Uint8Array): Transport {
  const { vni, from, to, version = 0, flags = 0x40, protocol = 0x6558 } = options;
  const ovnOption = concat(
    uint16(options.optionClass ?? 0x0102),
    Uint8Array.of(options.optionType ?? 0x80, 1),
    uint16(from),
    uint16(to),
  );
  const bytes = options.optionBytes ?? ovnOption;
  const start = Uint8Array.of((version << 6) | (bytes.length / 4), flags);
  const payload = concat(start, uint16(protocol), uint32(vni * 256), bytes, frame);
  const ports = { source: options.sourcePort ?? 40_000, destination: options.destinationPort ?? genevePort };
  return udp(ports, payload);
}

/** Where the frame begins that a tunnel packet over IPv4 with OVN's option carries. */
export const innerFrameOffset = 58;

/** The fields of a captured tunnel packet over IPv4 that do not depend on which way it goes, and the port keys. */
export function readTunnelFields(frame: Uint8Array) {
  const bytes = Buffer.from(frame);
  return {
    versionAndLength: bytes[14],
    tos: bytes[15],
    length: bytes.readUInt16BE(16),
    id: bytes.readUInt16BE(18),
    fragment: bytes.readUInt16BE(20),
    ttl: bytes[22],
    protocol: bytes[23],
    destinationPort: bytes.readUInt16BE(36),
    udpLength: bytes.readUInt16BE(38),
    geneve: bytes.subarray(42, 54).toString('hex'),
    from: bytes.readUInt16BE(54),
    to: bytes.readUInt16BE(56),
  };
}
