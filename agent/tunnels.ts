import { type Ifindex, formatIp } from '../common/addresses.js';
import { constants, decodeTunnel, ipFamily, tunnelType } from '../generated/bpf/layouts.js';
import type { ChassisIntent } from './intent.js';
import type { Route } from './links.js';
import type { SwitchPort } from './modules/io-module.js';
import { decodeUint32 } from './modules/uint32.js';
import type { KernelContents } from './plan.js';
import type { ResourceProblem } from './resources.js';
import { assignSlots } from './slots.js';
import {
  chooseTunnel,
  localEndpoints,
  remoteEndpoints,
  type TunnelChoice,
  type TunnelEndpoint,
  type TunnelType,
} from './tunnel-endpoints.js';
import { canCarry } from './vxlan-keys.js';
import type { EncapConfig } from './vswitch/node-config.js';

/** The pair of devices that make a relay (bpf/tunnel.h): what is sent into one comes out at the other. */
export interface Relay {
  readonly into: Ifindex;
  readonly outOf: Ifindex;
}

/** What the node's network stack knows about the underlay. */
export interface Underlay {
  /** Undefined while it is being made. */
  readonly relay: Relay | undefined;
  /** The VXLAN device; undefined while there is none. */
  readonly vxlan: Ifindex | undefined;
  /** Why there can be none. */
  readonly vxlanProblem: string | undefined;
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
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
  readonly route: Route;
  /** What a packet is redirected to: the VXLAN device, or for Geneve that of the route. */
  readonly device: Ifindex;
  readonly relay: Relay;
}

export interface TunnelPlan {
  /** By chassis. */
  readonly tunnels: ReadonlyMap<string, Tunnel>;
  /** By type and remote address: they keep their number. */
  readonly ids: ReadonlyMap<string, number>;
  /** Where tunnel packets arrive here, and from where they may come; empty without other chassis. */
  readonly localEndpoints: readonly TunnelEndpoint[];
  readonly remoteEndpoints: readonly { readonly chassis: string; readonly endpoint: TunnelEndpoint }[];
  /** Interfaces through which Geneve packets may come. */
  readonly interfaces: ReadonlySet<Ifindex>;
  /** The VXLAN device, when there are such tunnels. */
  readonly vxlan: Ifindex | undefined;
  readonly relay: Relay | undefined;
  readonly problems: readonly ResourceProblem[];
}

export const noTunnels: TunnelPlan = {
  tunnels: new Map(),
  ids: new Map(),
  localEndpoints: [],
  remoteEndpoints: [],
  interfaces: new Set(),
  vxlan: undefined,
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
    const { type, remote, family } = decodeTunnel(value);
    const address = family === ipFamily.FAMILY_IP4 ? remote.subarray(0, 4) : remote;
    ids.set(
      tunnelName(type === tunnelType.TUNNEL_VXLAN ? 'vxlan' : 'geneve', address),
      decodeUint32(Buffer.from(key, 'hex')),
    );
  }
  return ids;
}

function unreachable(name: string, message: string): ResourceProblem {
  return { kind: 'Chassis', name, code: 'unreachable', message };
}

/** The ways to a port that its tunnels' packets can name (`canCarry`), by its chassis, additional ones last. */
export function tunnelsTo({ port, datapathKey }: SwitchPort, plan: TunnelPlan): readonly Tunnel[] {
  return [port.chassis, ...port.additionalChassis].flatMap((name) => {
    const tunnel = plan.tunnels.get(name);
    return tunnel && canCarry(tunnel.type, datapathKey, port.portKey) ? [tunnel] : [];
  });
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

type ChosenTunnel = Extract<TunnelChoice, { ok: true }>;

/** The tunnel, or why there is none; undefined while a device of the node's is on its way. */
function makeTunnel(
  choice: ChosenTunnel,
  id: number | undefined,
  underlay: Underlay,
): Tunnel | ResourceProblem | undefined {
  const { chassis, type, remote } = choice;
  const { relay, vxlan, vxlanProblem } = underlay;
  if (id === undefined) {
    return { kind: 'Chassis', name: chassis, code: 'map_full', message: 'the node has too many tunnels' };
  }
  const route = underlay.routeTo(remote);
  if (route === undefined) return unreachable(chassis, `there is no route to ${formatIp(remote)}`);
  if (type === 'vxlan' && vxlan === undefined && vxlanProblem !== undefined)
    return unreachable(chassis, `there is no VXLAN device: ${vxlanProblem}`);
  const device = type === 'vxlan' ? vxlan : route.ifindex;
  if (relay === undefined || device === undefined) return undefined;
  const { local, checksum } = choice;
  return { chassis, id, type, checksum, local, remote, route, device, relay };
}

/** The tunnels to the chassis that can be reached, and what is wrong with the others. */
export function planTunnels(
  chassis: ReadonlyMap<string, ChassisIntent>,
  encaps: readonly EncapConfig[],
  underlay: Underlay,
  previousIds: ReadonlyMap<string, number>,
): TunnelPlan {
  if (chassis.size === 0) return noTunnels;
  const sorted = [...chassis.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const choices = sorted.map((each) => chooseTunnel(encaps, each));
  const names = choices.flatMap((choice) => (choice.ok ? [tunnelName(choice.type, choice.remote)] : []));
  const { slots: ids } = assignSlots(previousIds, names, constants.MAX_TUNNELS);
  const tunnels = new Map<string, Tunnel>();
  const problems: ResourceProblem[] = [];
  for (const choice of choices) {
    const made = choice.ok
      ? makeTunnel(choice, ids.get(tunnelName(choice.type, choice.remote)), underlay)
      : unreachable(choice.chassis, choice.reason);
    if (made !== undefined && 'code' in made) problems.push(made);
    else if (made !== undefined) tunnels.set(made.chassis, made);
  }
  const own = localEndpoints(encaps);
  const ofType = (type: TunnelType): readonly Tunnel[] =>
    [...tunnels.values()].filter((tunnel) => tunnel.type === type);
  const geneveAddresses = own.flatMap(({ type, ip }) => (type === 'geneve' ? [ip] : []));
  return {
    tunnels,
    ids,
    localEndpoints: own,
    remoteEndpoints: sorted.flatMap((each) =>
      remoteEndpoints(each).map((endpoint) => ({ chassis: each.name, endpoint })),
    ),
    interfaces: new Set([
      ...(geneveAddresses.length === 0 ? [] : underlay.interfacesWith(geneveAddresses)),
      ...ofType('geneve').map(({ route }) => route.ifindex),
    ]),
    vxlan: ofType('vxlan')[0]?.device,
    relay: underlay.relay,
    problems,
  };
}
