import { macBytes } from '../common/addresses.js';
import { compareText } from '../common/compare.js';
import { v1 } from '../common/proto.js';
import type { NeighbourInput } from '../generated/proto/iovn/v1/Neighbour.js';
import type { PortInput } from '../generated/proto/iovn/v1/Port.js';
import type { PortSecurityInput } from '../generated/proto/iovn/v1/PortSecurity.js';
import { activationStrategies, awaitingChassis, unknownStrategies } from './activation.js';
import { hostsOf } from './chassis-store.js';
import { ageThresholdSeconds } from './fdb-learning.js';
import type { InvalidRow } from './invalid-row.js';
import { learnsMacs } from './learns-macs.js';
import { announced, localnetFields } from './localnet.js';
import { isDynamic, type MacAndAddresses, parseMacAndAddresses } from '../common/lsp-addresses.js';
import type { Model } from './model.js';
import type { LogicalSwitch, LogicalSwitchPort } from './northbound.js';
import { type IntentResource, type ResourceSet, resourceKey } from './resource.js';
import {
  type DatapathBinding,
  isLocalnet,
  logicalSwitchOf,
  parentOf,
  type PortBinding,
} from './southbound.js';

export interface DatapathIntent {
  readonly resources: ResourceSet;
  /** Names of the chassis that host its ports, sorted. */
  readonly hosts: readonly string[];
  readonly invalid: readonly InvalidRow[];
}

const nothing: DatapathIntent = { resources: new Map(), hosts: [], invalid: [] };

/**
 * The resources of one datapath, computed from its rows and nothing else: a Switch and its Ports. Empty for a router,
 * and as long as either database lacks its half of the switch.
 */
export function datapathIntent(model: Model, datapath: DatapathBinding | undefined): DatapathIntent {
  const switchUuid = datapath && logicalSwitchOf(datapath);
  const logicalSwitch = switchUuid && model.nb.logicalSwitch.get(switchUuid);
  if (!datapath || !logicalSwitch) return nothing;
  const invalid: InvalidRow[] = [];
  const resources = new Map<string, IntentResource>();
  put(
    resources,
    'Switch',
    datapath._uuid,
    v1.Switch.serialize({
      name: logicalSwitch.name,
      datapath_key: datapath.tunnel_key,
      nb_uuid: logicalSwitch._uuid,
      vlan_passthru: isTransparent(logicalSwitch),
      fdb_age_threshold_seconds: ageThresholdSeconds(datapath),
    }),
  );
  const groups = groupsByPort(model, datapath);
  const bindings = [...model.bindingsOn(datapath._uuid)].sort((a, b) =>
    compareText(a.logical_port, b.logical_port),
  );
  const context = { model, logicalSwitch, invalid, hasLocalnet: bindings.some(isLocalnet) };
  for (const binding of bindings) {
    const port = model.switchPort(binding.logical_port);
    if (port === undefined) continue;
    const message = portMessage(context, binding, port, groups.get(binding._uuid) ?? []);
    put(resources, 'Port', binding.logical_port, v1.Port.serialize(message));
  }
  return { resources, hosts: hostsOf(model, datapath._uuid), invalid };
}

/** What a port's message is made of beside its own rows, and where its invalid values are put. */
interface Context {
  readonly model: Model;
  readonly logicalSwitch: LogicalSwitch;
  readonly invalid: InvalidRow[];
  readonly hasLocalnet: boolean;
}

function portMessage(
  context: Context,
  binding: PortBinding,
  port: LogicalSwitchPort,
  groups: readonly number[],
): PortInput {
  const { model, invalid } = context;
  const entries = addressEntries(context, port);
  const macs = new Set(entries.map(({ mac }) => mac));
  const additional = model.additionalChassisNames(binding);
  for (const name of unknownStrategies(port)) {
    const reason = 'is not known: it is ignored, as in OVN';
    invalid.push(invalidEntry(port, 'options:activation-strategy', name, reason));
  }
  return {
    switch: binding.datapath,
    port_key: binding.tunnel_key,
    type: port.type,
    enabled: port.enabled ?? true,
    // Of a disabled port, too: frames to it are dropped, as in OVN, and not taken for frames to nobody.
    macs: [...macs].sort(compareText).map(macBytes),
    port_security: portSecurity(port, invalid),
    multicast_groups: [...groups].sort((a, b) => a - b),
    learns_macs: learnsMacs(port),
    chassis: model.chassisName(binding.chassis) ?? '',
    additional_chassis: [...additional],
    awaiting_chassis: [...awaitingChassis(binding, additional)],
    activated_by: [...activationStrategies(binding)],
    activating: activationStrategies(binding).length === 0 ? [] : allAddresses(entries),
    encap_ips: encapIps(model, binding),
    binding: binding._uuid,
    nb_uuid: port._uuid,
    neighbours: neighbours(context, port, entries),
    parent: parentOf(binding) ?? '',
    tag: parentOf(binding) === undefined ? 0 : (binding.tag ?? 0),
    announced: context.hasLocalnet ? announced(binding, entries) : null,
    ...(isLocalnet(binding) ? localnetFields(binding, port, invalid) : {}),
  };
}

