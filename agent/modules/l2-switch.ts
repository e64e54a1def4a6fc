import { type Mac, macBytes } from '../../common/addresses.js';
import {
  constants,
  encodeDestination,
  encodeInterfaceKey,
  encodeMacKey,
  encodeMember,
  encodeMemberKey,
  encodePort,
  portFlags,
} from '../../generated/bpf/layouts.js';
import type { PortIntent } from '../intent.js';
import { localnetsByDatapath, localnetsByPlace } from '../localnet/localnets.js';
import type { ResourceProblem } from '../resources.js';
import {
  hexKey,
  type IoModule,
  type ModuleInput,
  type ModuleOutput,
  type PluggedPort,
  portRef,
  type SwitchPort,
  type TableEntry,
} from './io-module.js';
import { encodeUint32 } from './uint32.js';
import { isAtSeveralPlaces, sourceOf, type TunnelPlan } from '../tunnels/tunnels.js';

/** Tunnel keys are below 2^24 and 2^16. */
function numericKey(datapathKey: number, key: number): number {
  return datapathKey * 2 ** 16 + key;
}

const awaitFlags: ReadonlyMap<string, number> = new Map([
  ['rarp', portFlags.PORT_AWAITS_RARP],
  ['garp', portFlags.PORT_AWAITS_GARP],
  ['na', portFlags.PORT_AWAITS_NA],
]);
const serviceTag = 0x88a8;

function flagsOf({ port, device, vlanPassthru, awaits }: PluggedPort): number {
  let flags = 0;
  for (const strategy of awaits) flags |= awaitFlags.get(strategy) ?? 0;
  if (vlanPassthru) flags |= portFlags.PORT_VLAN_PASSTHRU;
  if (port.enabled) flags |= portFlags.PORT_ENABLED;
  if (port.learnsMacs) flags |= portFlags.PORT_LEARNS;
  if (port.portSecurity.length > 0) flags |= portFlags.PORT_SECURITY;
  if (port.type === 'localport') flags |= portFlags.PORT_LOCALPORT;
  // What leaves by an uplink is on the wire, whoever holds the other end.
  if (port.type === 'localnet') flags |= portFlags.PORT_LOCALNET;
  else if (device.kind === 'veth' && device.peerInOtherNamespace) flags |= portFlags.PORT_REDIRECT_PEER;
  if (port.type === 'localnet' && port.ethtype === serviceTag) flags |= portFlags.PORT_SERVICE_TAG;
  const allListIp6 = port.portSecurity.every(({ addresses }) =>
    addresses.some(({ address }) => address.length === 16),
  );
  if (!allListIp6) flags |= portFlags.PORT_ANY_ND_TARGET;
  return flags;
}

/** Its slot, 0 where there is no other: behind the last is the first. */
function nextOf(plugged: PluggedPort, sharers: readonly PluggedPort[]): number {
  if (sharers.length < 2) return 0;
  return (sharers[sharers.indexOf(plugged) + 1] ?? sharers[0])?.slot ?? 0;
}

function portEntries(
  plugged: PluggedPort,
  tunnelPlan: TunnelPlan,
  localnets: ReadonlyMap<number, PluggedPort>,
  sharers: readonly PluggedPort[],
): TableEntry[] {
  const { port, datapathKey, device, vlanId, slot } = plugged;
  const owner = portRef(port);
  const value = encodePort({
    datapathKey,
    portKey: port.portKey,
    ifindex: device.ifindex,
    flags: flagsOf(plugged) + sourceOf(plugged, tunnelPlan) * 2 ** constants.PORT_SOURCE_SHIFT,
    vlanId,
    sharers: Math.max(sharers.length - 1, 0),
    // As in OVN, what a port at several places sends goes to ports on other nodes by tunnels: the physical network would take it to
    // move from place to place.
    localnetSlot: isAtSeveralPlaces(plugged, slot, tunnelPlan) ? 0 : (localnets.get(datapathKey)?.slot ?? 0),
    nextSharer: nextOf(plugged, sharers),
  });
  return [
    { table: 'ports', key: hexKey(encodeUint32(slot)), value, owner },
    {
      table: 'ports_by_interface',
      key: hexKey(encodeInterfaceKey({ ifindex: device.ifindex, vlanId })),
      value: encodeUint32(sharers[0]?.slot ?? slot),
      owner,
    },
  ];
}

function duplicateMac(port: PortIntent, mac: Mac, holder: PortIntent): ResourceProblem {
  const message = `${mac} is already an address of ${holder.name} of the same switch`;
  return { ...portRef(port), code: 'duplicate_mac', message };
}

