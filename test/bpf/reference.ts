import { ipv4, ipv6 } from './reference-ip.js';

/**
 * What OVN's port security says about a frame, from the flows that ovn-controller installs (OFTABLE_CHK_IN_PORT_SEC and
 * OFTABLE_CHK_IN_PORT_SEC_ND) and from how Open vSwitch reads packets. Slow, plain, and written without a look at
 * the program that it checks.
 */

export interface ReferenceAddress {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly prefixLength: number;
}

export interface ReferenceEntry {
  /** 12 hex digits. */
  readonly mac: string;
  readonly addresses: readonly ReferenceAddress[];
}

/** The fields of a flow that port security matches on. Addresses are hex strings; what is not in the packet is zero. */
export interface Flow {
  readonly vlan: boolean;
  readonly source: string;
  readonly type: number;
  readonly ipSource: string;
  readonly ipDestination: string;
  readonly protocol: number;
  readonly hopLimit: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly ndTarget: string;
  readonly ndTargetMac: string;
  readonly arpSenderMac: string;
  readonly arpSenderIp: string;
}

export const zeroMac = '000000000000';
const zero4 = '00000000';
const zero6 = '0'.repeat(32);
const etherType = { ip4: 0x0800, arp: 0x0806, ip6: 0x86dd } as const;
const vlanTypes = [0x8100, 0x88a8];
const lowestType = 0x0600;

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function uint16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}

const nothing: Omit<Flow, 'vlan' | 'source' | 'type'> = {
  ipSource: '',
  ipDestination: '',
  protocol: 0,
  hopLimit: 0,
  sourcePort: 0,
  destinationPort: 0,
  icmpType: 0,
  icmpCode: 0,
  ndTarget: zero6,
  ndTargetMac: zeroMac,
  arpSenderMac: zeroMac,
  arpSenderIp: zero4,
};

/** Type and payload, behind the SNAP header where there is one. */
function networkLayer(frame: Uint8Array): { readonly type: number; readonly payload: Uint8Array } {
  const type = uint16(frame, 12);
  if (type >= lowestType) return { type, payload: frame.subarray(14) };
  const snapType = uint16(frame, 20);
  const isSnap =
    frame.length >= 22 && hex(frame.subarray(14, 20)) === 'aaaa03000000' && snapType >= lowestType;
  return isSnap ? { type: snapType, payload: frame.subarray(22) } : { type: 0, payload: new Uint8Array(0) };
}

function arp(payload: Uint8Array): Partial<Flow> {
  if (payload.length < 28 || hex(payload.subarray(0, 6)) !== '000108000604') return {};
  return { arpSenderMac: hex(payload.subarray(8, 14)), arpSenderIp: hex(payload.subarray(14, 18)) };
}

/** A frame of 14 bytes or more as Open vSwitch sees it (lib/flow.c, miniflow_extract). */
export function extractFlow(frame: Uint8Array): Flow {
  const vlan = vlanTypes.includes(uint16(frame, 12));
  const { type, payload } = networkLayer(frame);
  const base = { ...nothing, vlan, source: hex(frame.subarray(6, 12)), type };
  if (type === etherType.arp) return { ...base, ...arp(payload) };
  if (type === etherType.ip4) return { ...base, ipSource: zero4, ipDestination: zero4, ...ipv4(payload) };
  if (type === etherType.ip6) return { ...base, ipSource: zero6, ipDestination: zero6, ...ipv6(payload) };
  return base;
}

function bits(address: string): string {
  return Array.from(address, (digit) => Number.parseInt(digit, 16).toString(2).padStart(4, '0')).join('');
}

/** A host where the prefix is whole or the host part is not zero, else the network. */
function covers({ address, prefixLength }: ReferenceAddress, candidate: string): boolean {
  const own = bits(hex(address));
  if (own.length !== candidate.length * 4) return false;
  const isNetwork = prefixLength < own.length && !own.slice(prefixLength).includes('1');
  return isNetwork ? bits(candidate).startsWith(own.slice(0, prefixLength)) : own === bits(candidate);
}

