import type { Intent, PortIntent } from './intent.js';
import type { Link } from './links.js';
import type { VifInterface } from './vswitch/interfaces.js';

/** Names a port within the data plane: `DATAPATH_KEY/PORT_KEY`. */
export type SlotKey = `${number}/${number}`;

export function slotKey(datapathKey: number, portKey: number): SlotKey {
  return `${datapathKey}/${portKey}`;
}

/** A logical port that belongs on this node: bound to this chassis, a localport or a localnet port, with its interface here. */
export interface LocalPort {
  readonly port: PortIntent;
  readonly datapathKey: number;
  readonly key: SlotKey;
  /** Interface.name; of a nested port its parent's, of a localnet port its uplink's. */
  readonly interfaceName: string;
  readonly device: Link;
  /** Of a nested or localnet port that has its tag, else 0. */
  readonly vlanId: number;
  /** Of its switch. */
  readonly vlanPassthru: boolean;
}

type Place = Pick<LocalPort, 'interfaceName' | 'device'>;

export function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** None while its switch is not known. */
export function localPort(
  intent: Intent,
  port: PortIntent,
  { interfaceName, device }: Place,
): readonly LocalPort[] {
  const owner = intent.switches.get(port.switchId);
  if (owner === undefined) return [];
  const { datapathKey, vlanPassthru } = owner;
  const key = slotKey(datapathKey, port.portKey);
  return [{ port, datapathKey, key, interfaceName, device, vlanId: port.tag, vlanPassthru }];
}

/** A localport is on every node that has its interface and holds its switch; nobody claims it (ovn-sb(5) Port_Binding). */
function hasInterface(port: PortIntent, chassisName: string): boolean {
  return (
    port.type === 'localport' || (port.type === '' && port.parent === '' && port.chassis === chassisName)
  );
}

function nestedByParent(intent: Intent, chassisName: string): ReadonlyMap<string, readonly PortIntent[]> {
  const nested = new Map<string, PortIntent[]>();
  for (const port of intent.ports.values()) {
    if (port.parent === '' || port.type !== '' || port.chassis !== chassisName) continue;
    const siblings = nested.get(port.parent);
    if (siblings === undefined) nested.set(port.parent, [port]);
    else siblings.push(port);
  }
  for (const siblings of nested.values()) siblings.sort((a, b) => compareText(a.name, b.name));
  return nested;
}

/**
 * The ports to program on this node, by name of their interface's port, each followed by those nested in it: bound here
 * (or a localport) and with a usable interface.
 */
export function findLocalPorts(
  intent: Intent,
  interfaces: readonly VifInterface[],
  chassisName: string,
): readonly LocalPort[] {
  const nested = nestedByParent(intent, chassisName);
  const found = [...interfaces]
    .sort((a, b) => compareText(a.ifaceId, b.ifaceId))
    .flatMap(({ ifaceId, name, device, error }) => {
      const port = intent.ports.get(ifaceId);
      if (!port || !device || error !== undefined || !hasInterface(port, chassisName)) return [];
      const place = { interfaceName: name, device };
      const children = port.type === '' ? (nested.get(port.name) ?? []) : [];
      return [port, ...children].flatMap((each) => localPort(intent, each, place));
    });
  const taken = new Set<SlotKey>();
  return found.filter(({ key }) => {
    const isFree = !taken.has(key);
    taken.add(key);
    return isFree;
  });
}

/** Those of the nested ports that can't be told apart by their tag, and why, by name. */
export function nestedPortProblems(localPorts: readonly LocalPort[]): ReadonlyMap<string, string> {
  const holders = new Map<string, string>();
  const problems = new Map<string, string>();
  for (const { port, device, vlanId } of localPorts) {
    if (port.parent === '') continue;
    const place = `${device.ifindex}/${vlanId}`;
    const holder = holders.get(place);
    if (vlanId === 0) problems.set(port.name, `it has no tag by which to find it behind ${port.parent}`);
    else if (holder !== undefined)
      problems.set(port.name, `its tag ${vlanId} is ${holder}'s behind ${port.parent}`);
    else holders.set(place, port.name);
  }
  return problems;
}
