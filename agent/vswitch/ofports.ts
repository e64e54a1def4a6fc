import type { InterfaceRow } from './tables.js';
import { type BridgeInterfaces, isLocalInterface } from './topology.js';

/** OpenFlow's OFPP_LOCAL, the port of the bridge's own interface. */
const localPort = 65534;
/** The range of ofport_request; numbers above are OpenFlow's own. */
const maximumPort = 65279;

function isPort(ofport: number | undefined): ofport is number {
  return ofport !== undefined && ofport >= 1 && ofport <= maximumPort;
}

/**
 * Interface.ofport of each usable interface of one bridge, by Interface.name; the others get -1. A request comes first,
 * then what an interface has already, then the lowest free number; of two that want one number the first by name has it.
 */
export function assignOfports(
  { bridge, interfaces }: BridgeInterfaces,
  isUsable: (row: InterfaceRow) => boolean,
): ReadonlyMap<string, number> {
  const assigned = new Map<string, number>();
  const taken = new Set<number>();
  const take = (row: InterfaceRow, ofport: number | undefined): void => {
    if (!isPort(ofport) || taken.has(ofport) || assigned.has(row.name)) return;
    taken.add(ofport);
    assigned.set(row.name, ofport);
  };
  for (const row of interfaces) {
    if (isLocalInterface(bridge, row)) assigned.set(row.name, localPort);
    else if (!isUsable(row)) assigned.set(row.name, -1);
  }
  for (const row of interfaces) take(row, row.ofport_request);
  for (const row of interfaces) take(row, row.ofport);
  let next = 1;
  for (const row of interfaces) {
    while (taken.has(next)) next++;
    take(row, next);
    if (!assigned.has(row.name)) assigned.set(row.name, -1);
  }
  return assigned;
}
