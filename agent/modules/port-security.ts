import { type IpPrefix, type Mac, macBytes } from '../../common/addresses.js';
import {
  allowedAddressFlags,
  allowedMacFlags,
  encodeAllowedAddress,
  encodeAllowedAddressKey,
  encodeAllowedMac,
  encodeAllowedMacKey,
  encodeAllowedPrefixKey,
  ipFamily,
} from '../../generated/bpf/layouts.js';
import type { PortIntent, PortSecurityEntry } from '../intent.js';
import { hexKey, type IoModule, type PluggedPort, portRef, type TableEntry } from './io-module.js';

const bothWays = allowedAddressFlags.ALLOWED_SOURCE | allowedAddressFlags.ALLOWED_DESTINATION;
/** Bits of struct allowed_address_key that stand before the address: part of a prefix' length in the trie. */
const keyBitsBeforeAddress = 96;

interface Host {
  readonly address: Uint8Array;
  readonly flags: number;
}

/** What all entries with one MAC allow together. */
interface MacRules {
  readonly mac: Mac;
  macFlags: number;
  readonly hosts: Host[];
  readonly prefixes: IpPrefix[];
}

function isIp6(address: Uint8Array): boolean {
  return address.length === 16;
}

/** The address with every bit behind the prefix set to `bit`. */
function withHostBits({ address, prefixLength }: IpPrefix, bit: 0 | 1): Uint8Array {
  return address.map((byte, index) => {
    const hostBits = Math.min(8, Math.max(0, (index + 1) * 8 - prefixLength));
    const mask = (1 << hostBits) - 1;
    return bit === 1 ? byte | mask : byte & ~mask;
  });
}

function sameAddress(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** OVN's reading of an address: a host part that is not zero, or none at all, means one host. */
function isHost(prefix: IpPrefix): boolean {
  return (
    prefix.prefixLength === prefix.address.length * 8 || !sameAddress(withHostBits(prefix, 0), prefix.address)
  );
}

/** fe80::/64 with the modified EUI-64 of the MAC (RFC 4291, appendix A). */
export function linkLocalAddress(mac: Mac): Uint8Array {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = macBytes(mac);
  return Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f);
}

function addAddress(rules: MacRules, prefix: IpPrefix): void {
  if (!isHost(prefix)) {
    rules.prefixes.push(prefix);
    return;
  }
  rules.hosts.push({ address: prefix.address, flags: bothWays });
  if (!isIp6(prefix.address) && prefix.prefixLength < 32) {
    rules.hosts.push({ address: withHostBits(prefix, 1), flags: allowedAddressFlags.ALLOWED_DESTINATION });
  }
}

function macFlagsOf({ addresses }: PortSecurityEntry): number {
  const hasIp6 = addresses.some(({ address }) => isIp6(address));
  let flags = 0;
  if (addresses.length === 0) flags |= allowedMacFlags.ALLOWED_ANY_ADDRESS;
  if (addresses.some(({ address }) => !isIp6(address))) flags |= allowedMacFlags.ALLOWED_IP4;
  if (addresses.some((prefix) => !isHost(prefix))) flags |= allowedMacFlags.ALLOWED_PREFIXES;
  return flags | (hasIp6 ? allowedMacFlags.ALLOWED_IP6 : allowedMacFlags.ALLOWED_ANY_ND_TARGET);
}

function rulesByMac(entries: readonly PortSecurityEntry[]): readonly MacRules[] {
  const all = new Map<Mac, MacRules>();
  for (const entry of entries) {
    const rules = all.get(entry.mac) ?? { mac: entry.mac, macFlags: 0, hosts: [], prefixes: [] };
    all.set(entry.mac, rules);
    rules.macFlags |= macFlagsOf(entry);
    for (const prefix of entry.addresses) addAddress(rules, prefix);
    if (entry.addresses.some(({ address }) => isIp6(address))) {
      rules.hosts.push({ address: linkLocalAddress(entry.mac), flags: bothWays });
    }
  }
  return [...all.values()];
}

function covers(prefix: IpPrefix, address: Uint8Array): boolean {
  if (prefix.address.length !== address.length) return false;
  return sameAddress(withHostBits({ address, prefixLength: prefix.prefixLength }, 0), prefix.address);
}

/** A host found in the first map is not looked for among the prefixes: it needs what they allow, too. */
function hostFlags({ hosts, prefixes }: MacRules, address: Uint8Array): number {
  const own = hosts
    .filter((host) => sameAddress(host.address, address))
    .reduce((all, { flags }) => all | flags, 0);
  return prefixes.some((prefix) => covers(prefix, address)) ? own | bothWays : own;
}

/** `address` as struct allowed_address_key has it. */
export function addressKey(slot: number, mac: Mac, address: Uint8Array) {
  const padded = new Uint8Array(16);
  padded.set(address);
  const family = isIp6(address) ? ipFamily.FAMILY_IP6 : ipFamily.FAMILY_IP4;
  return { slot, mac: macBytes(mac), family, address: padded };
}

function portEntries({ port, slot }: PluggedPort): TableEntry[] {
  const owner = portRef(port);
  return rulesByMac(port.portSecurity).flatMap((rules): TableEntry[] => {
    const { mac, macFlags, hosts, prefixes } = rules;
    const allowedMac: TableEntry = {
      table: 'allowed_macs',
      key: hexKey(encodeAllowedMacKey({ slot, mac: macBytes(mac) })),
      value: encodeAllowedMac({ flags: macFlags }),
      owner,
    };
    const addresses = hosts.map(
      ({ address }): TableEntry => ({
        table: 'allowed_addresses',
        key: hexKey(encodeAllowedAddressKey(addressKey(slot, mac, address))),
        value: encodeAllowedAddress({ flags: hostFlags(rules, address) }),
        owner,
      }),
    );
    const networks = prefixes.map(
      ({ address, prefixLength }): TableEntry => ({
        table: 'allowed_prefixes',
        key: hexKey(
          encodeAllowedPrefixKey({
            prefixLength: keyBitsBeforeAddress + prefixLength,
            address: addressKey(slot, mac, address),
          }),
        ),
        value: encodeAllowedAddress({ flags: bothWays }),
        owner,
      }),
    );
    return [allowedMac, ...addresses, ...networks];
  });
}

interface PortRules {
  readonly slot: number;
  readonly entries: readonly TableEntry[];
}

/** Ports are immutable: what was encoded for one is good until it is replaced or gets another slot. */
const encodedRules = new WeakMap<PortIntent, PortRules>();

function rulesOf(plugged: PluggedPort): readonly TableEntry[] {
  const known = encodedRules.get(plugged.port);
  if (known?.slot === plugged.slot) return known.entries;
  const entries = portEntries(plugged);
  encodedRules.set(plugged.port, { slot: plugged.slot, entries });
  return entries;
}

/** What the local ports may send and be sent (bpf/port_security.h; ovn-nb(5) Logical_Switch_Port.port_security). */
export const portSecurity: IoModule = {
  name: 'port-security',
  tables: ['allowed_macs', 'allowed_addresses', 'allowed_prefixes'],
  compute: ({ plugged }) => ({ entries: plugged.flatMap(rulesOf), problems: [] }),
};
