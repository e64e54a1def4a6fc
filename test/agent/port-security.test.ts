import test from 'ava';

import { findLocalPorts } from '../../agent/local-ports.js';
import { portSecurity } from '../../agent/modules/port-security.js';
import { l2Switch } from '../../agent/modules/l2-switch.js';
import { formatIp, macFromBytes } from '../../common/addresses.js';
import {
  allowedAddressFlags,
  allowedMacFlags,
  decodeAllowedAddress,
  decodeAllowedAddressKey,
  decodeAllowedMac,
  decodeAllowedMacKey,
  decodeAllowedPrefixKey,
  decodePort,
  portFlags,
} from '../../generated/bpf/layouts.js';
import {
  chassisName,
  makeIntent,
  portResource,
  portSecurityEntry,
  switchResource,
} from './support/intents.js';
import { vif } from './support/vif.js';
import type { Link } from '../../agent/links.js';
import type { ModuleInput, PluggedPort } from '../../agent/modules/io-module.js';
import { noTunnels } from '../../agent/tunnels/tunnels.js';

const mac1 = '02:00:00:00:00:01';

function plugged(entries: readonly string[], link: Partial<Link> = {}): readonly PluggedPort[] {
  const intent = makeIntent(
    switchResource('sw0', 1),
    portResource('lp1', 1, { port_security: entries.map(portSecurityEntry) }),
  );
  return findLocalPorts(intent, [vif('lp1', 5, link)], chassisName).map((local) => ({ ...local, slot: 3 }));
}

const directions = (flags: number): string =>
  `${flags & allowedAddressFlags.ALLOWED_SOURCE ? 's' : ''}${flags & allowedAddressFlags.ALLOWED_DESTINATION ? 'd' : ''}`;

function macFlagNames(flags: number): string {
  return Object.entries(allowedMacFlags)
    .filter(([, bit]) => flags & bit)
    .map(([name]) => name.replace('ALLOWED_', ''))
    .join(' ');
}

function addressText({ family, address }: { readonly family: number; readonly address: Uint8Array }): string {
  return formatIp(family === 4 ? address.slice(0, 4) : address);
}

function input(plugged: readonly PluggedPort[]): ModuleInput {
  return { ports: [], plugged, switches: [], tunnelPlan: noTunnels };
}

/** The entries, readable: `MAC flags`, `host ADDRESS directions`, `net ADDRESS/LENGTH directions`. */
function compute(entries: readonly string[]): readonly string[] {
  const result = portSecurity.compute(input(plugged(entries)));
  const lines = result.entries.map(({ table, key, value }) => {
    const bytes = Buffer.from(key, 'hex');
    if (table === 'allowed_macs') {
      const { slot, mac } = decodeAllowedMacKey(bytes);
      return `${slot} ${macFromBytes(mac)} ${macFlagNames(decodeAllowedMac(value).flags)}`;
    }
    const flags = directions(decodeAllowedAddress(value).flags);
    if (table === 'allowed_addresses') return `host ${addressText(decodeAllowedAddressKey(bytes))} ${flags}`;
    const { prefixLength, address } = decodeAllowedPrefixKey(bytes);
    return `net ${addressText(address)}/${prefixLength - 96} ${flags}`;
  });
  return [...new Set(lines)].sort();
}

const own6 = 'host fe80::ff:fe00:1 sd';

