import { byName } from '../../common/compare.js';
import { type Ifindex, formatIp, sameIp } from '../../common/addresses.js';
import { constants, decodeTunnel, ipFamily, tunnelType } from '../../generated/bpf/layouts.js';
import type { ChassisIntent, Intent } from '../intent.js';
import type { Route } from '../links.js';
import type { SwitchPort } from '../modules/io-module.js';
import { decodeUint32 } from '../modules/uint32.js';
import type { KernelContents } from '../plan.js';
import type { ResourceProblem } from '../resources.js';
import { assignSlots } from '../slots.js';
import {
  type ChosenTunnel,
  chooseTunnel,
  type TunnelChoice,
  localEndpoints,
  remoteEndpoints,
  type TunnelEndpoint,
  tunnelSources,
  tunnelsToOthers,
  type TunnelType,
} from './tunnel-endpoints.js';
import { canCarry } from './vxlan-keys.js';
import type { EncapConfig } from '../vswitch/node-config.js';

/** The pair of devices that make a relay (bpf/tunnel.h): what is sent into one comes out at the other. */
export interface Relay {
  readonly into: Ifindex;
  readonly outOf: Ifindex;
}

/**
 * What makes a type's tunnel packets: a device of the kernel, or our own program, with the reason why no device does ("" while it is
 * being made). Nothing without a reason: it is not known yet.
 */
export type TunnelWay =
  | { readonly by: 'device'; readonly device: Ifindex }
  | { readonly by: 'program'; readonly reason: string }
  | { readonly by: 'none'; readonly reason: string | undefined };

/** What the node's network stack knows about the underlay. */
export interface Underlay {
  /** Undefined while it is being made. */
  readonly relay: Relay | undefined;
  /** How tunnels of a type go. */
  way(type: TunnelType): TunnelWay;
  /** The tunnel devices that there are, up or not. */
  readonly guards: ReadonlyMap<TunnelType, Ifindex>;
  /** Interfaces that have one of the addresses. */
  interfacesWith(addresses: readonly Uint8Array[]): readonly Ifindex[];
  routeTo(address: Uint8Array): Route | undefined;
}

export interface Tunnel {
  /** Chassis.name */
  readonly chassis: string;
  /** Index of map `tunnels`. */
  readonly id: number;
  readonly type: TunnelType;
  /** The other end wants an outer UDP checksum. */
  readonly checksum: boolean;
  /** Where its packets come from unless the port has another source. */
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
  readonly route: Route;
  /** What a packet is redirected to: a tunnel device, or that of the route when our own program has made it a tunnel packet. */
  readonly device: Ifindex;
  readonly byDevice: boolean;
  readonly relay: Relay;
}

export interface TunnelPlan {
  /** By chassis: to its default address. */
  readonly tunnels: ReadonlyMap<string, Tunnel>;
  /** To other addresses that ports ask for, by chassis and address (`placeOf`). */
  readonly others: ReadonlyMap<string, Tunnel>;
  /** The node's own addresses, from each of which there is every tunnel of its family; the default one first. */
  readonly sources: readonly Uint8Array[];
  /** By type and remote address: they keep their number. */
  readonly ids: ReadonlyMap<string, number>;
  /** Where tunnel packets arrive here, and from where they may come; empty without other chassis. */
  readonly localEndpoints: readonly TunnelEndpoint[];
  readonly remoteEndpoints: readonly { readonly chassis: string; readonly endpoint: TunnelEndpoint }[];
  /** Interfaces through which Geneve packets may come that our own program takes apart. */
  readonly interfaces: ReadonlySet<Ifindex>;
  /** The tunnel devices: nothing that comes out of them may reach the host. */
  readonly guards: ReadonlyMap<TunnelType, Ifindex>;
  readonly relay: Relay | undefined;
  readonly problems: readonly ResourceProblem[];
}

export const noTunnels: TunnelPlan = {
  tunnels: new Map(),
  others: new Map(),
  sources: [],
  ids: new Map(),
  localEndpoints: [],
  remoteEndpoints: [],
  interfaces: new Set(),
  guards: new Map(),
  relay: undefined,
  problems: [],
};

