import { compareText } from '../common/compare.js';
import type { Intent, PortIntent } from './intent.js';
import type { Link } from './links.js';
import type { VifInterface } from './vswitch/interfaces.js';

/** Names a port within the data plane: `DATAPATH_KEY/PORT_KEY`. */
export type SlotKey = `${number}/${number}`;

export function slotKey(datapathKey: number, portKey: number): SlotKey {
  return `${datapathKey}/${portKey}`;
}

/** What this node is to a port that belongs on it; '' = it is a localport or a localnet port, and bound nowhere. */
type Role = 'main' | 'additional' | '';

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
  readonly role: Role;
  /** It is blocked until it has sent one of these ("rarp" …); empty = it is not. Nested ports wait with their parent. */
  readonly awaits: readonly string[];
  /** It was to wait, and has sent one of them. */
  readonly activated: boolean;
}

type Place = Pick<LocalPort, 'interfaceName' | 'device' | 'awaits'>;

/** A localport is on every node that has its interface and holds its switch; nobody claims it (ovn-sb(5) Port_Binding). */
function roleOf(port: PortIntent, chassisName: string): Role | undefined {
  if (port.type === 'localport' || port.type === 'localnet') return '';
  if (port.type !== '') return undefined;
  if (port.chassis === chassisName) return 'main';
  return port.additionalChassis.includes(chassisName) ? 'additional' : undefined;
}

/** None while its switch is not known, or where the port does not belong. */
export function localPort(
  intent: Intent,
  port: PortIntent,
  place: Place,
  chassisName: string,
): readonly LocalPort[] {
  const owner = intent.switches.get(port.switchId);
  const role = roleOf(port, chassisName);
  if (owner === undefined || role === undefined) return [];
  const { datapathKey, vlanPassthru } = owner;
  const key = slotKey(datapathKey, port.portKey);
  return [{ ...place, port, datapathKey, key, vlanId: port.tag, vlanPassthru, role, activated: false }];
}

function nestedByParent(intent: Intent, chassisName: string): ReadonlyMap<string, readonly PortIntent[]> {
  const nested = new Map<string, PortIntent[]>();
  for (const port of intent.ports.values()) {
    if (port.parent === '' || roleOf(port, chassisName) === undefined) continue;
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
      if (!port || !device || error !== undefined || port.parent !== '') return [];
      if (roleOf(port, chassisName) === undefined) return [];
      const awaits = port.awaitingChassis.includes(chassisName) ? port.activatedBy : [];
      const place = { interfaceName: name, device, awaits };
      const children = port.type === '' ? (nested.get(port.name) ?? []) : [];
      return [port, ...children].flatMap((each) => localPort(intent, each, place, chassisName));
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
