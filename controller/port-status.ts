import { compareText } from '../common/compare.js';
import type { Interface } from '../generated/proto/iovn/v1/Interface.js';
import type { PortStatus } from '../generated/proto/iovn/v1/PortStatus.js';
import { awaitingChassis } from './activation.js';
import { encapOf, nestedPort } from './claim-board.js';
import type { Controller } from './controller.js';
import type { InvalidRow } from './invalid-row.js';
import type { Node } from './node.js';
import type { LogicalSwitch, LogicalSwitchPort } from './northbound.js';
import { agentIdKey, isLocalnet, isLocalport, parentOf, type PortBinding } from './southbound.js';

export interface PortFilter {
  /** Name or uuid; empty = all. */
  readonly logicalSwitch: string;
  /** Chassis name or hostname; empty = all. */
  readonly node: string;
}

interface Plugged {
  readonly node: Node;
  readonly device: Interface;
}

interface Context {
  readonly controller: Controller;
  /** By iface-id. */
  readonly plugged: ReadonlyMap<string, readonly Plugged[]>;
  /** By uuid of the Logical_Switch_Port. */
  readonly invalid: ReadonlyMap<string, readonly InvalidRow[]>;
}

/** The logical switch ports with what is wrong with each, sorted by switch and name. */
export function listPorts(controller: Controller, filter: PortFilter): PortStatus[] {
  const context = { controller, plugged: pluggedInterfaces(controller), invalid: invalidRows(controller) };
  const ports: PortStatus[] = [];
  for (const row of controller.model.nb.logicalSwitch) {
    if (filter.logicalSwitch !== '' && ![row.name, row._uuid].includes(filter.logicalSwitch)) continue;
    for (const uuid of row.ports) {
      const port = controller.model.nb.logicalSwitchPort.get(uuid);
      if (port === undefined) continue;
      const binding = controller.model.binding(port.name);
      if (isOn(controller, binding, filter.node)) ports.push(portStatus(context, row, port, binding));
    }
  }
  return ports.sort((a, b) => compareText(a.switch, b.switch) || compareText(a.name, b.name));
}

/** Usable interfaces of the node with a port's name as iface-id whose port is not up. */
export function countWaiting({ model }: Controller, node: Node | undefined): number {
  let count = 0;
  for (const id of node?.plugs.keys() ?? []) {
    const binding = model.binding(id);
    if (binding !== undefined && !isLocalport(binding) && binding.up !== true) count += 1;
  }
  return count;
}

function pluggedInterfaces({ nodes }: Controller): ReadonlyMap<string, readonly Plugged[]> {
  const plugged = new Map<string, Plugged[]>();
  for (const node of nodes.values()) {
    for (const device of node.interfaces) {
      plugged.set(device.iface_id, [...(plugged.get(device.iface_id) ?? []), { node, device }]);
    }
  }
  return plugged;
}

function invalidRows({ store }: Controller): ReadonlyMap<string, readonly InvalidRow[]> {
  const rows = new Map<string, InvalidRow[]>();
  for (const row of store.invalid()) rows.set(row.uuid, [...(rows.get(row.uuid) ?? []), row]);
  return rows;
}

function isOn({ model, nodes }: Controller, binding: PortBinding | undefined, node: string): boolean {
  if (node === '') return true;
  if (binding === undefined) return false;
  const main = model.chassisName(binding.chassis);
  const names = [...(main === undefined ? [] : [main]), ...model.additionalChassisNames(binding)];
  return names.some(
    (name) =>
      name === node || nodes.get(name)?.config.hostname === node || model.chassis(name)?.hostname === node,
  );
}

function portStatus(
  context: Context,
  logicalSwitch: LogicalSwitch,
  port: LogicalSwitchPort,
  binding: PortBinding | undefined,
): PortStatus {
  const { model } = context.controller;
  const chassis = model.chassisName(binding?.chassis) ?? '';
  const plugged = pluggedFor(context, port.name, binding);
  const additional = binding === undefined ? [] : model.additionalChassisNames(binding);
  return {
    name: port.name,
    switch: logicalSwitch.name,
    type: port.type,
    datapath_key:
      binding === undefined ? 0 : (model.sb.datapathBinding.get(binding.datapath)?.tunnel_key ?? 0),
    port_key: binding?.tunnel_key ?? 0,
    enabled: port.enabled ?? true,
    chassis,
    interface: plugged.find(({ node }) => node.name === chassis)?.device.name ?? '',
    up: binding?.up ?? false,
    problems: problemsOf(context, port, binding, plugged),
    addresses: [...port.addresses, ...(port.dynamic_addresses === undefined ? [] : [port.dynamic_addresses])],
    port_security: [...port.port_security],
    additional_chassis: [...additional],
    awaiting_chassis: binding === undefined ? [] : [...awaitingChassis(binding, additional)],
  };
}

