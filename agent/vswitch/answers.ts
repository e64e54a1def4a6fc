import type { RowValues } from '../../ovsdb/columns.js';
import { byUuid, type Operation, update } from '../../ovsdb/operations.js';
import type { Link, Links } from '../links.js';
import { suppliedDatapathTypes, suppliedInterfaceTypes } from './interface-types.js';
import { resolveDevice } from './interfaces.js';
import { assignOfports } from './ofports.js';
import {
  type BridgeRow,
  type InterfaceRow,
  type OpenVswitchRow,
  type VswitchTables,
  vswitchTables,
} from './tables.js';
import { type BridgeInterfaces, isLocalInterface, type Topology } from './topology.js';

/**
 * The release of Open vSwitch whose way with its database the agent follows, for clients that look before they use a
 * feature: the agent's own version would tell them of an ancient one.
 */
export const followedOvsVersion = '3.1.0';

type InterfaceValues = RowValues<VswitchTables['interface']>;
type OpenVswitchValues = RowValues<VswitchTables['openVswitch']>;

/** Columns of an Interface that ovs-vswitchd writes and clients read (ovs-vswitchd.conf.db(5) Interface). */
interface InterfaceAnswer {
  readonly ofport: number;
  readonly ifindex: number | undefined;
  readonly mac_in_use: string | undefined;
  readonly admin_state: string | undefined;
  readonly link_state: string | undefined;
  readonly mtu: number | undefined;
  readonly error: string | undefined;
}

const absent = {
  ifindex: undefined,
  mac_in_use: undefined,
  admin_state: undefined,
  link_state: undefined,
  mtu: undefined,
};

function describe(link: Link): Omit<InterfaceAnswer, 'ofport' | 'error'> {
  return {
    ifindex: link.ifindex,
    mac_in_use: link.mac,
    admin_state: link.adminUp ? 'up' : 'down',
    link_state: link.operUp ? 'up' : 'down',
    mtu: link.mtu,
  };
}

/** The bridge's own interface needs no device: nothing is switched to it. */
function answerLocal(bridge: BridgeRow, row: InterfaceRow, ofport: number, links: Links): InterfaceAnswer {
  const link = links.get(row.name);
  if (link) return { ofport, error: undefined, ...describe(link) };
  return { ofport, error: undefined, ...absent, mac_in_use: bridge.other_config.get('hwaddr') };
}

/** The end of an internal pair that is the user's; what is known of it stays when it goes into another namespace. */
function answerInternal(row: InterfaceRow, links: Links): Omit<InterfaceAnswer, 'ofport' | 'error'> {
  const link = links.get(row.name);
  if (link) return describe(link);
  const { ifindex, mac_in_use, admin_state, link_state, mtu } = row;
  return { ifindex, mac_in_use, admin_state, link_state, mtu };
}

function answerInterface(
  { bridge }: BridgeInterfaces,
  row: InterfaceRow,
  ofport: number,
  links: Links,
  vifErrors: ReadonlyMap<string, string>,
): InterfaceAnswer {
  if (isLocalInterface(bridge, row)) return answerLocal(bridge, row, ofport, links);
  const resolution = resolveDevice(row, links);
  if ('error' in resolution) return { ofport, ...absent, error: resolution.error };
  const error = vifErrors.get(row.name);
  if (row.type === 'internal') return { ofport, error, ...answerInternal(row, links) };
  return { ofport, error, ...describe(resolution.device) };
}

function differences(row: InterfaceRow, answer: InterfaceAnswer): InterfaceValues | undefined {
  const columns = ['ofport', 'ifindex', 'mac_in_use', 'admin_state', 'link_state', 'mtu', 'error'] as const;
  const changed = columns.filter((column) => row[column] !== answer[column]);
  if (changed.length === 0) return undefined;
  return Object.fromEntries(changed.map((column) => [column, answer[column]]));
}

function interfaceOperations(
  all: BridgeInterfaces,
  links: Links,
  vifErrors: ReadonlyMap<string, string>,
): readonly Operation[] {
  const isUsable = (row: InterfaceRow): boolean =>
    isLocalInterface(all.bridge, row) || 'device' in resolveDevice(row, links);
  const ofports = assignOfports(all, isUsable);
  return all.interfaces.flatMap((row) => {
    const answer = answerInterface(all, row, ofports.get(row.name) ?? -1, links, vifErrors);
    const values = differences(row, answer);
    return values === undefined ? [] : [update(vswitchTables.interface, byUuid(row._uuid), values)];
  });
}

function sameWords(a: readonly string[], b: readonly string[]): boolean {
  return a.toSorted().join() === b.toSorted().join();
}

/**
 * The types that an ovs-vswitchd before the agent left are replaced: Neutron would plug a vhost-user socket where they
 * tell of it.
 */
function rootOperations(row: OpenVswitchRow): readonly Operation[] {
  const values: OpenVswitchValues = {
    ...(row.ovs_version === undefined && { ovs_version: followedOvsVersion }),
    ...(!sameWords(row.datapath_types, suppliedDatapathTypes) && {
      datapath_types: [...suppliedDatapathTypes],
    }),
    ...(!sameWords(row.iface_types, suppliedInterfaceTypes) && { iface_types: [...suppliedInterfaceTypes] }),
    ...(row.cur_cfg !== row.next_cfg && { cur_cfg: row.next_cfg }),
  };
  return Object.keys(values).length === 0
    ? []
    : [update(vswitchTables.openVswitch, byUuid(row._uuid), values)];
}

/**
 * What ovs-vswitchd would have written by now, as far as it differs from what is there; `cur_cfg` comes last.
 * `vifErrors` holds, by Interface.name, why an interface whose device is there can't carry its port.
 */
export function vswitchdAnswers(
  topology: Topology,
  links: Links,
  vifErrors: ReadonlyMap<string, string>,
): readonly Operation[] {
  const { openVswitch, bridges } = topology;
  const interfaces = bridges.flatMap((bridge) => interfaceOperations(bridge, links, vifErrors));
  return [...interfaces, ...(openVswitch === undefined ? [] : rootOperations(openVswitch))];
}