function tunnelName(type: TunnelType, remote: Uint8Array): string {
  return `${type} ${formatIp(remote)}`;
}

/** The numbers that tunnels have in the kernel. */
export function recoverTunnelIds(contents: KernelContents): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  for (const [key, value] of contents.tables.get('tunnels') ?? []) {
    const id = decodeUint32(Buffer.from(key, 'hex'));
    if (id >= constants.MAX_TUNNELS) continue;
    const { type, remote, family } = decodeTunnel(value);
    const address = family === ipFamily.FAMILY_IP4 ? remote.subarray(0, 4) : remote;
    ids.set(tunnelName(type === tunnelType.TUNNEL_VXLAN ? 'vxlan' : 'geneve', address), id);
  }
  return ids;
}

function unreachable(name: string, message: string): ResourceProblem {
  return { kind: 'Chassis', name, code: 'unreachable', message };
}

function placeOf(chassis: string, ip: Uint8Array): string {
  return `${chassis} ${formatIp(ip)}`;
}

/** Every tunnel of the plan. */
export function allTunnels({ tunnels, others }: Pick<TunnelPlan, 'tunnels' | 'others'>): readonly Tunnel[] {
  return [...tunnels.values(), ...others.values()];
}

/**
 * The ways to a port that its tunnels' packets can name (`canCarry`), by its chassis, additional ones last: each to the address
 * that the port asks for.
 */
export function tunnelsTo(to: SwitchPort, plan: TunnelPlan): readonly Tunnel[] {
  return usableTunnels(to, (chassis) => {
    const [asked] = to.port.encapIps.flatMap((ip) => plan.others.get(placeOf(chassis, ip)) ?? []);
    return asked ?? plan.tunnels.get(chassis);
  });
}

/** The tunnels to the chassis that a port is on, whatever address it asks for: what goes to a group goes to a chassis once. */
export function groupTunnelsTo(to: SwitchPort, plan: TunnelPlan): readonly Tunnel[] {
  return usableTunnels(to, (chassis) => plan.tunnels.get(chassis));
}

function usableTunnels(
  { port, datapathKey }: SwitchPort,
  tunnelTo: (chassis: string) => Tunnel | undefined,
): readonly Tunnel[] {
  return [port.chassis, ...port.additionalChassis].flatMap((chassis) => {
    const tunnel = tunnelTo(chassis);
    return tunnel && canCarry(tunnel.type, datapathKey, port.portKey) ? [tunnel] : [];
  });
}

/** Which of the plan's sources the port's tunnel packets come from. */
export function sourceOf({ port }: SwitchPort, { sources }: TunnelPlan): number {
  const asked = sources.findIndex((source) => port.encapIps.some((ip) => sameIp(ip, source)));
  return Math.max(asked, 0);
}

/** Whether what is sent to the port is to be copied, here (`slot` is not 0) and elsewhere or to several chassis. */
export function isAtSeveralPlaces(port: SwitchPort, slot: number, plan: TunnelPlan): boolean {
  return port.port.additionalChassis.length > 0 && tunnelsTo(port, plan).length + Number(slot !== 0) > 1;
}

/** Which types the tunnels to these chassis have. */
export function tunnelTypes(
  chassis: ReadonlyMap<string, ChassisIntent>,
  encaps: readonly EncapConfig[],
): ReadonlySet<TunnelType> {
  const choices = [...chassis.values()].map((each) => chooseTunnel(encaps, each));
  return new Set(choices.flatMap((choice) => (choice.ok ? [choice.type] : [])));
}

const typeNames: Readonly<Record<TunnelType, string>> = { geneve: 'Geneve', vxlan: 'VXLAN' };

/** The tunnel, or why there is none; undefined while a device of the node's is on its way. */
type Attempt = Tunnel | ResourceProblem | undefined;

function made(attempts: readonly Attempt[]): readonly Tunnel[] {
  return attempts.flatMap((each) => (each === undefined || 'code' in each ? [] : [each]));
}

