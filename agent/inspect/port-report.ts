import type { NodePortInput } from '../../generated/proto/iovn/v1/NodePort.js';
import type { PortModuleInput } from '../../generated/proto/iovn/v1/PortModule.js';
import type { PortCounters, TableName } from '../data-plane.js';
import { type Desired, modules } from '../desired.js';
import type { ReconcilerView } from '../reconciler.js';
import type { Place } from './places.js';
import { portSecurityText } from './port-entries.js';

/** The ports of this node: where each is in the data plane, and what passed through it. */
export function reportPorts(
  places: readonly Place[],
  view: ReconcilerView | undefined,
  counters: ReadonlyMap<number, PortCounters>,
): NodePortInput[] {
  const mapsOf = mapsByPort(view?.wanted);
  return places.map((place) => ({
    ...location(place),
    ...problem(place, view),
    ...traffic(counters.get(place.plugged.slot)),
    modules: modulesOf(mapsOf.get(place.plugged.port.name) ?? new Set()),
  }));
}

function location({ plugged, owner }: Place): NodePortInput {
  const { port, slot, device, interfaceName, vlanId, datapathKey } = plugged;
  return {
    name: port.name,
    type: port.type,
    switch: owner?.name ?? '',
    slot,
    interface: interfaceName,
    ifindex: device.ifindex,
    link_up: device.operUp,
    vlan: vlanId,
    datapath_key: datapathKey,
    port_key: port.portKey,
    port_uuid: port.nbUuid,
    switch_uuid: owner?.nbUuid ?? '',
    binding: port.binding,
    enabled: port.enabled,
    port_security: port.portSecurity.map(portSecurityText),
  };
}

function problem(
  { plugged }: Place,
  view: ReconcilerView | undefined,
): Pick<NodePortInput, 'installed' | 'problem'> {
  const { interfaceName, port, device } = plugged;
  const nested = view?.state.nested.get(interfaceName)?.find(({ local }) => local.port.name === port.name);
  const failed = view?.state.failed.get(interfaceName);
  const ofResource = view?.state.problems.find(({ kind, name }) => kind === 'Port' && name === port.name);
  const message =
    nested?.message ??
    (failed?.local.port.name === port.name ? failed.message : undefined) ??
    view?.state.unattached.get(device.ifindex) ??
    ofResource?.message ??
    '';
  return { installed: message === '', problem: message };
}

function traffic(counters: PortCounters | undefined): NodePortInput {
  if (counters === undefined) return {};
  return {
    received_packets: String(counters.receivedPackets),
    received_bytes: String(counters.receivedBytes),
    sent_packets: String(counters.sentPackets),
    sent_bytes: String(counters.sentBytes),
    dropped_packets: String(Array.from(counters.drops).reduce((sum, each) => sum + each, 0n)),
  };
}

function mapsByPort(wanted: Desired | undefined): ReadonlyMap<string, ReadonlySet<TableName>> {
  const maps = new Map<string, Set<TableName>>();
  for (const [table, entries] of wanted?.tables ?? []) {
    for (const key of entries.keys()) {
      const owner = wanted?.owner(table, key);
      if (owner?.kind !== 'Port') continue;
      const ofPort = maps.get(owner.name) ?? new Set();
      maps.set(owner.name, ofPort.add(table));
    }
  }
  return maps;
}

function modulesOf(maps: ReadonlySet<TableName>): PortModuleInput[] {
  return modules.flatMap(({ name, tables }) => {
    const used = tables.filter((table) => maps.has(table));
    return used.length === 0 ? [] : [{ name, maps: [...used] }];
  });
}
