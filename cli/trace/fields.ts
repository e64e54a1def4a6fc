import { macBytes, parseIp, parseMac } from '../../common/addresses.js';

export type FieldKind = 'mac' | 'ip4' | 'ip6' | 'number';

/** What else is true of a packet that has the field: `field == value`. */
export type Implication = readonly [field: string, value: string];

/** A field of ovn-sb(5) Logical_Flow.match. Values are bytes in network order, as wide as the field. */
export interface Field {
  readonly kind: FieldKind;
  readonly bits: number;
  readonly implies: readonly Implication[];
}

const ip4: readonly Implication[] = [['eth.type', '0x800']];
const ip6: readonly Implication[] = [['eth.type', '0x86dd']];
const arp: readonly Implication[] = [['eth.type', '0x806']];
const icmp4: readonly Implication[] = [...ip4, ['ip.proto', '1']];
const icmp6: readonly Implication[] = [...ip6, ['ip.proto', '58']];
const tcp: readonly Implication[] = [['ip.proto', '6']];
const udp: readonly Implication[] = [['ip.proto', '17']];
const sctp: readonly Implication[] = [['ip.proto', '132']];
const nd: readonly Implication[] = [...icmp6, ['icmp6.code', '0'], ['ip.ttl', '255']];
const ndSolicitation: readonly Implication[] = [...nd, ['icmp6.type', '135']];
const ndAdvertisement: readonly Implication[] = [...nd, ['icmp6.type', '136']];

function number(bits: number, implies: readonly Implication[] = []): Field {
  return { kind: 'number', bits, implies };
}

function address(kind: Exclude<FieldKind, 'number'>, implies: readonly Implication[] = []): Field {
  return { kind, bits: { mac: 48, ip4: 32, ip6: 128 }[kind], implies };
}

/** By name. `inport` is not among them: it says where the packet enters, not what is in it. */
export const fields: ReadonlyMap<string, Field> = new Map([
  ['eth.src', address('mac')],
  ['eth.dst', address('mac')],
  ['eth.type', number(16)],
  ['vlan.vid', number(12)],
  ['vlan.pcp', number(3)],
  ['ip.proto', number(8)],
  ['ip.ttl', number(8)],
  ['ip.dscp', number(6)],
  ['ip.ecn', number(2)],
  ['ip4.src', address('ip4', ip4)],
  ['ip4.dst', address('ip4', ip4)],
  ['ip6.src', address('ip6', ip6)],
  ['ip6.dst', address('ip6', ip6)],
  ['ip6.label', number(20, ip6)],
  ['tcp.src', number(16, tcp)],
  ['tcp.dst', number(16, tcp)],
  ['tcp.flags', number(12, tcp)],
  ['udp.src', number(16, udp)],
  ['udp.dst', number(16, udp)],
  ['sctp.src', number(16, sctp)],
  ['sctp.dst', number(16, sctp)],
  ['icmp4.type', number(8, icmp4)],
  ['icmp4.code', number(8, icmp4)],
  ['icmp6.type', number(8, icmp6)],
  ['icmp6.code', number(8, icmp6)],
  ['arp.op', number(16, arp)],
  ['arp.spa', address('ip4', arp)],
  ['arp.tpa', address('ip4', arp)],
  ['arp.sha', address('mac', arp)],
  ['arp.tha', address('mac', arp)],
  ['nd.target', address('ip6', nd)],
  ['nd.sll', address('mac', ndSolicitation)],
  ['nd.tll', address('mac', ndAdvertisement)],
]);

/** Predicates of ovn-sb(5) that say one thing. */
export const predicates: ReadonlyMap<string, readonly Implication[]> = new Map([
  ['eth.bcast', [['eth.dst', 'ff:ff:ff:ff:ff:ff']]],
  ['vlan.present', [['vlan.vid', '0']]],
  ['ip', []],
  ['ip4', ip4],
  ['ip6', ip6],
  ['icmp4', icmp4],
  ['icmp6', icmp6],
  ['tcp', tcp],
  ['udp', udp],
  ['sctp', sctp],
  ['arp', arp],
  ['nd', nd],
  ['nd_ns', ndSolicitation],
  ['nd_na', ndAdvertisement],
]);

/** The constant in bytes of the field; undefined when it is none that the field can have. */
export function parseConstant({ kind, bits }: Field, text: string): Uint8Array | undefined {
  if (kind === 'mac') {
    const mac = parseMac(text);
    return mac && macBytes(mac);
  }
  if (kind === 'number') {
    if (!/^(0[xX][0-9a-fA-F]+|\d+)$/.test(text)) return undefined;
    const value = Number(text);
    return value < 2 ** bits ? bigEndian(value, Math.ceil(bits / 8)) : undefined;
  }
  const bytes = parseIp(text);
  return bytes?.length === bits / 8 ? bytes : undefined;
}

/** The constant as an operator would write it, for messages: "0x806", "10.0.0.1". */
export const kindNames: Readonly<Record<FieldKind, string>> = {
  mac: 'a MAC address',
  ip4: 'an IPv4 address',
  ip6: 'an IPv6 address',
  number: 'a number',
};

/** The lowest `length` bytes of a number. */
export function bigEndian(value: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => Math.floor(value / 256 ** (length - 1 - index)) % 256);
}
