import { formatIp, macFromBytes } from '../../common/addresses.js';
import {
  allowedAddressFlags,
  allowedMacFlags,
  constants,
  decodeAllowedAddress,
  decodeAllowedAddressKey,
  decodeAllowedMac,
  decodeAllowedMacKey,
  decodeAllowedPrefixKey,
  decodeDestination,
  decodeFdbEntry,
  decodeInterfaceKey,
  decodeMacKey,
  decodeMember,
  decodeMemberKey,
  decodeNeighbour,
  decodeNeighbourKey,
  decodePort,
  decodePortKey,
  decodePortPlace,
  decodeRemoteMember,
  decodeRemoteMemberKey,
  decodeTunnel,
  decodeTunnelEndpoint,
  decodeTunnelEndpointKey,
  ipFamily,
  portFlags,
  tunnelEndpointFlags,
  tunnelFlags,
  tunnelType,
} from '../../generated/bpf/layouts.js';
import { decodeUint32 } from '../modules/uint32.js';
import type { TableName } from '../data-plane.js';

/** The maps whose entries are bytes here. */
export type ByteTable = TableName | 'fdb';

type Flags = Readonly<Record<string, number>>;
type Decoded = object | number;

interface Layout {
  readonly key: (bytes: Uint8Array) => Decoded;
  readonly value: (bytes: Uint8Array) => Decoded;
  /** Names of the bits of the value's field `flags`. */
  readonly flags?: Flags;
  /** Names of what is in the value's field `type`. */
  readonly types?: Flags;
}

const layouts: Readonly<Record<ByteTable, Layout>> = {
  ports: { key: slot, value: decodePort, flags: portFlags },
  ports_by_interface: { key: decodeInterfaceKey, value: slot },
  destinations: { key: decodeMacKey, value: decodeDestination },
  neighbours: { key: decodeNeighbourKey, value: decodeNeighbour },
  multicast_members: { key: decodeMemberKey, value: decodeMember },
  ports_by_key: { key: decodePortKey, value: decodePortPlace },
  tunnels: {
    key: (bytes) => ({ tunnel: decodeUint32(bytes) }),
    value: decodeTunnel,
    flags: tunnelFlags,
    types: tunnelType,
  },
  tunnel_endpoints: {
    key: decodeTunnelEndpointKey,
    value: decodeTunnelEndpoint,
    flags: tunnelEndpointFlags,
  },
  remote_members: { key: decodeRemoteMemberKey, value: decodeRemoteMember },
  allowed_macs: { key: decodeAllowedMacKey, value: decodeAllowedMac, flags: allowedMacFlags },
  allowed_addresses: {
    key: decodeAllowedAddressKey,
    value: decodeAllowedAddress,
    flags: allowedAddressFlags,
  },
  allowed_prefixes: { key: decodeAllowedPrefixKey, value: decodeAllowedAddress, flags: allowedAddressFlags },
  fdb: { key: decodeMacKey, value: decodeFdbEntry },
};

export const byteTables = Object.keys(layouts) as readonly ByteTable[];

export function isByteTable(name: string): name is ByteTable {
  return name in layouts;
}

/** A key as JSON, with the field names of bpf/types.h in camel case and addresses as people write them. */
export function keyText(table: ByteTable, bytes: Uint8Array): string {
  return JSON.stringify(readable(layouts[table].key(bytes)));
}

/** A value, likewise. */
export function valueText(table: ByteTable, bytes: Uint8Array): string {
  const { value, flags, types } = layouts[table];
  return JSON.stringify(readable(value(bytes), flags, types));
}

function slot(bytes: Uint8Array): Decoded {
  return { slot: decodeUint32(bytes) };
}

function readable(decoded: Decoded, flags: Flags = {}, types: Flags = {}): unknown {
  if (typeof decoded === 'number') return decoded;
  const family = 'family' in decoded ? Number(decoded.family) & ~constants.ACTIVATING_FAMILY : 0;
  const isIp4 = family === ipFamily.FAMILY_IP4;
  return Object.fromEntries(
    Object.entries(decoded).map(([name, value]: [string, unknown]) => {
      if (value instanceof Uint8Array) return [name, address(value, isIp4)];
      if (name === 'flags' && typeof value === 'number') return [name, flagNames(value, flags)];
      if (name === 'type' && typeof value === 'number') return [name, typeName(value, types)];
      if (typeof value === 'bigint') return [name, Number(value)];
      return [name, typeof value === 'object' && value !== null ? readable(value) : value];
    }),
  );
}

/** IPv4 stands in the first 4 of 16 bytes. */
function address(bytes: Uint8Array, isIp4: boolean): string {
  if (bytes.length === 6) return macFromBytes(bytes);
  if (bytes.length === 16) return formatIp(isIp4 ? bytes.subarray(0, 4) : bytes);
  return Buffer.from(bytes).toString('hex');
}

function typeName(value: number, types: Flags): string | number {
  const found = Object.entries(types).find(([, number]) => number === value);
  return found === undefined ? value : found[0].toLowerCase();
}

function flagNames(value: number, flags: Flags): readonly (string | number)[] {
  const names = Object.entries(flags).filter(([, bit]) => (value & bit) !== 0);
  const rest = names.reduce((left, [, bit]) => left & ~bit, value);
  return [...names.map(([name]) => name.toLowerCase()), ...(rest === 0 ? [] : [rest])];
}
