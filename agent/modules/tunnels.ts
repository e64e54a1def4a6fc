import {
  encodePortKey,
  encodePortPlace,
  encodeRemoteMember,
  encodeRemoteMemberKey,
  encodeTunnel,
  encodeTunnelEndpoint,
  encodeTunnelEndpointKey,
  ipFamily,
  tunnelEndpointFlags,
} from '../../generated/bpf/layouts.js';
import { localnetsByDatapath } from '../localnets.js';
import type { Tunnel, TunnelPlan } from '../tunnels.js';
import { hexKey, type IoModule, type ModuleInput, portRef, type TableEntry } from './io-module.js';
import { encodeUint32 } from './uint32.js';

/** The first tunnel packet bytes and more: what an inner IP packet has before it in the outer one, in bytes. */
const overheadBytes = { ip4: 20 + 8 + 16 + 14, ip6: 40 + 8 + 16 + 14 } as const;

/** The longest inner IP packet that goes through, in bytes. */
export function tunnelMtu({ route, remote }: Tunnel): number {
  return route.mtu - (remote.length === 4 ? overheadBytes.ip4 : overheadBytes.ip6);
}

function familyOf(address: Uint8Array): number {
  return address.length === 4 ? ipFamily.FAMILY_IP4 : ipFamily.FAMILY_IP6;
}

function padded(address: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(address);
  return bytes;
}

function chassisRef(name: string): { readonly kind: string; readonly name: string } {
  return { kind: 'Chassis', name };
}

function tunnelEntry(tunnel: Tunnel): TableEntry {
  const { chassis, id, local, remote, route, relay } = tunnel;
  const value = encodeTunnel({
    remote: padded(remote),
    local: padded(local),
    family: familyOf(remote),
    ifindex: route.ifindex,
    relayIfindex: relay.into,
    mtu: route.mtu,
  });
  return { table: 'tunnels', key: hexKey(encodeUint32(id)), value, owner: chassisRef(chassis) };
}

function endpointEntries({ localEndpoints, remoteEndpoints }: TunnelPlan): readonly TableEntry[] {
  const flags = new Map<string, { readonly bits: number; readonly chassis: string }>();
  const add = (address: Uint8Array, bit: number, chassis: string): void => {
    const key = hexKey(encodeTunnelEndpointKey({ family: familyOf(address), address: padded(address) }));
    flags.set(key, { bits: (flags.get(key)?.bits ?? 0) | bit, chassis });
  };
  for (const { chassis, address } of remoteEndpoints) {
    add(address, tunnelEndpointFlags.ENDPOINT_REMOTE, chassis);
  }
  const [first] = remoteEndpoints;
  for (const address of first === undefined ? [] : localEndpoints) {
    add(address, tunnelEndpointFlags.ENDPOINT_LOCAL, first?.chassis ?? '');
  }
  return [...flags].map(([key, { bits, chassis }]) => ({
    table: 'tunnel_endpoints',
    key,
    value: encodeTunnelEndpoint({ flags: bits }),
    owner: chassisRef(chassis),
  }));
}

/** Where each port is; and under port key 0 which switches there are. */
function placeEntries({ switches, ports, plugged, tunnelPlan }: ModuleInput): readonly TableEntry[] {
  const slots = new Map(plugged.map(({ key, slot }) => [key, slot]));
  const place = (datapathKey: number, portKey: number, slot: number, tunnel: number) => ({
    table: 'ports_by_key' as const,
    key: hexKey(encodePortKey({ datapathKey, portKey })),
    value: encodePortPlace({ slot, tunnel }),
  });
  return [
    ...switches.map(({ id, datapathKey }) => ({
      ...place(datapathKey, 0, 0, 0),
      owner: { kind: 'Switch', name: id },
    })),
    ...ports.map(({ port, datapathKey }) => {
      const slot = slots.get(`${datapathKey}/${port.portKey}`) ?? 0;
      const tunnel = slot === 0 ? (tunnelPlan.tunnels.get(port.chassis)?.id ?? 0) : 0;
      return { ...place(datapathKey, port.portKey, slot, tunnel), owner: portRef(port) };
    }),
  ];
}

/**
 * The tunnels of each multicast group as a list: one copy goes to each chassis that hosts enabled members. Those of a
 * switch with a physical network here get theirs by that.
 */
function remoteLists({ ports, plugged, tunnelPlan }: ModuleInput): readonly TableEntry[] {
  const groups = new Map<string, { datapathKey: number; groupKey: number; tunnels: Map<number, string> }>();
  const localnets = localnetsByDatapath(plugged);
  for (const { port, datapathKey } of ports) {
    const tunnel = tunnelPlan.tunnels.get(port.chassis);
    if (tunnel === undefined || !port.enabled || localnets.has(datapathKey)) continue;
    for (const groupKey of port.multicastGroups) {
      const name = `${datapathKey}/${groupKey}`;
      const group = groups.get(name) ?? { datapathKey, groupKey, tunnels: new Map<number, string>() };
      groups.set(name, group);
      group.tunnels.set(tunnel.id, tunnel.chassis);
    }
  }
  return [...groups.values()].flatMap(({ datapathKey, groupKey, tunnels }) => {
    const members = [...tunnels].sort(([a], [b]) => a - b);
    return [[0, members[0]?.[1] ?? ''] as const, ...members].map(
      ([tunnel, chassis], index): TableEntry => ({
        table: 'remote_members',
        key: hexKey(encodeRemoteMemberKey({ datapathKey, groupKey, tunnel })),
        value: encodeRemoteMember({ nextTunnel: members[index]?.[0] ?? 0 }),
        owner: chassisRef(chassis),
      }),
    );
  });
}

/** Other chassis: how to reach them, what is behind them, and who may send here (bpf/tunnel.h, bpf/arrival.h). */
export const tunnels: IoModule = {
  name: 'tunnels',
  tables: ['tunnels', 'tunnel_endpoints', 'ports_by_key', 'remote_members'],
  compute: (input) => {
    const { tunnelPlan } = input;
    if (tunnelPlan.remoteEndpoints.length === 0) return { entries: [], problems: tunnelPlan.problems };
    const entries = [
      ...[...tunnelPlan.tunnels.values()].map(tunnelEntry),
      ...endpointEntries(tunnelPlan),
      ...placeEntries(input),
      ...remoteLists(input),
    ];
    return { entries, problems: tunnelPlan.problems };
  },
};
