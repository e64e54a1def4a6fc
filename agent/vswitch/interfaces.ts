import type { Link, Links } from '../links.js';
import { isSupplied } from './interface-types.js';
import { attachEndName } from './internal-devices.js';
import type { InterfaceRow } from './tables.js';
import { isLocalInterface, type Topology } from './topology.js';

/** An interface of the integration bridge that says which logical port it is (external_ids:iface-id). */
export interface VifInterface {
  readonly name: string;
  readonly ifaceId: string;
  /** external_ids:iface-id-ver and :encap-ip, empty where not set. */
  readonly ifaceIdVer: string;
  readonly encapIp: string;
  /** Where the program attaches and packets are delivered; undefined when there is no such device. */
  readonly device: Link | undefined;
  /** Why it can't carry its port, for operators; undefined when it can. */
  readonly error: string | undefined;
}

export type Resolution = { readonly device: Link } | { readonly error: string };

/** OVS's own words for a device that is not there, because people and scripts look for them. */
export function openError(name: string, reason: string): string {
  return `could not open network device ${name} (${reason})`;
}

/** The device behind a row of any bridge, the bridges' local interfaces excepted. */
export function resolveDevice(row: InterfaceRow, links: Links): Resolution {
  if (!isSupplied(row.type))
    return { error: openError(row.name, `interface type ${row.type} is not supported`) };
  if (row.type !== 'internal') {
    const device = links.get(row.name);
    return device ? { device } : { error: openError(row.name, 'No such device') };
  }
  const device = links.get(attachEndName(row.name));
  if (device) return { device };
  return { error: openError(row.name, links.has(row.name) ? 'File exists' : 'No such device') };
}

function resolveAll(rows: readonly InterfaceRow[], links: Links): VifInterface[] {
  return rows.flatMap((row): VifInterface[] => {
    const ifaceId = row.external_ids.get('iface-id');
    if (ifaceId === undefined || ifaceId === '') return [];
    const resolution = resolveDevice(row, links);
    const idOf = (key: string): string => row.external_ids.get(key) ?? '';
    const common = { name: row.name, ifaceId, ifaceIdVer: idOf('iface-id-ver'), encapIp: idOf('encap-ip') };
    return 'device' in resolution
      ? [{ ...common, device: resolution.device, error: undefined }]
      : [{ ...common, device: undefined, error: resolution.error }];
  });
}

/**
 * The VIFs of the integration bridge, by name. When several usable ones carry the same iface-id the first by name
 * has it, whatever the order in which they came, and the error of the others names it.
 */
export function readVifInterfaces(
  topology: Topology,
  integrationBridge: string,
  links: Links,
): readonly VifInterface[] {
  const found = topology.bridges.find(({ bridge }) => bridge.name === integrationBridge);
  if (found === undefined) return [];
  const rows = found.interfaces.filter((row) => !isLocalInterface(found.bridge, row));
  const holders = new Map<string, string>();
  return resolveAll(rows, links).map((vif) => {
    if (vif.error !== undefined) return vif;
    const holder = holders.get(vif.ifaceId);
    if (holder !== undefined)
      return { ...vif, error: `iface-id ${vif.ifaceId} is already used by ${holder}` };
    holders.set(vif.ifaceId, vif.name);
    return vif;
  });
}
