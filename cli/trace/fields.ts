import { formatIp, macBytes, macFromBytes, parseIp, parseMac } from '../../common/addresses.js';

export type FieldKind = 'mac' | 'ip4' | 'ip6' | 'number';

/** A symbol of ovn-sb(5) Logical_Flow.match that is in a packet: a header field, or some bits of one. */
export interface Field {
  /** The header field that it is part of; its own name when it is one. */
  readonly base: string;
  /** Of its lowest bit in the header field, in bits. */
  readonly offset: number;
  readonly bits: number;
  /** How people write it. */
  readonly kind: FieldKind;
  /** Its bits say nothing one by one. */
  readonly isNominal: boolean;
  /** What else is true of a packet that has it, as an expression; '' = nothing. */
  readonly needs: string;
}

type Entry = readonly [name: string, field: Field];

const kindBits = { mac: 48, ip4: 32, ip6: 128 } as const;

function number(name: string, bits: number, needs = '', isNominal = false): Entry {
  return [name, { base: name, offset: 0, bits, kind: 'number', isNominal, needs }];
}

function address(name: string, kind: Exclude<FieldKind, 'number'>, needs = ''): Entry {
  return [name, { base: name, offset: 0, bits: kindBits[kind], kind, isNominal: false, needs }];
}

function part(name: string, base: string, offset: number, bits: number, needs = ''): Entry {
  return [name, { base, offset, bits, kind: 'number', isNominal: false, needs }];
}

function ports(protocol: string): readonly Entry[] {
  return ['src', 'dst'].map((end) => number(`${protocol}.${end}`, 16, protocol));
}

/** RARP has ARP's layout. */
function arpFields(protocol: 'arp' | 'rarp'): readonly Entry[] {
  return [
    number(`${protocol}.op`, 16, protocol),
    ...['spa', 'tpa'].map((name) => address(`${protocol}.${name}`, 'ip4', protocol)),
    ...['sha', 'tha'].map((name) => address(`${protocol}.${name}`, 'mac', protocol)),
  ];
}

/** By name. `inport` is not among them: it says where the packet enters, not what is in it. */
export const fields: ReadonlyMap<string, Field> = new Map([
  address('eth.src', 'mac'),
  address('eth.dst', 'mac'),
  part('eth.mcast', 'eth.dst', 40, 1),
  number('eth.type', 16, '', true),
  number('vlan.tci', 16),
  part('vlan.present', 'vlan.tci', 12, 1),
  part('vlan.vid', 'vlan.tci', 0, 12, 'vlan.present'),
  part('vlan.pcp', 'vlan.tci', 13, 3, 'vlan.present'),
  number('ip.proto', 8, 'ip', true),
  number('ip.ttl', 8, 'ip'),
  number('ip.dscp', 6, 'ip'),
  number('ip.ecn', 2, 'ip'),
  number('ip.frag', 2, 'ip'),
  address('ip4.src', 'ip4', 'ip4'),
  address('ip4.dst', 'ip4', 'ip4'),
  address('ip6.src', 'ip6', 'ip6'),
  address('ip6.dst', 'ip6', 'ip6'),
  number('ip6.label', 20, 'ip6'),
  ...ports('tcp'),
  number('tcp.flags', 12, 'tcp'),
  ...ports('udp'),
  ...ports('sctp'),
  number('icmp4.type', 8, 'icmp4'),
  number('icmp4.code', 8, 'icmp4'),
  number('icmp6.type', 8, 'icmp6', true),
  number('icmp6.code', 8, 'icmp6', true),
  ...arpFields('arp'),
  ...arpFields('rarp'),
  address('nd.target', 'ip6', 'nd'),
  address('nd.sll', 'mac', 'nd_ns'),
  address('nd.tll', 'mac', 'nd_na'),
]);

function discovery(type: number): string {
  return `icmp6.type == ${type} && icmp6.code == 0 && ip.ttl == 255`;
}