function makeTunnel(choice: ChosenTunnel, id: number | undefined, underlay: Underlay): Attempt {
  const { chassis, type, remote } = choice;
  const { relay } = underlay;
  const way = underlay.way(type);
  if (id === undefined) {
    return { kind: 'Chassis', name: chassis, code: 'map_full', message: 'the node has too many tunnels' };
  }
  const route = underlay.routeTo(remote);
  if (route === undefined) return unreachable(chassis, `there is no route to ${formatIp(remote)}`);
  if (way.by === 'none' && way.reason !== undefined)
    return unreachable(chassis, `there is no ${typeNames[type]} device: ${way.reason}`);
  if (relay === undefined || way.by === 'none') return undefined;
  const byDevice = way.by === 'device';
  const device = byDevice ? way.device : route.ifindex;
  const { local, checksum } = choice;
  return { chassis, id, type, checksum, local, remote, route, device, byDevice, relay };
}

/** The addresses that ports ask for, by chassis. */
function askedAddresses(ports: Intent['ports']): ReadonlyMap<string, readonly Uint8Array[]> {
  const asked = new Map<string, Uint8Array[]>();
  for (const { chassis, additionalChassis, encapIps } of ports.values()) {
    if (encapIps.length === 0) continue;
    for (const name of [chassis, ...additionalChassis])
      asked.set(name, [...(asked.get(name) ?? []), ...encapIps]);
  }
  return asked;
}

/** The tunnels to the chassis that can be reached, and what is wrong with the others. */
export function planTunnels(
  { chassis, ports }: Pick<Intent, 'chassis' | 'ports'>,
  encaps: readonly EncapConfig[],
  underlay: Underlay,
  previousIds: ReadonlyMap<string, number>,
): TunnelPlan {
  if (chassis.size === 0) return noTunnels;
  const sorted = [...chassis.values()].sort(byName);
  const choices = sorted.map((each) => chooseTunnel(encaps, each));
  const chosen = choices.filter((choice) => choice.ok);
  const asked = askedAddresses(ports);
  const further = chosen.flatMap((tunnel) => {
    const to = chassis.get(tunnel.chassis);
    return to === undefined ? [] : tunnelsToOthers(tunnel, to, asked.get(tunnel.chassis) ?? []);
  });
  const names = [...chosen, ...further].map(({ type, remote }) => tunnelName(type, remote));
  const { slots: ids } = assignSlots(previousIds, names, constants.MAX_TUNNELS);
  const attempt = (choice: TunnelChoice): Attempt =>
    choice.ok
      ? makeTunnel(choice, ids.get(tunnelName(choice.type, choice.remote)), underlay)
      : unreachable(choice.chassis, choice.reason);
  const [first, second] = [choices.map(attempt), further.map(attempt)];
  const tunnels = new Map(made(first).map((tunnel) => [tunnel.chassis, tunnel]));
  const others = new Map(made(second).map((tunnel) => [placeOf(tunnel.chassis, tunnel.remote), tunnel]));
  const own = localEndpoints(encaps);
  const byProgram = allTunnels({ tunnels, others }).filter(({ byDevice }) => !byDevice);
  const geneveAddresses = own.flatMap(({ type, ip }) =>
    type === 'geneve' && underlay.way(type).by === 'program' ? [ip] : [],
  );
  return {
    tunnels,
    others,
    sources: tunnelSources(encaps),
    ids,
    localEndpoints: own,
    remoteEndpoints: sorted.flatMap((each) =>
      remoteEndpoints(each).map((endpoint) => ({ chassis: each.name, endpoint })),
    ),
    interfaces: new Set([
      ...(geneveAddresses.length === 0 ? [] : underlay.interfacesWith(geneveAddresses)),
      ...byProgram.map(({ route }) => route.ifindex),
    ]),
    guards: underlay.guards,
    relay: underlay.relay,
    problems: [...first, ...second].flatMap((each) => (each && 'code' in each ? [each] : [])),
  };
}
