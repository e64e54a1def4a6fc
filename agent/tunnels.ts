import { type Ifindex, formatIp } from '../common/addresses.js';
import { constants, decodeTunnel, ipFamily } from '../generated/bpf/layouts.js';
import type { ChassisIntent } from './intent.js';
import type { Route } from './links.js';
import { decodeUint32 } from './modules/uint32.js';
import type { KernelContents } from './plan.js';
import type { ResourceProblem } from './resources.js';
import { assignSlots } from './slots.js';
import { chooseTunnel, localEndpoints, remoteEndpoints } from './tunnel-endpoints.js';
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
  /** Interfaces that have one of the addresses. */
  interfacesWith(addresses: readonly Uint8Array[]): readonly Ifindex[];
  routeTo(address: Uint8Array): Route | undefined;
}

export interface Tunnel {
  /** Chassis.name */
  readonly chassis: string;
  /** Index of map `tunnels`. */
  readonly id: number;
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
  readonly route: Route;
  readonly relay: Relay;
}

export interface TunnelPlan {
  /** By chassis. */
  readonly tunnels: ReadonlyMap<string, Tunnel>;
  /** By remote address as text: an address keeps its number. */
  readonly ids: ReadonlyMap<string, number>;
  /** Underlay addresses of this node and of others; empty without other chassis. */
  readonly localEndpoints: readonly Uint8Array[];
  readonly remoteEndpoints: readonly { readonly chassis: string; readonly address: Uint8Array }[];
  /** Interfaces through which tunnel packets may come. */
  readonly interfaces: ReadonlySet<Ifindex>;
  readonly relay: Relay | undefined;
  readonly problems: readonly ResourceProblem[];
}

export const noTunnels: TunnelPlan = {
  tunnels: new Map(),
  ids: new Map(),
  localEndpoints: [],
  remoteEndpoints: [],
  interfaces: new Set(),
  relay: undefined,
  problems: [],
};

/** The numbers that tunnels have in the kernel. */
export function recoverTunnelIds(contents: KernelContents): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  for (const [key, value] of contents.tables.get('tunnels') ?? []) {
    const { remote, family } = decodeTunnel(value);
    const address = family === ipFamily.FAMILY_IP4 ? remote.subarray(0, 4) : remote;
    ids.set(formatIp(address), decodeUint32(Buffer.from(key, 'hex')));
  }
  return ids;
}

function unreachable(name: string, message: string): ResourceProblem {
  return { kind: 'Chassis', name, code: 'unreachable', message };
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
  const remotes = choices.flatMap((choice) => (choice.ok ? [formatIp(choice.remote)] : []));
  const { slots: ids } = assignSlots(previousIds, remotes, constants.MAX_TUNNELS);
  const tunnels = new Map<string, Tunnel>();
  const problems: ResourceProblem[] = [];
  const { relay } = underlay;
  for (const choice of choices) {
    const name = choice.chassis;
    if (!choice.ok) {
      problems.push(unreachable(name, choice.reason));
      continue;
    }
    const address = formatIp(choice.remote);
    const id = ids.get(address);
    const route = underlay.routeTo(choice.remote);
    if (id === undefined) {
      problems.push({ kind: 'Chassis', name, code: 'map_full', message: 'the node has too many tunnels' });
    } else if (route === undefined) {
      problems.push(unreachable(name, `there is no route to ${address}`));
    } else if (relay !== undefined) {
      const { local, remote } = choice;
      tunnels.set(name, { chassis: name, id, local, remote, route, relay });
    }
  }
  const own = localEndpoints(encaps);
  return {
    tunnels,
    ids,
    localEndpoints: own,
    remoteEndpoints: sorted.flatMap((each) =>
      remoteEndpoints(each).map((address) => ({ chassis: each.name, address })),
    ),
    interfaces: new Set([
      ...underlay.interfacesWith(own),
      ...[...tunnels.values()].map(({ route }) => route.ifindex),
    ]),
    relay,
    problems,
  };
}
