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
