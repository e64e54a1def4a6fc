import type { FdbStatusInput } from '../generated/proto/iovn/v1/FdbStatus.js';
import type { Model } from './model.js';
import { type DatapathBinding, logicalSwitchOf, type PortBinding } from './southbound.js';

/** The MACs that the southbound database has as learnt, on the switch with this name or uuid (empty = all). */
export function listFdb(model: Model, logicalSwitch: string): FdbStatusInput[] {
  const datapaths = new Map([...model.sb.datapathBinding].map((row) => [row.tunnel_key, row]));
  const entries: FdbStatusInput[] = [];
  for (const row of model.sb.fdb) {
    const datapath = datapaths.get(row.dp_key);
    const owner = datapath && switchOf(model, datapath);
    if (logicalSwitch !== '' && logicalSwitch !== owner?.name && logicalSwitch !== owner?._uuid) continue;
    const port = datapath && portWithKey(model, datapath, row.port_key);
    entries.push({
      mac: row.mac,
      switch: owner?.name ?? '',
      port: port?.logical_port ?? '',
      datapath_key: row.dp_key,
      port_key: row.port_key,
      node: model.chassisName(port?.chassis) ?? '',
      seen_at: row.timestamp / 1000,
    });
  }
  return entries;
}

function switchOf(model: Model, datapath: DatapathBinding) {
  const uuid = logicalSwitchOf(datapath);
  return uuid === undefined ? undefined : model.nb.logicalSwitch.get(uuid);
}

function portWithKey(model: Model, datapath: DatapathBinding, key: number): PortBinding | undefined {
  for (const binding of model.bindingsOn(datapath._uuid)) if (binding.tunnel_key === key) return binding;
  return undefined;
}
