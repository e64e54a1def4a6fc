import { byName, compareText } from '../../common/compare.js';
import { packageVersion } from '../../common/package-root.js';
import type { PortStatus } from '../../generated/proto/iovn/v1/PortStatus.js';
import type { Controller } from '../controller.js';
import type { Inspector } from '../inspect.js';
import type { LogicalSwitchPort } from '../northbound.js';
import { agentIdKey, type Chassis, isLocalnet, isLocalport, parentOf } from '../southbound.js';
import type { PortState, Topology, TopologyNode, TopologyPort, TopologySwitch } from './shapes.js';

const networkNameKey = 'neutron:network_name';
const portNameKey = 'neutron:port_name';

/** The logical network, the nodes, and how both stand. */
export function topologyOf(controller: Controller, inspector: Inspector): Topology {
  const { model } = controller;
  const status = new Map(inspector.ports('', '').ports.map((port) => [port.name, port]));
  const plugged = pluggedIds(controller);
  const switches: TopologySwitch[] = [];
  const ports: TopologyPort[] = [];
  for (const { _uuid: uuid, name, external_ids: ids, ports: portIds } of model.nb.logicalSwitch) {
    switches.push({ uuid, name, neutron_name: ids.get(networkNameKey) ?? '' });
    for (const portId of portIds) {
      const row = model.nb.logicalSwitchPort.get(portId);
      if (row === undefined) continue;
      const of = status.get(row.name);
      if (of !== undefined) ports.push(portOf(row, uuid, of, stateOf(controller, plugged, of)));
    }
  }
  return {
    version: packageVersion,
    databases: inspector.databases(),
    nodes: nodeNames(controller)
      .map((name) => nodeOf(controller, name))
      .sort(byName),
    switches: switches.sort((a, b) => byName(a, b) || compareText(a.uuid, b.uuid)),
    ports: ports.sort(byName),
  };
}

function portOf(
  row: LogicalSwitchPort,
  logicalSwitch: string,
  status: PortStatus,
  state: PortState,
): TopologyPort {
  return {
    name: row.name,
    uuid: row._uuid,
    neutron_name: row.external_ids.get(portNameKey) ?? '',
    switch: logicalSwitch,
    type: row.type,
    node: status.chassis,
    additional_nodes: status.additional_chassis,
    interface: status.interface,
    state,
    problems: status.problems,
    addresses: status.addresses,
  };
}

/** The iface-ids of what is plugged in on connected nodes. */
function pluggedIds({ nodes }: Controller): ReadonlySet<string> {
  const connected = [...nodes.values()].filter((node) => node.connected);
  return new Set(connected.flatMap(({ interfaces }) => interfaces.map((device) => device.iface_id)));
}

function stateOf({ model, nodes }: Controller, plugged: ReadonlySet<string>, status: PortStatus): PortState {
  const binding = model.binding(status.name);
  if (!status.enabled) return 'disabled';
  if (binding === undefined) return 'pending';
  const isEverywhere = isLocalnet(binding) || isLocalport(binding);
  if (binding.type !== '' && !isEverywhere) return 'unsupported';
  const isGone = isOurs(model.chassis(status.chassis)) && nodes.get(status.chassis)?.connected !== true;
  if (isGone) return 'node_gone';
  const isPlugged = plugged.has(parentOf(binding) ?? status.name);
  if (!isEverywhere && status.chassis === '' && !isPlugged && status.problems.length <= 1) return 'unplugged';
  if (status.problems.length > 0) return 'problem';
  return status.up || isEverywhere ? 'up' : 'pending';
}

function isOurs(chassis: Chassis | undefined): boolean {
  return chassis?.external_ids.has(agentIdKey) ?? false;
}

/** All chassis, and agents whose chassis is not registered (yet). */
function nodeNames({ nodes, model }: Controller): readonly string[] {
  return [...new Set([...nodes.keys(), ...Array.from(model.sb.chassis, ({ name }) => name)])];
}

function nodeOf(controller: Controller, name: string): TopologyNode {
  const { nodes, model } = controller;
  const node = nodes.get(name);
  const row = model.chassis(name);
  const failure = controller.writeFailure('chassis', name);
  const ips = (row?.encaps ?? []).flatMap((uuid) => model.sb.encap.get(uuid)?.ip ?? []);
  return {
    name,
    hostname: node?.config.hostname ?? row?.hostname ?? '',
    kind: node !== undefined || isOurs(row) ? 'iovn' : 'ovn',
    connected: node?.connected ?? false,
    since: (node?.sinceMs ?? 0) / 1000,
    agent_version: node?.identity.agentVersion ?? '',
    tunnel_ips: [...new Set(ips)].sort(),
    problems: [
      ...(node?.problems ?? []),
      ...(failure === undefined ? [] : [failure]),
      ...Array.from(
        node?.errors.values() ?? [],
        ({ id, message }) => `${id?.kind ?? ''} ${id?.name ?? ''}: ${message}`,
      ),
    ],
    tunnels: (node?.status?.tunnels ?? []).map((tunnel) => ({
      to: tunnel.chassis,
      type: tunnel.type,
      local_ip: tunnel.local_ip,
      remote_ip: tunnel.remote_ip,
      interface: tunnel.interface,
      mtu: tunnel.mtu,
    })),
  };
}
