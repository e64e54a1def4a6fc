import type { Link, Links } from '../links.js';
import { type BridgeInterfaces, isLocalInterface, type Topology } from './topology.js';

/** By the name of a physical network: the bridge, or the device, that leads there. */
export type BridgeMappings = ReadonlyMap<string, string>;

/** The interface by which a physical network is reached, or why there is none. */
export type Uplink = { readonly device: Link } | { readonly error: string };

/** By the name of the physical network. */
export type Uplinks = ReadonlyMap<string, Uplink>;

/** Reads `NETWORK:BRIDGE,…` (ovn-controller(8) external_ids:ovn-bridge-mappings). What can't be read is left out and put into `warnings`. */
export function parseBridgeMappings(text: string, warnings: string[]): BridgeMappings {
  const mappings = new Map<string, string>();
  const items = text.split(',').map((item) => item.trim());
  for (const item of items.filter((each) => each !== '')) {
    const [network = '', bridge = '', ...rest] = item.split(':').map((part) => part.trim());
    if (network === '' || bridge === '' || rest.length > 0) {
      warnings.push(`ovn-bridge-mappings: '${item}' is not NETWORK:BRIDGE`);
    } else if (mappings.has(network)) {
      warnings.push(`ovn-bridge-mappings: '${item}': ${network} is mapped already`);
    } else {
      mappings.set(network, bridge);
    }
  }
  return mappings;
}

/** Of several devices the only one that is no virtual one: a bridge may have taps and veths beside its uplink. */
function chooseUplink(bridge: string, devices: readonly Link[]): Uplink {
  const physical = devices.filter(({ kind }) => kind === '');
  const [only, ...others] = physical.length === 1 ? physical : devices;
  if (only === undefined) return { error: `bridge ${bridge} has no port that is a network device` };
  if (others.length === 0) return { device: only };
  const names = devices.map(({ name }) => name).join(', ');
  return { error: `which of ${names} is the uplink of bridge ${bridge} can not be told` };
}

function uplinkOfBridge({ bridge, interfaces }: BridgeInterfaces, links: Links): Uplink {
  const devices = interfaces
    .filter((row) => !isLocalInterface(bridge, row) && (row.type === '' || row.type === 'system'))
    .flatMap(({ name }) => links.get(name) ?? []);
  return chooseUplink(bridge.name, devices);
}

/**
 * Where each physical network is reached: by the uplink in the bridge that it is mapped to, or, where there is no such
 * bridge, by the device of that name.
 */
export function findUplinks(
  mappings: BridgeMappings,
  topology: Topology,
  integrationBridge: string,
  links: Links,
): Uplinks {
  const find = (name: string): Uplink => {
    if (name === integrationBridge) return { error: `${name} is the integration bridge` };
    const bridge = topology.bridges.find((each) => each.bridge.name === name);
    if (bridge !== undefined) return uplinkOfBridge(bridge, links);
    const device = links.get(name);
    return device ? { device } : { error: `there is neither a bridge nor a network device ${name}` };
  };
  return new Map([...mappings].map(([network, name]) => [network, find(name)]));
}
