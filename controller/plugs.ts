import { byName } from '../common/compare.js';
import type { Interface } from '../generated/proto/iovn/v1/Interface.js';
import { sameInterface } from './agent-report.js';

/** An interface of a node that may claim the port named by its iface-id, and what is remembered of it. */
export interface PlugState {
  readonly interface: Interface;
  /** See `Plug.order`. */
  readonly order: number;
  /** See `Plug.spent`. */
  readonly spent: boolean;
}

/** By iface-id. */
export type Plugs = ReadonlyMap<string, PlugState>;

/**
 * The plugs after a report. An interface that was there keeps its place in the order of plugs; a new one gets
 * `nextOrder`, and 0 when the report is the first of a connection, since nobody knows how long it has been there.
 * Of several interfaces with one iface-id the one that was there, then the first by name, counts.
 */
export function mergePlugs(
  previous: Plugs,
  interfaces: readonly Interface[],
  firstReport: boolean,
  nextOrder: () => number,
): Plugs {
  const plugs = new Map<string, PlugState>();
  const usable = interfaces.filter((candidate) => candidate.iface_id !== '' && candidate.error === '');
  for (const candidate of [...usable].sort(byName)) {
    const before = previous.get(candidate.iface_id);
    const isSame = before !== undefined && isSamePlug(before.interface, candidate);
    if (plugs.has(candidate.iface_id) && !isSame) continue;
    const place = isSame ? before : { order: firstReport ? 0 : nextOrder(), spent: false };
    plugs.set(candidate.iface_id, { interface: candidate, order: place.order, spent: place.spent });
  }
  return plugs;
}

/** The iface-ids for which two reports differ. */
export function changedPlugs(before: Plugs, after: Plugs): readonly string[] {
  const ids = new Set([...before.keys(), ...after.keys()]);
  return [...ids].filter((id) => !sameInterface(before.get(id)?.interface, after.get(id)?.interface));
}

/** The same device, without having been away in between as far as one can tell. */
function isSamePlug(a: Interface, b: Interface): boolean {
  return a.name === b.name && a.ifindex === b.ifindex;
}
