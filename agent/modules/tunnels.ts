import {
  constants,
  encodePortKey,
  encodePortPlace,
  encodeRemoteMember,
  encodeRemoteMemberKey,
  encodeTunnel,
  encodeTunnelEndpoint,
  encodeTunnelEndpointKey,
  ipFamily,
  tunnelEndpointFlags,
  tunnelFlags,
  tunnelType,
} from '../../generated/bpf/layouts.js';
import { localnetsByDatapath } from '../localnet/localnets.js';
import type { ResourceProblem } from '../resources.js';
import type { TunnelEndpoint, TunnelType } from '../tunnels/tunnel-endpoints.js';
import {
  allTunnels,
  groupTunnelsTo,
  isAtSeveralPlaces,
  type Tunnel,
  type TunnelPlan,
  tunnelsTo,
} from '../tunnels/tunnels.js';
import { canCarry, vxlanDatapathKeys, vxlanPortKeys } from '../tunnels/vxlan-keys.js';
import { hexKey, type IoModule, type ModuleInput, portRef, type TableEntry } from './io-module.js';
import { encodeUint32 } from './uint32.js';

/** What an inner IP packet has before it in the outer one but for the IP header, in bytes: UDP, the tunnel's, Ethernet. */
const overheadBytes: Readonly<Record<TunnelType, number>> = { geneve: 8 + 16 + 14, vxlan: 8 + 8 + 14 };
const typeNumbers: Readonly<Record<TunnelType, number>> = {
  geneve: tunnelType.TUNNEL_GENEVE,
  vxlan: tunnelType.TUNNEL_VXLAN,
};

/** The longest inner IP packet that goes through, in bytes. */
export function tunnelMtu({ type, route, remote }: Pick<Tunnel, 'type' | 'route' | 'remote'>): number {
  return route.mtu - (remote.length === 4 ? 20 : 40) - overheadBytes[type];
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

/** The tunnel from each source; from one that is of the other family it is the default one's. */
function tunnelEntries(tunnel: Tunnel, sources: readonly Uint8Array[]): readonly TableEntry[] {
  return sources.map((source, number) => {
    const local = source.length === tunnel.local.length ? source : tunnel.local;
    return tunnelEntry({ ...tunnel, local, id: tunnel.id + number * constants.MAX_TUNNELS });
  });
}

function tunnelEntry(tunnel: Tunnel): TableEntry {
  const { chassis, id, type, checksum, local, remote, route, device, byDevice, relay } = tunnel;
  const { TUNNEL_CHECKSUM, TUNNEL_BY_DEVICE } = tunnelFlags;
  const value = encodeTunnel({
    remote: padded(remote),
    local: padded(local),
    type: typeNumbers[type],
    flags: (checksum ? TUNNEL_CHECKSUM : 0) | (byDevice ? TUNNEL_BY_DEVICE : 0),
    family: familyOf(remote),
    ifindex: device,
    relayIfindex: relay.into,
    mtu: route.mtu,
  });
  return { table: 'tunnels', key: hexKey(encodeUint32(id)), value, owner: chassisRef(chassis) };
}

function endpointEntries({ localEndpoints, remoteEndpoints }: TunnelPlan): readonly TableEntry[] {
  const flags = new Map<string, { readonly bits: number; readonly chassis: string }>();
  const add = ({ type, ip }: TunnelEndpoint, bit: number, chassis: string): void => {
    const key = hexKey(
      encodeTunnelEndpointKey({ family: familyOf(ip), type: typeNumbers[type], address: padded(ip) }),
    );
    flags.set(key, { bits: (flags.get(key)?.bits ?? 0) | bit, chassis });
  };
  for (const { chassis, endpoint } of remoteEndpoints) {
    add(endpoint, tunnelEndpointFlags.ENDPOINT_REMOTE, chassis);
  }
  const [first] = remoteEndpoints;
  for (const endpoint of first === undefined ? [] : localEndpoints) {
    add(endpoint, tunnelEndpointFlags.ENDPOINT_LOCAL, first?.chassis ?? '');
  }
  return [...flags].map(([key, { bits, chassis }]) => ({
    table: 'tunnel_endpoints',
    key,
    value: encodeTunnelEndpoint({ flags: bits }),
    owner: chassisRef(chassis),
  }));
}

/** Of a switch whose own key does not fit there is one problem, and not one of each port. */
function keyProblems({ switches, ports, tunnelPlan }: ModuleInput): readonly ResourceProblem[] {
  const behindVxlan = ports.filter(({ port }) => tunnelPlan.tunnels.get(port.chassis)?.type === 'vxlan');
  const hosting = new Set(behindVxlan.map(({ datapathKey }) => datapathKey));
  const tooGreat = (what: string, key: number, keys: number): string =>
    `its ${what} ${key} is greater than VXLAN can carry (${keys - 1})`;
  return [
    ...switches
      .filter(({ datapathKey: key }) => hosting.has(key) && !canCarry('vxlan', key, 0))
      .map(({ id, datapathKey: key }): ResourceProblem => {
        const reason = tooGreat('datapath key', key, vxlanDatapathKeys);
        const message = `${reason}: its ports on chassis with this tunnel type can not be reached`;
        return { kind: 'Switch', name: id, code: 'unreachable', message };
      }),
    ...behindVxlan
      .filter(({ port }) => !canCarry('vxlan', 0, port.portKey))
      .map(({ port: { name, portKey, chassis } }): ResourceProblem => {
        const message = `${tooGreat('port key', portKey, vxlanPortKeys)}: it can not be reached on chassis ${chassis}`;
        return { kind: 'Port', name, code: 'unreachable', message };
      }),
  ];
}

function placeName(datapathKey: number, key: number): string {
  return `${datapathKey}/${key}`;
}

function slotsOf(plugged: ModuleInput['plugged']): ReadonlyMap<string, number> {
  return new Map(plugged.map(({ datapathKey, port, slot }) => [placeName(datapathKey, port.portKey), slot]));
}

/** Where each port is; and under port key 0 which switches there are. */
function placeEntries({ switches, ports, plugged, tunnelPlan }: ModuleInput): readonly TableEntry[] {
  const slots = slotsOf(plugged);
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
    ...ports.map((each) => {
      const { port, datapathKey } = each;
      const slot = slots.get(placeName(datapathKey, port.portKey)) ?? 0;
      const [first] = tunnelsTo(each, tunnelPlan);
      const only = slot === 0 ? (first?.id ?? 0) : 0;
      const tunnel = isAtSeveralPlaces(each, slot, tunnelPlan) ? constants.SEVERAL_PLACES : only;
      return { ...place(datapathKey, port.portKey, slot, tunnel), owner: portRef(port) };
    }),
  ];
}

