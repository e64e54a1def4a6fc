import { compareText } from '../common/compare.js';
import type { Uuid } from '../common/addresses.js';
import { v1 } from '../common/proto.js';
import type { Model } from './model.js';
import { type IntentResource, resourceKey, type ResourceSet } from './resource.js';
import type { Chassis } from './southbound.js';

/** A chassis as others need to know it, computed from its rows and nothing else; undefined when it has none. */
export function chassisResource(model: Model, name: string): IntentResource | undefined {
  const chassis = model.chassis(name);
  if (chassis === undefined) return undefined;
  const encaps = chassis.encaps
    .flatMap((uuid) => model.sb.encap.get(uuid) ?? [])
    .sort((a, b) => compareText(a.type, b.type) || compareText(a.ip, b.ip))
    .map(({ type, ip, options }) => ({ type, ip, options: Object.fromEntries([...options].sort()) }));
  const body = v1.RemoteChassis.serialize({ encaps });
  return { key: resourceKey('Chassis', name), kind: 'Chassis', name, body };
}

/** Whether two chassis make a tunnel (ovn-sb(5) Chassis.transport_zones): with a zone in common, or both without any. */
function shareZone(a: Chassis, b: Chassis): boolean {
  if (a.transport_zones.length === 0 && b.transport_zones.length === 0) return true;
  return a.transport_zones.some((zone) => b.transport_zones.includes(zone));
}

/** Every chassis as a resource, computed again only where rows changed. */
export class ChassisStore {
  readonly #resources = new Map<string, IntentResource>();
  readonly #zones = new Map<string, string>();

  /** Brings the named chassis up to date; returns those that differ now. */
  recompute(model: Model, names: Iterable<string>): ReadonlySet<string> {
    const changed = new Set<string>();
    for (const name of names) {
      const previous = this.#resources.get(name);
      const next = chassisResource(model, name);
      const zones = JSON.stringify(model.chassis(name)?.transport_zones.toSorted() ?? []);
      const same = previous && next ? Buffer.compare(previous.body, next.body) === 0 : previous === next;
      if (same && zones === (this.#zones.get(name) ?? '[]')) continue;
      changed.add(name);
      this.#zones.set(name, zones);
      if (next === undefined) {
        this.#resources.delete(name);
        this.#zones.delete(name);
      } else if (!same) {
        this.#resources.set(name, next);
      }
    }
    return changed;
  }

  all(): Iterable<IntentResource> {
    return this.#resources.values();
  }

  /** The chassis that a node is to reach, of those that host ports of its datapaths. */
  resourcesFor(model: Model, node: string, hosts: Iterable<string>): ResourceSet {
    const self = model.chassis(node);
    const found = new Map<string, IntentResource>();
    if (self === undefined) return found;
    for (const name of [...new Set(hosts)].sort(compareText)) {
      const chassis = name === node ? undefined : model.chassis(name);
      const resource = this.#resources.get(name);
      if (chassis && resource && shareZone(self, chassis)) found.set(resource.key, resource);
    }
    return found;
  }
}

/** Names of the chassis that host ports of a datapath, additional ones included, sorted. */
export function hostsOf(model: Model, datapath: Uuid): readonly string[] {
  const names = new Set<string>();
  for (const { chassis, additional_chassis: additional } of model.bindingsOn(datapath)) {
    for (const uuid of [chassis, ...additional]) {
      const name = model.chassisName(uuid);
      if (name !== undefined) names.add(name);
    }
  }
  return [...names].sort(compareText);
}