/** The addresses that the port's chassis want for its tunnel packets. */
function encapIps({ sb }: Model, { encap, additional_encap: additional }: PortBinding): string[] {
  const ips = [encap, ...additional].flatMap((uuid) => (uuid && sb.encap.get(uuid)?.ip) ?? []);
  return [...new Set(ips)].sort(compareText);
}

/** ovn-nb(5) Logical_Switch_Port.addresses; `unknown` is membership in a multicast group, not a MAC. */
function addressEntries(context: Context, port: LogicalSwitchPort): readonly MacAndAddresses[] {
  return port.addresses.flatMap((entry) => addressEntry(context, port, entry) ?? []);
}

function addressEntry(
  { model, invalid }: Context,
  port: LogicalSwitchPort,
  entry: string,
): MacAndAddresses | undefined {
  if (entry === 'unknown') return undefined;
  if (entry === 'router') {
    const peer = model.routerPort(port.options.get('router-port') ?? '');
    return peer === undefined ? undefined : parseMacAndAddresses(peer.mac);
  }
  if (isDynamic(entry)) {
    // Not yet allocated: northd fills it in within the same change, or says why not.
    return parseMacAndAddresses(port.dynamic_addresses ?? '') ?? parseMacAndAddresses(entry);
  }
  const parsed = parseMacAndAddresses(entry);
  if (parsed === undefined) {
    invalid.push(
      invalidEntry(port, 'addresses', entry, 'does not start with a MAC address: the entry is ignored'),
    );
    return undefined;
  }
  if (parsed.rest !== '') invalid.push(invalidEntry(port, 'addresses', entry, notAnAddress(parsed.rest)));
  return parsed;
}

/** Frames with VLAN tags pass (ovn-nb(5) Logical_Switch.other_config:vlan-passthru). */
export function isTransparent(logicalSwitch: LogicalSwitch): boolean {
  return logicalSwitch.other_config.get('vlan-passthru') === 'true';
}

/**
 * The addresses for which OVN's ls_in_arp_rsp stage answers: not those of a port that also takes unknown MACs, since
 * whatever is behind it may answer itself.
 */
function neighbours(
  { logicalSwitch }: Context,
  port: LogicalSwitchPort,
  entries: readonly MacAndAddresses[],
): NeighbourInput[] {
  const silent = port.type === '' && port.options.get('disable_arp_nd_rsp') === 'true';
  if (
    isTransparent(logicalSwitch) ||
    silent ||
    port.type === 'external' ||
    port.addresses.includes('unknown')
  )
    return [];
  return allAddresses(entries);
}

function allAddresses(entries: readonly MacAndAddresses[]): NeighbourInput[] {
  const all = entries.flatMap(({ mac, addresses }) =>
    addresses.map(({ address }) => ({ address, mac: macBytes(mac) })),
  );
  return all.sort((a, b) => Buffer.compare(a.address, b.address) || Buffer.compare(a.mac, b.mac));
}

function portSecurity(port: LogicalSwitchPort, invalid: InvalidRow[]): PortSecurityInput[] {
  const entries: PortSecurityInput[] = [];
  for (const entry of [...port.port_security].sort(compareText)) {
    const parsed = parseMacAndAddresses(entry);
    if (parsed === undefined) {
      invalid.push(invalidEntry(port, 'port_security', entry, ignoredSecurity(port)));
      continue;
    }
    if (parsed.rest !== '')
      invalid.push(invalidEntry(port, 'port_security', entry, notAnAddress(parsed.rest)));
    entries.push({
      mac: macBytes(parsed.mac),
      addresses: parsed.addresses.map(({ address, prefixLength }) => ({
        address,
        prefix_length: prefixLength,
      })),
    });
  }
  return entries;
}

function ignoredSecurity(port: LogicalSwitchPort): string {
  const ignored = 'does not start with a MAC address: the entry is ignored, as in OVN';
  const others = port.port_security.some((entry) => parseMacAndAddresses(entry) !== undefined);
  return others ? ignored : `${ignored}, and the port has no port security at all`;
}

function notAnAddress(rest: string): string {
  return `"${rest}" is not an IP address: it and what follows are ignored, as in OVN`;
}

function invalidEntry(port: LogicalSwitchPort, column: string, value: string, reason: string): InvalidRow {
  return { table: 'Logical_Switch_Port', object: port.name, uuid: port._uuid, column, value, reason };
}

function groupsByPort(model: Model, datapath: DatapathBinding): ReadonlyMap<string, readonly number[]> {
  const groups = new Map<string, number[]>();
  for (const group of model.multicastGroups(datapath._uuid)) {
    for (const port of group.ports) {
      const keys = groups.get(port);
      if (keys === undefined) groups.set(port, [group.tunnel_key]);
      else keys.push(group.tunnel_key);
    }
  }
  return groups;
}

function put(
  resources: Map<string, IntentResource>,
  kind: 'Switch' | 'Port',
  name: string,
  body: Uint8Array,
) {
  const key = resourceKey(kind, name);
  resources.set(key, { key, kind, name, body });
}
