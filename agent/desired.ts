import type { Ifindex } from '../common/addresses.js';
import type { TableName } from './data-plane.js';
import type { Intent } from './intent.js';
import type { LocalPort, SlotKey } from './local-ports.js';
import { activation } from './modules/activation.js';
import { arpNdResponder } from './modules/arp-nd-responder.js';
import {
  type IoModule,
  type ModuleInput,
  type PluggedPort,
  portRef,
  type SwitchPort,
} from './modules/io-module.js';
import { l2Switch } from './modules/l2-switch.js';
import { portSecurity } from './modules/port-security.js';
import { tunnels } from './modules/tunnels.js';
import type { KernelTarget, UnderlayHook } from './plan.js';
import type { ResourceProblem, ResourceRef } from './resources.js';
import { tunnelDeviceHook } from './tunnels/tunnel-device.js';
import { allTunnels, noTunnels, type TunnelPlan } from './tunnels/tunnels.js';
import type { VifInterface } from './vswitch/interfaces.js';

/** What a node's network is made of. */
export const modules: readonly IoModule[] = [l2Switch, portSecurity, activation, arpNdResponder, tunnels];

/** What the kernel should hold, and whom each entry is for. */
export interface Desired extends KernelTarget {
  readonly plugged: readonly PluggedPort[];
  readonly owner: (table: TableName, key: string) => ResourceRef | undefined;
  /** The chassis that are not reached, and the localnet ports that hear nothing, without the programs on an interface. */
  readonly behind: (ifindex: Ifindex) => readonly ResourceRef[];
  readonly problems: readonly ResourceProblem[];
}

function switchPorts(intent: Intent): readonly SwitchPort[] {
  const ports = [...intent.ports.values()].flatMap((port) => {
    const owner = intent.switches.get(port.switchId);
    return owner === undefined ? [] : [{ port, datapathKey: owner.datapathKey }];
  });
  return ports.sort(
    (a, b) =>
      a.datapathKey - b.datapathKey ||
      a.port.portKey - b.port.portKey ||
      (a.port.name < b.port.name ? -1 : 1),
  );
}

function missingSwitches(intent: Intent): readonly ResourceProblem[] {
  return [...intent.ports.values()]
    .filter(({ switchId }) => !intent.switches.has(switchId))
    .map(({ name, switchId }) => ({
      kind: 'Port',
      name,
      code: 'invalid',
      message: `its switch ${switchId} is not known here`,
    }));
}

/** Every interface that can carry a port, bound or not: what an unbound one sends must not reach the host's stack. */
export function attachmentsOf(interfaces: readonly VifInterface[]): ReadonlySet<Ifindex> {
  return new Set(interfaces.flatMap(({ device }) => (device === undefined ? [] : [device.ifindex])));
}

function isLocalnet({ port }: PluggedPort): boolean {
  return port.type === 'localnet';
}

/** A tap stays a tap, whatever address somebody gives it. */
function underlayHooks(
  { interfaces, guards, relay }: TunnelPlan,
  plugged: readonly PluggedPort[],
  taps: ReadonlySet<Ifindex>,
): ReadonlySet<UnderlayHook> {
  const hooks = new Set<UnderlayHook>();
  for (const { device } of plugged.filter(isLocalnet)) hooks.add(`uplink_ingress ${device.ifindex}`);
  for (const ifindex of interfaces) if (!taps.has(ifindex)) hooks.add(`tunnel_ingress ${ifindex}`);
  for (const [type, device] of guards) hooks.add(tunnelDeviceHook(type, device));
  if (relay !== undefined) hooks.add(`relay_ingress ${relay.outOf}`);
  return hooks;
}

function chassisBehind(plan: TunnelPlan, ifindex: Ifindex): readonly ResourceRef[] {
  return allTunnels(plan)
    .filter(({ device, relay }) => device === ifindex || relay.outOf === ifindex)
    .map(({ chassis }) => ({ kind: 'Chassis', name: chassis }));
}

function localnetsOn(plugged: readonly PluggedPort[], ifindex: Ifindex): readonly ResourceRef[] {
  return plugged
    .filter((each) => isLocalnet(each) && each.device.ifindex === ifindex)
    .map(({ port }) => portRef(port));
}

/** Depends on its arguments only, and not on their order. */
export function computeDesired(
  intent: Intent,
  interfaces: readonly VifInterface[],
  localPorts: readonly LocalPort[],
  slots: ReadonlyMap<SlotKey, number>,
  tunnelPlan: TunnelPlan = noTunnels,
): Desired {
  const plugged = localPorts
    .flatMap((local) => {
      const slot = slots.get(local.key);
      return slot === undefined ? [] : [{ ...local, slot }];
    })
    .sort((a, b) => a.slot - b.slot);
  const switches = [...intent.switches.values()].sort((a, b) => a.datapathKey - b.datapathKey);
  const input: ModuleInput = { switches, ports: switchPorts(intent), plugged, tunnelPlan };
  const outputs = modules.map((module) => module.compute(input));
  const tables = new Map<TableName, Map<string, Uint8Array>>(
    modules.flatMap(({ tables }) => tables.map((table) => [table, new Map()])),
  );
  const owners = new Map<TableName, Map<string, ResourceRef>>();
  for (const { table, key, value, owner } of outputs.flatMap(({ entries }) => entries)) {
    tables.get(table)?.set(key, value);
    const ofTable = owners.get(table) ?? new Map<string, ResourceRef>();
    owners.set(table, ofTable.set(key, owner));
  }
  return {
    plugged,
    tables,
    attachments: attachmentsOf(interfaces),
    underlay: underlayHooks(tunnelPlan, plugged, attachmentsOf(interfaces)),
    owner: (table, key) => owners.get(table)?.get(key),
    behind: (ifindex) => [...chassisBehind(tunnelPlan, ifindex), ...localnetsOn(plugged, ifindex)],
    problems: [...missingSwitches(intent), ...outputs.flatMap(({ problems }) => problems)],
  };
}
