import type { FdbStatus } from '../generated/proto/iovn/v1/FdbStatus.js';
import type { Node } from '../generated/proto/iovn/v1/Node.js';
import type { PortStatus } from '../generated/proto/iovn/v1/PortStatus.js';
import type { Status } from '../generated/proto/iovn/v1/Status.js';
import type { SwitchStatus } from '../generated/proto/iovn/v1/SwitchStatus.js';
import { formatDuration } from '../common/duration.js';
import { formatPairs, formatTable } from './table.js';

/** Lines with a heading before them and an empty line between, nothing at all when there are none. */
function section(heading: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ['', heading, ...lines.map((line) => `  ${line}`)];
}

/** `iovn status`. `now` is in seconds since the epoch, as the reply's times are. */
export function statusView(reply: Status, now: number): readonly string[] {
  const databases = reply.databases.map((each) => [
    each.database,
    `${each.state} for ${formatDuration(now - each.since)}`,
    each.remote,
    each.error,
  ]);
  const unsupported = reply.unsupported.map((each) => [each.kind, each.object || each.uuid, each.detail]);
  const invalid = reply.invalid.map((each) => [
    each.table,
    each.object || each.uuid,
    each.column,
    each.value,
    each.reason,
  ]);
  return [
    ...formatPairs([
      ['Controller', `${reply.version}, running for ${formatDuration(now - reply.started_at)}`],
      ['Nodes', nodesText(reply)],
      ['Switches', String(reply.switches)],
      ['Ports', `${reply.ports}, ${reply.ports_up} of them up`],
      [
        'nb_cfg',
        `northbound ${reply.nb_cfg_nb}, southbound ${reply.nb_cfg_sb}, all nodes ${reply.nb_cfg_nodes}`,
      ],
    ]),
    ...section('Databases', formatTable(['DATABASE', 'STATE', 'REMOTE', 'ERROR'], databases)),
    ...section(
      'Nodes that are gone',
      formatTable(
        ['NODE', 'SINCE'],
        reply.absent_nodes.map(({ name, since }) => [name, goneSince(since, now)]),
      ),
    ),
    ...section(
      `Asked for in the northbound database, and not done by this version: ${unsupported.length}`,
      formatTable(['KIND', 'OBJECT', 'WHAT DOES NOT HAPPEN'], unsupported),
    ),
    ...section(
      `Rows whose content can't be used: ${invalid.length}`,
      formatTable(['TABLE', 'OBJECT', 'COLUMN', 'VALUE', 'WHY'], invalid),
    ),
  ];
}

function nodesText({ nodes_connected: connected, absent_nodes: { length: absent } }: Status): string {
  return absent === 0 ? `${connected} connected` : `${connected} connected, ${absent} gone`;
}

function goneSince(since: number, now: number): string {
  if (since === 0) return 'before this controller started';
  return `${new Date(since * 1000).toISOString()}, ${formatDuration(now - since)} ago`;
}

/** `iovn switch show`. */
export function switchesView(switches: readonly SwitchStatus[]): readonly string[] {
  if (switches.length === 0) return ['no switches'];
  const rows = switches.map((each) => [
    each.name,
    String(each.datapath_key),
    String(each.port_count),
    String(each.ports_up),
    String(each.learned_macs),
    each.nodes.join(' '),
    each.localnets.map(localnetText).join('; '),
    each.nb_uuid,
  ]);
  return formatTable(['SWITCH', 'KEY', 'PORTS', 'UP', 'LEARNT MACS', 'NODES', 'LOCALNET', 'NB ROW'], rows);
}

function localnetText({ port, network_name: network, tag }: SwitchStatus['localnets'][number]): string {
  return `${port} to ${network === '' ? 'no network' : network}${tag === 0 ? '' : `, VLAN ${tag}`}`;
}

/** `iovn switch show SWITCH`. */
export function switchView(of: SwitchStatus): readonly string[] {
  const age = of.fdb_age_threshold_seconds;
  const groups = of.groups.map(({ name, tunnel_key: key, ports }) => [
    groupNames[name] ?? name,
    String(key),
    String(ports.length),
    ports.join(' '),
  ]);
  const datapath = `Datapath_Binding ${of.datapath}, tunnel key ${of.datapath_key}`;
  return [
    ...formatPairs([
      ['Switch', of.name],
      ['NB row', `Logical_Switch ${of.nb_uuid}`],
      ['SB row', of.datapath === '' ? 'none yet: ovn-northd has not made one' : datapath],
      ['Ports', `${of.port_count}, ${of.ports_up} of them up`],
      ['Nodes', of.nodes.join(', ')],
      ['Localnet', of.localnets.map(localnetText).join('; ')],
      ['VLAN tags', of.vlan_passthru ? 'pass' : 'are dropped'],
      ['Learnt MACs', `${of.learned_macs}, ${age === 0 ? 'which do not age' : `forgotten after ${age} s`}`],
    ]),
    '',
    ...portsView(of.ports),
    ...section('Groups', formatTable(['FRAMES', 'KEY', 'PORTS', 'MEMBERS'], groups)),
  ];
}

/** What goes to the members of the groups that every switch may have. */
const groupNames: Readonly<Record<string, string>> = {
  _MC_flood: 'flood: broadcast and multicast',
  _MC_flood_l2: 'flood to all but routers',
  _MC_unknown: 'unknown: to a MAC that no port lists',
};

