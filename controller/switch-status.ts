import { compareText } from '../common/compare.js';
import type { SwitchStatusInput } from '../generated/proto/iovn/v1/SwitchStatus.js';
import type { Controller } from './controller.js';
import { ageThresholdSeconds } from './fdb-learning.js';
import { isTransparent } from './intent.js';
import type { Model } from './model.js';
import type { LogicalSwitch } from './northbound.js';
import { listPorts } from './port-status.js';
import { type DatapathBinding, isLocalnet, type PortBinding } from './southbound.js';

/** The logical switches with this name or uuid, with their ports; all, without ports, for ''. By name. */
export function listSwitches(controller: Controller, filter: string): SwitchStatusInput[] {
  const rows = [...controller.model.nb.logicalSwitch].filter(
    ({ name, _uuid }) => filter === '' || name === filter || _uuid === filter,
  );
  rows.sort((a, b) => compareText(a.name, b.name) || compareText(a._uuid, b._uuid));
  return rows.map((row) => ({
    ...switchStatus(controller, row),
    ports: filter === '' ? [] : listPorts(controller, { logicalSwitch: row._uuid, node: '' }),
  }));
}

function switchStatus({ model, store }: Controller, row: LogicalSwitch): SwitchStatusInput {
  const datapath = model.datapathOfSwitch(row._uuid);
  const bindings = datapath === undefined ? [] : [...model.bindingsOn(datapath._uuid)];
  return {
    name: row.name,
    nb_uuid: row._uuid,
    datapath: datapath?._uuid ?? '',
    datapath_key: datapath?.tunnel_key ?? 0,
    vlan_passthru: isTransparent(row),
    fdb_age_threshold_seconds: ageThresholdSeconds(datapath),
    port_count: row.ports.length,
    ports_up: bindings.filter(({ up }) => up === true).length,
    learned_macs: datapath === undefined ? 0 : model.fdbCount(datapath.tunnel_key),
    nodes: datapath === undefined ? [] : [...store.hosts(datapath._uuid)],
    localnets: bindings.filter(isLocalnet).map(localnet),
    groups: datapath === undefined ? [] : groups(model, datapath),
  };
}

function localnet({ logical_port: port, options, tag }: PortBinding) {
  return { port, network_name: options.get('network_name') ?? '', tag: tag ?? 0 };
}

/** By tunnel key. */
function groups(model: Model, datapath: DatapathBinding) {
  const rows = [...model.multicastGroups(datapath._uuid)].sort((a, b) => a.tunnel_key - b.tunnel_key);
  return rows.map(({ name, tunnel_key: key, ports }) => ({
    name,
    tunnel_key: key,
    ports: ports.flatMap((uuid) => model.sb.portBinding.get(uuid)?.logical_port ?? []).sort(compareText),
  }));
}
