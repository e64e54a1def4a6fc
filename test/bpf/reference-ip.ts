import { type Flow, hex, uint16, zeroMac } from './reference.js';

const extension = { hopByHop: 0, routing: 43, fragment: 44, authentication: 51, destination: 60 } as const;

/** The fields of an IPv4 packet; none when its header can't be right. */
export function ipv4(payload: Uint8Array): Partial<Flow> {
  const headerLength = ((payload[0] ?? 0) & 15) * 4;
  const totalLength = uint16(payload, 2);
  if (payload.length < 20 || headerLength < 20 || headerLength > payload.length) return {};
  if (totalLength > payload.length || headerLength > totalLength) return {};
  const addresses = { ipSource: hex(payload.subarray(12, 16)), ipDestination: hex(payload.subarray(16, 20)) };
  const protocol = payload[9] ?? 0;
  const base = { ...addresses, protocol, hopLimit: payload[8] ?? 0 };
  const isFragment = (uint16(payload, 6) & 0x3fff) !== 0;
  const segment = payload.subarray(headerLength, totalLength);
  if (isFragment || protocol !== 17 || segment.length < 8) return base;
  return { ...base, sourcePort: uint16(segment, 0), destinationPort: uint16(segment, 2) };
}

interface Upper {
  readonly protocol: number;
  readonly segment: Uint8Array;
  readonly isFragment: boolean;
}

/** Behind the extension headers; undefined where one is cut off. */
function upperLayer(next: number, body: Uint8Array): Upper | undefined {
  let protocol = next;
  let segment = body;
  let isFragment = false;
  for (;;) {
    const isOptions =
      protocol === extension.hopByHop || protocol === extension.routing || protocol === extension.destination;
    if (!isOptions && protocol !== extension.authentication && protocol !== extension.fragment)
      return { protocol, segment, isFragment };
    if (segment.length < 8) return undefined;
    let length = 8;
    if (isOptions) length = ((segment[1] ?? 0) + 1) * 8;
    if (protocol === extension.authentication) length = ((segment[1] ?? 0) + 2) * 4;
    if (protocol === extension.fragment) {
      const offsetAndFlags = uint16(segment, 2);
      if (offsetAndFlags !== 0) isFragment = true;
      if ((offsetAndFlags & 0xfff8) !== 0) return { protocol, segment, isFragment };
    }
    if (segment.length < length) return undefined;
    protocol = segment[0] ?? 0;
    segment = segment.subarray(length);
  }
}

/** The link-layer addresses of the options; undefined when one is given twice. */
function targetMacOf(options: Uint8Array): string | undefined {
  const found = { 1: zeroMac, 2: zeroMac };
  let rest = options;
  while (rest.length >= 8) {
    const type = rest[0] ?? 0;
    const length = (rest[1] ?? 0) * 8;
    if (length === 0 || length > rest.length) break;
    if (length === 8 && (type === 1 || type === 2)) {
      if (found[type] !== zeroMac) return undefined;
      found[type] = hex(rest.subarray(2, 8));
    }
    rest = rest.subarray(length);
  }
  return found[2];
}

function icmp6(segment: Uint8Array): Partial<Flow> {
  if (segment.length < 8) return {};
  const base = { icmpType: segment[0] ?? 0, icmpCode: segment[1] ?? 0 };
  if (base.icmpCode !== 0 || (base.icmpType !== 135 && base.icmpType !== 136) || segment.length < 24)
    return base;
  const ndTargetMac = targetMacOf(segment.subarray(24));
  return ndTargetMac === undefined ? base : { ...base, ndTarget: hex(segment.subarray(8, 24)), ndTargetMac };
}

/** The fields of an IPv6 packet; none when its header can't be right. */
export function ipv6(payload: Uint8Array): Partial<Flow> {
  const length = uint16(payload, 4);
  if (payload.length < 40 || 40 + length > payload.length) return {};
  const addresses = { ipSource: hex(payload.subarray(8, 24)), ipDestination: hex(payload.subarray(24, 40)) };
  const upper = upperLayer(payload[6] ?? 0, payload.subarray(40, 40 + length));
  if (upper === undefined) return addresses;
  const base = { ...addresses, protocol: upper.protocol, hopLimit: payload[7] ?? 0 };
  return upper.protocol === 58 && !upper.isFragment ? { ...base, ...icmp6(upper.segment) } : base;
}