const tables: Record<string, readonly [entries: readonly string[], expected: readonly string[]]> = {
  'a MAC alone': [[mac1], [`3 ${mac1} ANY_ADDRESS ANY_ND_TARGET`]],
  'an IPv4 host': [[`${mac1} 10.0.0.1`], [`3 ${mac1} IP4 ANY_ND_TARGET`, 'host 10.0.0.1 sd']],
  'a host with its network: the broadcast address may be a destination': [
    [`${mac1} 10.0.0.1/24`],
    [`3 ${mac1} IP4 ANY_ND_TARGET`, 'host 10.0.0.1 sd', 'host 10.0.0.255 d'],
  ],
  'a network': [[`${mac1} 10.0.0.0/24`], [`3 ${mac1} IP4 PREFIXES ANY_ND_TARGET`, 'net 10.0.0.0/24 sd']],
  'a length that is no multiple of eight': [
    [`${mac1} 10.0.0.5/30 10.0.0.8/30`],
    [`3 ${mac1} IP4 PREFIXES ANY_ND_TARGET`, 'host 10.0.0.5 sd', 'host 10.0.0.7 d', 'net 10.0.0.8/30 sd'],
  ],
  'any IPv4 address': [[`${mac1} 0.0.0.0/0`], [`3 ${mac1} IP4 PREFIXES ANY_ND_TARGET`, 'net 0.0.0.0/0 sd']],
  'the upper address of a /31 is its own broadcast address': [
    [`${mac1} 10.0.0.1/31`],
    [`3 ${mac1} IP4 ANY_ND_TARGET`, 'host 10.0.0.1 sd'],
  ],
  'an IPv6 host: its link-local address, too': [
    [`${mac1} fd00::7`],
    [`3 ${mac1} IP6`, 'host fd00::7 sd', own6],
  ],
  'an IPv6 host with its network has no broadcast address': [
    [`${mac1} fd00::7/64`],
    [`3 ${mac1} IP6`, 'host fd00::7 sd', own6],
  ],
  'an IPv6 network': [[`${mac1} fd00::/64`], [`3 ${mac1} IP6 PREFIXES`, own6, 'net fd00::/64 sd']],
  'both families': [
    [`${mac1} 10.0.0.1 fd00::7`],
    [`3 ${mac1} IP4 IP6`, 'host 10.0.0.1 sd', 'host fd00::7 sd', own6],
  ],
  'entries with one MAC combine': [
    [mac1, `${mac1} 10.0.0.1`, `${mac1} fd00::7`],
    [`3 ${mac1} ANY_ADDRESS IP4 IP6 ANY_ND_TARGET`, 'host 10.0.0.1 sd', 'host fd00::7 sd', own6],
  ],
  'a host entry has what a network that covers it allows': [
    [`${mac1} 10.0.0.1/24 10.0.0.0/16`],
    [`3 ${mac1} IP4 PREFIXES ANY_ND_TARGET`, 'host 10.0.0.1 sd', 'host 10.0.0.255 sd', 'net 10.0.0.0/16 sd'],
  ],
};

for (const [name, [entries, expected]] of Object.entries(tables)) {
  test(name, (t) => {
    t.deepEqual(compute(entries), [...expected].sort());
    t.deepEqual(compute([...entries].reverse()), [...expected].sort());
  });
}

test('no port security, no entries', (t) => {
  t.deepEqual(compute([]), []);
});

function flagsOf(entries: readonly string[], link?: Partial<Link>): string {
  const output = l2Switch.compute(input(plugged(entries, link)));
  const entry = output.entries.find(({ table }) => table === 'ports');
  const { flags } = decodePort(entry?.value ?? new Uint8Array());
  return Object.entries(portFlags)
    .filter(([, bit]) => flags & bit)
    .map(([name]) => name.replace('PORT_', ''))
    .join(' ');
}

test('flags of a port', (t) => {
  t.is(flagsOf([]), 'ENABLED');
  t.is(flagsOf([mac1]), 'ENABLED SECURITY ANY_ND_TARGET');
  t.is(flagsOf([`${mac1} fd00::1`]), 'ENABLED SECURITY');
  t.is(flagsOf([`${mac1} fd00::1`, `${mac1} 10.0.0.1`]), 'ENABLED SECURITY ANY_ND_TARGET');
  t.is(flagsOf([], { kind: 'veth', peerInOtherNamespace: true }), 'ENABLED REDIRECT_PEER');
  t.is(flagsOf([], { kind: 'veth', peerInOtherNamespace: false }), 'ENABLED');
  t.is(flagsOf([], { kind: 'tun', peerInOtherNamespace: true }), 'ENABLED');
});