/** What each of OVN's predicates stands for. */
export const predicates: ReadonlyMap<string, string> = new Map([
  ['eth.bcast', 'eth.dst == ff:ff:ff:ff:ff:ff'],
  ['eth.mcastv6', 'eth.dst[32..47] == 0x3333'],
  ['ip4', 'eth.type == 0x800'],
  ['ip6', 'eth.type == 0x86dd'],
  ['ip', 'ip4 || ip6'],
  ['ip4.src_mcast', 'ip4.src[28..31] == 0xe'],
  ['ip4.mcast', 'eth.mcast && ip4.dst[28..31] == 0xe'],
  ['ip6.mcast', 'eth.mcastv6 && ip6.dst[120..127] == 0xff'],
  ['ip6.mcast_sol_node', 'ip6.dst == ff02::1:ff00:0/104'],
  ['ip.is_frag', 'ip.frag[0]'],
  ['ip.later_frag', 'ip.frag[1]'],
  ['ip.first_frag', 'ip.is_frag && !ip.later_frag'],
  ['icmp4', 'ip4 && ip.proto == 1'],
  ['icmp6', 'ip6 && ip.proto == 58'],
  ['icmp', 'icmp4 || icmp6'],
  ['igmp', 'ip4.mcast && ip.proto == 2'],
  ['tcp', 'ip.proto == 6'],
  ['udp', 'ip.proto == 17'],
  ['sctp', 'ip.proto == 132'],
  ['arp', 'eth.type == 0x806'],
  ['rarp', 'eth.type == 0x8035'],
  ['nd', '(icmp6.type == {135, 136}) && icmp6.code == 0 && ip.ttl == 255'],
  ['nd_rs', discovery(133)],
  ['nd_ra', discovery(134)],
  ['nd_ns', discovery(135)],
  ['nd_na', discovery(136)],
  ['nd_ns_mcast', `ip6.mcast && ${discovery(135)}`],
  ['mldv1', 'eth.mcastv6 && ip6.src == fe80::/10 && (icmp6.type == {130, 131, 132})'],
  ['mldv2', 'eth.mcastv6 && ip6.dst == ff02::16 && icmp6.type == 143'],
]);

/** A value, and which of its bits count; `mask` is undefined when all do. */
export interface Constant {
  readonly value: bigint;
  readonly mask: bigint | undefined;
}

interface Plain {
  readonly value: bigint;
  /** Of an address; undefined for a number. */
  readonly bits: number | undefined;
}

function bigintOf(bytes: Uint8Array): bigint {
  return bytes.reduce((value, byte) => value * 256n + BigInt(byte), 0n);
}

function parsePlain(text: string): Plain | undefined {
  if (/^(0[xX][0-9a-fA-F]{1,32}|\d{1,39})$/.test(text)) return { value: BigInt(text), bits: undefined };
  const mac = parseMac(text);
  const bytes = mac === undefined ? parseIp(text) : macBytes(mac);
  return bytes && { value: bigintOf(bytes), bits: bytes.length * 8 };
}

/**
 * A constant in any of OVN's forms: decimal, 0xHEX, IPv4, IPv6, MAC, each also with `/MASK` in the same form or, for IP, as a
 * prefix' length. Undefined when it is none.
 */
export function parseConstant(text: string): Constant | undefined {
  const [first = '', second, ...rest] = text.split('/');
  const plain = parsePlain(first);
  if (plain === undefined || rest.length > 0) return undefined;
  if (second === undefined) return { value: plain.value, mask: undefined };
  const mask = parseMask(plain, second);
  return mask === undefined ? undefined : { value: plain.value & mask, mask };
}

function parseMask({ bits }: Plain, text: string): bigint | undefined {
  const plain = parsePlain(text);
  if (plain === undefined || plain.bits !== undefined) return plain?.bits === bits ? plain?.value : undefined;
  if (bits === undefined) return plain.value;
  const length = Number(plain.value);
  if (bits === kindBits.mac || length > bits) return undefined;
  return allBits(bits) ^ allBits(bits - length);
}

/** The number with the lowest `count` bits set. */
export function allBits(count: number): bigint {
  return (1n << BigInt(count)) - 1n;
}

/** For messages: what a field takes. */
export const kindNames: Readonly<Record<FieldKind, string>> = {
  mac: 'a MAC address',
  ip4: 'an IPv4 address',
  ip6: 'an IPv6 address',
  number: 'a number',
};

/** The value as an operator would write it: 0x806, 10.0.0.1. */
export function formatValue(name: string, value: bigint): string {
  const field = fields.get(name);
  if (field === undefined || field.kind === 'number') {
    return name === 'eth.type' || name === 'vlan.tci' ? `0x${value.toString(16)}` : value.toString();
  }
  const bytes = bigEndian(value, field.bits / 8);
  return field.kind === 'mac' ? macFromBytes(bytes) : formatIp(bytes);
}

/** The lowest `length` bytes of a number. */
export function bigEndian(value: bigint | number, length: number): Uint8Array {
  let rest = BigInt(value);
  const bytes = new Uint8Array(length);
  for (let index = length - 1; index >= 0; index--, rest >>= 8n) bytes[index] = Number(rest & 0xffn);
  return bytes;
}