/** `iovn ports`. */
export function portsView(ports: readonly PortStatus[]): readonly string[] {
  if (ports.length === 0) return ['no ports'];
  const rows = ports.map((port) => [
    port.name,
    port.switch,
    portState(port),
    portNodes(port),
    port.interface,
    `${port.datapath_key}/${port.port_key}`,
    port.addresses.join(', '),
    port.problems.join('; '),
  ]);
  return formatTable(['PORT', 'SWITCH', 'STATE', 'NODE', 'INTERFACE', 'KEYS', 'ADDRESSES', 'PROBLEMS'], rows);
}

/** The main chassis, then the additional ones. */
function portNodes({
  chassis,
  additional_chassis: additional,
  awaiting_chassis: awaiting,
}: PortStatus): string {
  const others = additional.map((name) =>
    awaiting.includes(name) ? `${name} (additional, waits for activation)` : `${name} (additional)`,
  );
  return [...(chassis === '' ? [] : [chassis]), ...others].join(', ');
}

function portState({ up, enabled }: PortStatus): string {
  return `${up ? 'up' : 'down'}${enabled ? '' : ', disabled'}`;
}

/** `iovn fdb`. */
export function fdbView(entries: readonly FdbStatus[], now: number): readonly string[] {
  if (entries.length === 0) return ['no learnt MACs'];
  const rows = entries.map((entry) => [
    entry.mac,
    entry.switch,
    entry.port,
    entry.node,
    `${entry.datapath_key}/${entry.port_key}`,
    entry.seen_at === 0 ? '' : `${formatDuration(now - entry.seen_at)} ago`,
  ]);
  return formatTable(['MAC', 'SWITCH', 'PORT', 'NODE', 'KEYS', 'SEEN'], rows);
}

/** `iovn node list`. */
export function nodesView(nodes: readonly Node[], now: number): readonly string[] {
  if (nodes.length === 0) return ['no nodes'];
  const rows = nodes.map((node) => [
    node.chassis?.name ?? '',
    node.chassis?.hostname ?? '',
    connection(node, now),
    encaps(node),
    String(node.ports),
    `${node.generation_applied} of ${node.generation_sent}`,
    node.nb_cfg,
    String(problemCount(node)),
  ]);
  const headings = ['NODE', 'HOSTNAME', 'STATE', 'ENCAPS', 'PORTS', 'APPLIED', 'NB_CFG', 'PROBLEMS'];
  return formatTable(headings, rows);
}

/** `iovn node show`. */
export function nodeView(node: Node, now: number): readonly string[] {
  const interfaces = node.interfaces.map((each) => [
    each.name,
    each.iface_id,
    String(each.ifindex),
    each.link_up ? 'up' : 'down',
    each.installed_binding === '' ? 'no' : 'yes',
    each.role === 'waiting' ? 'additional, waits for activation' : each.role,
    each.error || each.install_error,
  ]);
  const errors = node.errors.map((each) => [
    each.id?.kind ?? '',
    each.id?.name ?? '',
    each.code,
    each.message,
  ]);
  const tunnels = (node.status?.tunnels ?? []).map((each) => [
    each.chassis,
    each.type,
    each.local_ip,
    each.remote_ip,
    each.interface,
    String(each.mtu),
    each.tunnel_device || 'own program',
  ]);
  const maps = (node.status?.maps ?? []).map((each) => [each.name, each.entries, each.capacity]);
  return [
    ...formatPairs([
      ['Node', node.chassis?.name ?? ''],
      ['Hostname', node.chassis?.hostname ?? ''],
      ['State', connection(node, now)],
      ['Peer', node.peer],
      ['Encaps', encaps(node)],
      ['Agent', node.agent_version],
      ['Kernel', [node.kernel_release, ...node.kernel_features].join(' ').trim()],
      ['Attached by', node.status?.attach_mode ?? ''],
      ...ownGeneve(node),
      ['Switches', String(node.switches)],
      ['Ports', String(node.ports)],
      ['Generation', `${node.generation_applied} applied, ${node.generation_sent} sent`],
      ['nb_cfg', node.nb_cfg],
      ['Last apply', `${(node.last_apply_seconds * 1000).toFixed(1)} ms`],
      ['Drift repaired', node.status?.drift_repaired ?? ''],
    ]),
    ...section(
      'Interfaces',
      formatTable(['INTERFACE', 'PORT', 'IFINDEX', 'LINK', 'INSTALLED', 'AS', 'PROBLEM'], interfaces),
    ),
    ...section('Tunnels', formatTable(['TO', 'TYPE', 'FROM', 'REMOTE', 'INTERFACE', 'MTU', 'BY'], tunnels)),
    ...section('Could not be applied', formatTable(['KIND', 'NAME', 'CODE', 'WHY'], errors)),
    ...section('Kernel maps', formatTable(['MAP', 'ENTRIES', 'CAPACITY'], maps)),
  ];
}

function ownGeneve({ status }: Node): readonly (readonly [string, string])[] {
  const reason = status?.own_geneve ?? '';
  return reason === '' ? [] : [['Geneve', `by our own program: ${reason}`]];
}

function connection({ connected, since }: Node, now: number): string {
  const state = connected ? 'connected' : 'disconnected';
  if (since === 0) return `${state}, not seen since this controller started`;
  return `${state} for ${formatDuration(now - since)}`;
}

function encaps(node: Node): string {
  return (node.chassis?.encaps ?? []).map(({ type, ip }) => `${type} ${ip}`).join(', ');
}

function problemCount({ errors, interfaces }: Node): number {
  return errors.length + interfaces.filter((each) => each.error !== '' || each.install_error !== '').length;
}