/**
 * The tunnels of each multicast group as a list: one copy goes to each chassis that hosts enabled members. Those of a
 * switch with a physical network here get theirs by that, but for what goes to a port at several places.
 */
function remoteLists({ ports, plugged, tunnelPlan }: ModuleInput): readonly TableEntry[] {
  const slots = slotsOf(plugged);
  const localnets = localnetsByDatapath(plugged);
  const groups = new Map<string, { datapathKey: number; groupKey: number; tunnels: Map<number, string> }>();
  for (const each of ports) {
    const { port, datapathKey } = each;
    if (!port.enabled) continue;
    const slot = slots.get(placeName(datapathKey, port.portKey)) ?? 0;
    const isCopied = isAtSeveralPlaces(each, slot, tunnelPlan);
    const multicastGroups = localnets.has(datapathKey) ? [] : port.multicastGroups;
    const lists = [
      ...multicastGroups.map((key) => [key, groupTunnelsTo(each, tunnelPlan)] as const),
      ...(isCopied ? [[port.portKey, tunnelsTo(each, tunnelPlan)] as const] : []),
    ];
    for (const [groupKey, tunnels] of lists) {
      const name = placeName(datapathKey, groupKey);
      const group = groups.get(name) ?? { datapathKey, groupKey, tunnels: new Map<number, string>() };
      for (const { id, type, chassis } of tunnels) {
        if (canCarry(type, datapathKey, groupKey)) group.tunnels.set(id, chassis);
      }
      if (group.tunnels.size > 0) groups.set(name, group);
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
      ...allTunnels(tunnelPlan).flatMap((tunnel) => tunnelEntries(tunnel, tunnelPlan.sources)),
      ...endpointEntries(tunnelPlan),
      ...placeEntries(input),
      ...remoteLists(input),
    ];
    return { entries, problems: [...tunnelPlan.problems, ...keyProblems(input)] };
  },
};