interface PortDestinations {
  readonly datapathKey: number;
  readonly slot: number;
  /** One for each of the port's MACs, in their order. */
  readonly entries: readonly TableEntry[];
}

/** Ports are immutable: what was encoded for one is good until it is replaced, moves to another switch or is plugged. */
const encodedDestinations = new WeakMap<PortIntent, PortDestinations>();

function encodeDestinations({ port, datapathKey }: SwitchPort, slot: number): PortDestinations {
  const known = encodedDestinations.get(port);
  if (known?.datapathKey === datapathKey && known.slot === slot) return known;
  const value = encodeDestination({ portKey: port.portKey, slot });
  const entries = port.macs.map((mac): TableEntry => {
    const key = hexKey(encodeMacKey({ datapathKey, mac: macBytes(mac) }));
    return { table: 'destinations', key, value, owner: portRef(port) };
  });
  const encoded = { datapathKey, slot, entries };
  encodedDestinations.set(port, encoded);
  return encoded;
}

/** Every MAC of every port; of several ports with one MAC in a switch the first has it. */
function destinations({ ports, plugged, tunnelPlan }: ModuleInput): ModuleOutput {
  const slots = new Map(plugged.map((each) => [numericKey(each.datapathKey, each.port.portKey), each.slot]));
  const holders = new Map<string, SwitchPort>();
  const entries: TableEntry[] = [];
  const problems: ResourceProblem[] = [];
  for (const each of ports) {
    const own = slots.get(numericKey(each.datapathKey, each.port.portKey)) ?? 0;
    const slot = isAtSeveralPlaces(each, own, tunnelPlan) ? 0 : own;
    for (const [index, entry] of encodeDestinations(each, slot).entries.entries()) {
      const holder = holders.get(entry.key);
      if (holder === undefined) {
        holders.set(entry.key, each);
        entries.push(entry);
      } else {
        const mac = each.port.macs[index];
        if (mac !== undefined) problems.push(duplicateMac(each.port, mac, holder.port));
      }
    }
  }
  return { entries, problems };
}

interface Group {
  readonly datapathKey: number;
  readonly groupKey: number;
  readonly members: PluggedPort[];
}

/** The enabled local members of each group, by slot; a port that is elsewhere, too, has a group of its own. */
function groupsOf({ plugged, tunnelPlan }: ModuleInput): readonly Group[] {
  const groups = new Map<number, Group>();
  for (const member of plugged) {
    if (!member.port.enabled) continue;
    const { multicastGroups, portKey } = member.port;
    const isCopied = isAtSeveralPlaces(member, member.slot, tunnelPlan);
    for (const groupKey of [...multicastGroups, ...(isCopied ? [portKey] : [])]) {
      const id = numericKey(member.datapathKey, groupKey);
      const group = groups.get(id) ?? { datapathKey: member.datapathKey, groupKey, members: [] };
      group.members.push(member);
      groups.set(id, group);
    }
  }
  return [...groups.values()];
}

/** From the head at slot 0 to each member in turn, and from the last to nobody. An entry belongs to the member whose slot is in its key. */
function listEntries({ datapathKey, groupKey, members }: Group): TableEntry[] {
  return [undefined, ...members].flatMap((member, index): TableEntry[] => {
    const next = members[index];
    const owner = member ?? next;
    if (owner === undefined) return [];
    return [
      {
        table: 'multicast_members',
        key: hexKey(encodeMemberKey({ datapathKey, groupKey, slot: member?.slot ?? 0 })),
        value: encodeMember({ nextSlot: next?.slot ?? 0 }),
        owner: portRef(owner.port),
      },
    ];
  });
}

/** The ports themselves, and OVN's logical switch: unicast by MAC, multicast groups (bpf/l2_switch.h). */
export const l2Switch: IoModule = {
  name: 'l2-switch',
  tables: ['ports', 'ports_by_interface', 'destinations', 'multicast_members'],
  compute: (input) => {
    const { entries, problems } = destinations(input);
    const lists = groupsOf(input).flatMap(listEntries);
    const localnets = localnetsByDatapath(input.plugged);
    const sharersOf = localnetsByPlace(input.plugged);
    const ports = input.plugged.flatMap((each) => {
      const sharers = each.port.type === 'localnet' ? sharersOf(each) : [];
      return portEntries(each, input.tunnelPlan, localnets, sharers);
    });
    return { entries: [...ports, ...entries, ...lists], problems };
  },
};