function addressesOf(entry: ReferenceEntry, bytes: 4 | 16): readonly ReferenceAddress[] {
  return entry.addresses.filter(({ address }) => address.length === bytes);
}

/** RFC 4291, appendix A. */
function linkLocalOf(mac: string): string {
  const first = (Number.parseInt(mac.slice(0, 2), 16) ^ 2).toString(16).padStart(2, '0');
  return `fe80000000000000${first}${mac.slice(2, 6)}fffe${mac.slice(6)}`;
}

function isDhcpDiscovery(flow: Flow): boolean {
  const isUdp = flow.protocol === 17 && flow.sourcePort === 68 && flow.destinationPort === 67;
  return flow.ipSource === zero4 && flow.ipDestination === 'ffffffff' && isUdp;
}

function isAutoconfiguration(flow: Flow): boolean {
  const isIcmp6 = flow.protocol === 58 && flow.icmpCode === 0 && [131, 143, 135].includes(flow.icmpType);
  return flow.ipSource === zero6 && flow.ipDestination.startsWith('ff02') && isIcmp6;
}

/** Table OFTABLE_CHK_IN_PORT_SEC: refused, allowed, or passed on to the table for ARP and ND. */
function firstTable(entries: readonly ReferenceEntry[], flow: Flow): 'deny' | 'allow' | 'next' {
  if (flow.type === etherType.arp) return 'next';
  for (const entry of entries.filter(({ mac }) => mac === flow.source)) {
    if (entry.addresses.length === 0) return 'next';
    const four = addressesOf(entry, 4);
    if (flow.type === etherType.ip4 && four.length > 0) {
      if (four.some((address) => covers(address, flow.ipSource)) || isDhcpDiscovery(flow)) return 'allow';
    }
    const six = addressesOf(entry, 16);
    if (flow.type === etherType.ip6 && six.length > 0) {
      const listed = six.some((address) => covers(address, flow.ipSource));
      if (listed || flow.ipSource === linkLocalOf(entry.mac) || isAutoconfiguration(flow)) return 'next';
    }
  }
  return 'deny';
}

function allowsArp(entry: ReferenceEntry, flow: Flow): boolean {
  if (flow.source !== entry.mac || flow.arpSenderMac !== entry.mac) return false;
  if (entry.addresses.length === 0) return true;
  return addressesOf(entry, 4).some((address) => covers(address, flow.arpSenderIp));
}

function allowsAdvertisement(entry: ReferenceEntry, flow: Flow): boolean {
  if (flow.icmpCode !== 0 || ![zeroMac, entry.mac].includes(flow.ndTargetMac)) return false;
  const six = addressesOf(entry, 16);
  if (six.length === 0 || flow.ndTarget === linkLocalOf(entry.mac)) return true;
  return flow.source === entry.mac && six.some((address) => covers(address, flow.ndTarget));
}

/** Table OFTABLE_CHK_IN_PORT_SEC_ND. */
function secondTable(entries: readonly ReferenceEntry[], flow: Flow): boolean {
  if (flow.type === etherType.arp) return entries.some((entry) => allowsArp(entry, flow));
  const isAdvertisement =
    flow.type === etherType.ip6 && flow.protocol === 58 && flow.hopLimit === 255 && flow.icmpType === 136;
  return !isAdvertisement || entries.some((entry) => allowsAdvertisement(entry, flow));
}

/** Whether OVN lets a port with these port security entries (none = no check) send the frame. */
export function maySend(entries: readonly ReferenceEntry[], flow: Flow): boolean {
  if (flow.vlan || (Number.parseInt(flow.source.slice(0, 2), 16) & 1) === 1) return false;
  if (entries.length === 0) return true;
  const first = firstTable(entries, flow);
  return first === 'allow' || (first === 'next' && secondTable(entries, flow));
}
