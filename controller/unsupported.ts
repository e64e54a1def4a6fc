import { compareText } from '../common/compare.js';
import type { Uuid } from '../common/addresses.js';
import type { Model } from './model.js';
import type { LogicalSwitch, LogicalSwitchPort, NorthboundContents } from './northbound.js';

/** Something that the northbound database asks for and this version does not do. */
export interface Unsupported {
  readonly kind: string;
  /** Its name, or what else people know it by. */
  readonly object: string;
  readonly uuid: string;
  /** What does not happen, in one sentence. */
  readonly detail: string;
}

/** Everything that is asked for and not done, sorted by kind and object. */
export function listUnsupported(model: Model): readonly Unsupported[] {
  const found = [...wholeTables(model.nb), ...switchFeatures(model.nb), ...portFeatures(model.nb)];
  return found.sort(
    (a, b) => compareText(a.kind, b.kind) || compareText(a.object, b.object) || compareText(a.uuid, b.uuid),
  );
}

/** Tables of which every row is something that is not done. */
function* wholeTables(nb: NorthboundContents): Iterable<Unsupported> {
  yield* acls(nb);
  for (const row of nb.qos)
    yield entry('QoS', row, row.match, 'No packet is marked or rate-limited by this rule.');
  for (const row of nb.loadBalancer) {
    const vips = [...row.vips.keys()].sort().join(' ');
    yield entry('Load_Balancer', row, row.name, `Nothing answers at its addresses (${vips}).`);
  }
  for (const row of nb.loadBalancerGroup) {
    yield entry('Load_Balancer_Group', row, row.name, 'No load balancer of this group does anything.');
  }
  for (const row of nb.loadBalancerHealthCheck) {
    yield entry('Load_Balancer_Health_Check', row, row.vip, 'No back-end is checked.');
  }
  yield* routing(nb);
  for (const row of nb.dhcpOptions)
    yield entry('DHCP_Options', row, row.cidr, 'No DHCP request is answered.');
  for (const row of nb.dns) {
    const names = [...row.records.keys()].sort().slice(0, 3).join(' ');
    yield entry('DNS', row, names, 'No DNS query is answered.');
  }
  for (const row of nb.meter) yield entry('Meter', row, row.name, 'Nothing is limited by this meter.');
  for (const row of nb.mirror) yield entry('Mirror', row, row.name, 'No packet is mirrored.');
  for (const row of nb.forwardingGroup) {
    yield entry(
      'Forwarding_Group',
      row,
      row.name,
      'Its virtual address is not forwarded to any of its ports.',
    );
  }
  for (const row of nb.copp) yield entry('Copp', row, row.name, 'No control-plane traffic is limited by it.');
}

function* acls(nb: NorthboundContents): Iterable<Unsupported> {
  const owners = new Map<Uuid, string>();
  for (const row of nb.logicalSwitch) for (const acl of row.acls) owners.set(acl, `switch ${row.name}`);
  for (const row of nb.portGroup) for (const acl of row.acls) owners.set(acl, `port group ${row.name}`);
  for (const row of nb.acl) {
    const name = row.name ?? `${row.direction} ${row.priority} ${row.match}`;
    const owner = owners.get(row._uuid) ?? 'nothing';
    yield entry(
      'ACL',
      row,
      name,
      `The rule (${row.action}, on ${owner}) is not enforced: packets pass as if it did not exist.`,
    );
  }
  for (const row of nb.portGroup) {
    if (row.acls.length === 0) continue;
    yield entry('Port_Group', row, row.name, 'The ACLs of this group are not enforced on its ports.');
  }
}

