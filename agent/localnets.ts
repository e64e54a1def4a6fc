import type { Ifindex } from '../common/addresses.js';
import type { Intent, PortIntent } from './intent.js';
import type { Link } from './links.js';
import { compareText, type LocalPort, localPort } from './local-ports.js';
import { type PluggedPort, portRef } from './modules/io-module.js';
import type { ResourceProblem } from './resources.js';
import type { Uplinks } from './vswitch/bridge-mappings.js';

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

/** What is told apart on one uplink only by its VLAN. */
class Places {
  readonly #holders = new Map<string, string>();

  /** Whose the place is already; undefined when it has become this port's. */
  take({ ifindex, name: uplink }: Link, { name, tag }: PortIntent): string | undefined {
    const place = `${ifindex}/${tag}`;
    const holder = this.#holders.get(place);
    if (holder === undefined) this.#holders.set(place, name);
    const what = tag === 0 ? 'what is untagged' : `tag ${tag}`;
    return holder === undefined ? undefined : `${what} on ${uplink} is ${holder}'s`;
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
  for (const port of wanted.sort((a, b) => compareText(a.name, b.name))) {
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
