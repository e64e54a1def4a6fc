import type { Ifindex } from '../../common/addresses.js';
import { byName, compareText } from '../../common/compare.js';
import { constants } from '../../generated/bpf/layouts.js';
import type { Intent, PortIntent } from '../intent.js';
import type { Link } from '../links.js';
import { type LocalPort, localPort } from '../local-ports.js';
import { type PluggedPort, portRef } from '../modules/io-module.js';
import type { ResourceProblem } from '../resources.js';
import type { Uplinks } from '../vswitch/bridge-mappings.js';

/** The localnet ports of this node, by name, and what is wrong with the others. */
export interface Localnets {
  readonly ports: readonly LocalPort[];
  readonly problems: readonly ResourceProblem[];
}

/** The localnet port by which each switch reaches its ports on other nodes: of several the first by name. */
export function localnetsByDatapath(plugged: readonly PluggedPort[]): ReadonlyMap<number, PluggedPort> {
  const found = new Map<number, PluggedPort>();
  const localnets = plugged.filter(({ port }) => port.type === 'localnet');
  for (const each of localnets.toSorted((a, b) => compareText(b.port.name, a.port.name)))
    found.set(each.datapathKey, each);
  return found;
}

/** In ovn-controller's words, because people and scripts look for them. */
function notFound({ name, networkName }: PortIntent, reason: string | undefined): string {
  const message = `bridge not found for localnet port '${name}' with network name '${networkName}'`;
  const missing = `ovn-bridge-mappings does not map ${networkName}`;
  return `${message}: ${reason ?? missing}`;
}

type Place = Pick<PluggedPort, 'device' | 'vlanId'>;

function placeKey({ device, vlanId }: Place): string {
  return `${device.ifindex}/${vlanId}`;
}

/** Localnet ports with the same uplink and VLAN, by slot: what comes there is for all of them, and what one sends for the others. */
export function localnetsByPlace(plugged: readonly PluggedPort[]): (place: Place) => readonly PluggedPort[] {
  const places = new Map<string, PluggedPort[]>();
  const localnets = plugged.filter(({ port }) => port.type === 'localnet');
  for (const each of localnets.toSorted((a, b) => a.slot - b.slot)) {
    const key = placeKey(each);
    places.set(key, [...(places.get(key) ?? []), each]);
  }
  return (place) => places.get(placeKey(place)) ?? [];
}

/** Who has which VLAN of which uplink: ports of different switches, as a switch with two would send everything to itself. */
class Places {
  readonly #holders = new Map<string, PortIntent[]>();

  /** Why the place can't be this port's, too; undefined when it is. */
  take(device: Link, port: PortIntent): string | undefined {
    const key = placeKey({ device, vlanId: port.tag });
    const holders = this.#holders.get(key) ?? [];
    const rival = holders.find(({ switchId }) => switchId === port.switchId);
    const what = `${port.tag === 0 ? 'what is untagged' : `tag ${port.tag}`} on ${device.name}`;
    if (rival !== undefined) return `${what} is ${rival.name}'s of the same switch`;
    if (holders.length === constants.MAX_LOCALNETS_OF_PLACE)
      return `${what} is that of ${holders.length} other switches, which is the most there can be`;
    this.#holders.set(key, [...holders, port]);
    return undefined;
  }
}

/**
 * The localnet ports of the node's switches whose physical network it is connected to. `taps` are the interfaces of other
 * ports, which can't be uplinks.
 */
export function findLocalnets(
  intent: Intent,
  uplinks: Uplinks,
  taps: ReadonlySet<Ifindex> = new Set(),
): Localnets {
  const ports: LocalPort[] = [];
  const problems: ResourceProblem[] = [];
  const places = new Places();
  const wanted = [...intent.ports.values()].filter(
    ({ type, networkName }) => type === 'localnet' && networkName !== '',
  );
  for (const port of wanted.sort(byName)) {
    const uplink = uplinks.get(port.networkName) ?? { error: undefined };
    if ('error' in uplink) {
      problems.push({ ...portRef(port), code: 'no_uplink', message: notFound(port, uplink.error) });
      continue;
    }
    const { device } = uplink;
    const conflict = taps.has(device.ifindex)
      ? `${device.name} is the interface of another logical port`
      : places.take(device, port);
    if (conflict !== undefined) problems.push({ ...portRef(port), code: 'invalid', message: conflict });
    else ports.push(...localPort(intent, port, { interfaceName: device.name, device, awaits: [] }, ''));
  }
  return { ports, problems };
}