function* routing(nb: NorthboundContents): Iterable<Unsupported> {
  for (const row of nb.logicalRouter) {
    yield entry('Logical_Router', row, row.name, 'No packet is routed between its networks.');
  }
  for (const row of nb.logicalRouterPort) {
    yield entry('Logical_Router_Port', row, row.name, 'Nothing answers at this router address.');
  }
  for (const row of nb.staticRoute) {
    yield entry(
      'Logical_Router_Static_Route',
      row,
      `${row.ip_prefix} via ${row.nexthop}`,
      'The route is not used.',
    );
  }
  for (const row of nb.routerPolicy) {
    yield entry('Logical_Router_Policy', row, row.match, 'The policy is not applied.');
  }
  for (const row of nb.nat) {
    const name = `${row.type} ${row.external_ip} ${row.logical_ip}`;
    yield entry('NAT', row, name, 'No address is translated.');
  }
  for (const row of nb.gatewayChassis) {
    yield entry('Gateway_Chassis', row, row.name, 'The chassis does not become a gateway.');
  }
  for (const row of nb.haChassisGroup) {
    yield entry('HA_Chassis_Group', row, row.name, 'No chassis of the group takes over for another.');
  }
  for (const row of nb.bfd) {
    yield entry('BFD', row, `${row.logical_port} ${row.dst_ip}`, 'The session is never up.');
  }
  for (const row of nb.staticMacBinding) {
    yield entry('Static_MAC_Binding', row, `${row.logical_port} ${row.ip}`, 'The binding is not used.');
  }
}

function* switchFeatures(nb: NorthboundContents): Iterable<Unsupported> {
  for (const row of nb.logicalSwitch) {
    const { other_config: config } = row;
    if (config.get('mcast_snoop') !== 'true') continue;
    const whose = config.get('mcast_flood_unregistered') === 'true' ? ' that somebody has joined' : '';
    const detail = `IGMP and MLD are not snooped: multicast to a group${whose} goes to every port.`;
    yield onSwitch(row, 'mcast_snoop', detail);
  }
}

function onSwitch(row: LogicalSwitch, option: string, detail: string): Unsupported {
  return { kind: `other_config:${option}`, object: row.name, uuid: row._uuid, detail };
}

/** Of the other types of port nothing is done. */
const supportedTypes: ReadonlySet<string> = new Set(['', 'localport', 'localnet']);

const portTypes: ReadonlyMap<string, string> = new Map([
  ['router', 'The switch is not connected to its router.'],
  ['l2gateway', 'The switch is not connected to a physical network.'],
  ['vtep', 'The switch is not connected to the VTEP gateway.'],
  ['virtual', 'The virtual address is not bound to any of its parents.'],
  ['external', 'No chassis serves this port.'],
  ['remote', 'The port in the other availability zone is not reached.'],
  ['patch', 'The two switches are not connected.'],
  ['switch', 'The two switches are not connected.'],
]);

function* portFeatures(nb: NorthboundContents): Iterable<Unsupported> {
  for (const row of nb.logicalSwitchPort) {
    if (!supportedTypes.has(row.type)) {
      yield onPort(
        row,
        `type ${row.type}`,
        portTypes.get(row.type) ?? 'Nothing is done for a port of this type.',
      );
      continue;
    }
    if (row.dhcpv4_options !== undefined)
      yield onPort(row, 'dhcpv4_options', 'The port gets no answer to DHCP.');
    if (row.dhcpv6_options !== undefined)
      yield onPort(row, 'dhcpv6_options', 'The port gets no answer to DHCPv6.');
    if (row.mirror_rules.length > 0)
      yield onPort(row, 'mirror_rules', 'The traffic of this port is not mirrored.');
    yield* portOptions(row);
  }
}

const portOptionDetails: ReadonlyMap<string, string> = new Map([
  ['arp_proxy', 'No ARP request or neighbour solicitation is answered by proxy.'],
  ['qos_max_rate', 'The rate is not limited.'],
  ['qos_min_rate', 'No rate is guaranteed.'],
  ['qos_burst', 'The burst is not limited.'],
  ['activation-strategy', 'The port is active on every chassis from the start.'],
  ['hostname', 'The host name is not given out by DHCP.'],
]);

function* portOptions(row: LogicalSwitchPort): Iterable<Unsupported> {
  for (const [option, detail] of portOptionDetails) {
    const value = row.options.get(option);
    if (value !== undefined && value !== '' && value !== 'false')
      yield onPort(row, `options:${option}`, detail);
  }
}

function onPort(row: LogicalSwitchPort, what: string, detail: string): Unsupported {
  return { kind: `Logical_Switch_Port ${what}`, object: row.name, uuid: row._uuid, detail };
}

function entry(kind: string, row: { readonly _uuid: Uuid }, object: string, detail: string): Unsupported {
  return { kind, object: object === '' ? row._uuid : object, uuid: row._uuid, detail };
}