/** The interfaces on which the port is found, or would be; of a nested port its parent's, with what is said of the port there. */
function pluggedFor(
  { plugged }: Context,
  name: string,
  binding: PortBinding | undefined,
): readonly Plugged[] {
  const parent = binding && parentOf(binding);
  if (binding === undefined || parent === undefined) return plugged.get(name) ?? [];
  return (plugged.get(parent) ?? []).map(({ node, device }) => {
    const installError = nestedPort(device, binding)?.install_error ?? '';
    return { node, device: { ...device, install_error: installError } };
  });
}

function problemsOf(
  context: Context,
  port: LogicalSwitchPort,
  binding: PortBinding | undefined,
  plugged: readonly Plugged[],
): string[] {
  const { controller } = context;
  const problems = (context.invalid.get(port._uuid) ?? []).map(
    ({ column, value, reason }) => `${column} ${JSON.stringify(value)}: ${reason}`,
  );
  if (port.enabled === false) problems.push('the port is disabled (enabled=false)');
  if (binding === undefined) return [...problems, 'ovn-northd has not made a Port_Binding for it'];
  if (isLocalnet(binding)) return [...problems, ...localnetProblems(controller, port.name)];
  if (isLocalport(binding)) return [...problems, ...localportProblems(plugged)];
  if (binding.type !== '') return [...problems, `ports of type ${binding.type} are not done yet`];
  const failure = controller.writeFailure('port', port.name);
  if (failure !== undefined) problems.push(`the southbound database refuses to change it: ${failure}`);
  const holder = controller.model.chassisName(binding.chassis);
  const holders = [
    ...(holder === undefined ? [] : [holder]),
    ...controller.model.additionalChassisNames(binding),
  ];
  for (const each of plugged) problems.push(...plugProblems(controller, port.name, holders, each));
  return [...problems, ...holderProblems(controller, binding, holder, plugged)];
}

/** A localnet port is on every node that holds its switch. */
function localnetProblems({ nodes }: Controller, port: string): readonly string[] {
  return [...nodes.values()].flatMap((node) => {
    const error = node.errors.get(`Port/${port}`);
    return error === undefined ? [] : [`${node.name}: ${error.message}`];
  });
}

/** A localport is bound to no node and may be on many. */
function localportProblems(plugged: readonly Plugged[]): readonly string[] {
  return plugged.flatMap(({ node, device }) => {
    const problem = device.error === '' ? device.install_error : device.error;
    return problem === '' ? [] : [`${device.name} on ${node.name}: ${problem}`];
  });
}

/** What is wrong with one interface that has the port's name as iface-id. */
function plugProblems(
  { board, model }: Controller,
  port: string,
  holders: readonly string[],
  { node, device }: Plugged,
): string[] {
  const where = `${device.name} on ${node.name}`;
  if (device.error !== '') return [`${where}: ${device.error}`];
  const refusal = board.refusal(port, node.name);
  if (refusal !== undefined) return [`${where}: ${refusal.message}`];
  if (!holders.includes(node.name)) return [];
  const problems = device.install_error === '' ? [] : [`${where}: ${device.install_error}`];
  const error = node.errors.get(`Port/${port}`);
  if (error !== undefined && error.message !== device.install_error)
    problems.push(`${where}: ${error.message}`);
  const { encap_ip: ip } = device;
  if (ip !== '' && encapOf(model, node.name, ip) === undefined)
    problems.push(`${where}: encap-ip ${ip} is not one of ${node.name}'s tunnel addresses (ovn-encap-ip)`);
  return problems;
}

function holderProblems(
  { model, nodes }: Controller,
  binding: PortBinding,
  holder: string | undefined,
  plugged: readonly Plugged[],
): string[] {
  if (holder === undefined) {
    if (plugged.length === 0)
      return [`no interface on any connected node has iface-id ${parentOf(binding) ?? binding.logical_port}`];
    return plugged.flatMap(({ node }) => node.problems.map((problem) => `${node.name}: ${problem}`));
  }
  const node = nodes.get(holder);
  if (node === undefined) {
    const isOurs = model.chassis(holder)?.external_ids.has(agentIdKey) ?? false;
    if (isOurs) return [`bound to ${holder}, whose agent is not connected to this controller`];
    return binding.up === false ? [`bound to ${holder}, which has not set it up`] : [];
  }
  if (!node.connected) return [`bound to ${holder}, whose agent is not connected`];
  const device = plugged.find((each) => each.node === node)?.device;
  const isWaiting = binding.up === false && device?.error === '' && device.install_error === '';
  return isWaiting ? [`${holder} has not yet reported that it is in place`] : [];
}
