import type { Uuid } from '../common/addresses.js';
import { map, optional, type Row, scalar, set, type TableSpec, table } from '../ovsdb/columns.js';
import type { Database, DatabaseUpdate, Table } from '../ovsdb/database.js';

/** What this project reads and writes of OVN_Southbound (ovn-sb(5)). Logical_Flow is left out for good. */
export const southboundTables = {
  sbGlobal: table('SB_Global', { nb_cfg: scalar('integer') }),
  chassis: table('Chassis', {
    name: scalar('string'),
    hostname: scalar('string'),
    encaps: set('uuid'),
    external_ids: map('string', 'string'),
    other_config: map('string', 'string'),
    transport_zones: set('string'),
  }),
  chassisPrivate: table('Chassis_Private', {
    name: scalar('string'),
    chassis: optional('uuid'),
    nb_cfg: scalar('integer'),
    nb_cfg_timestamp: scalar('integer'),
  }),
  encap: table('Encap', {
    type: scalar('string'),
    ip: scalar('string'),
    options: map('string', 'string'),
    chassis_name: scalar('string'),
  }),
  datapathBinding: table('Datapath_Binding', {
    tunnel_key: scalar('integer'),
    external_ids: map('string', 'string'),
    // From OVN 25.09 on in place of external_ids:logical-switch.
    type: optional('string'),
    nb_uuid: optional('uuid'),
  }),
  portBinding: table('Port_Binding', {
    logical_port: scalar('string'),
    type: scalar('string'),
    options: map('string', 'string'),
    datapath: scalar('uuid'),
    tunnel_key: scalar('integer'),
    parent_port: optional('string'),
    tag: optional('integer'),
    chassis: optional('uuid'),
    additional_chassis: set('uuid'),
    encap: optional('uuid'),
    additional_encap: set('uuid'),
    up: optional('boolean'),
    requested_chassis: optional('uuid'),
    requested_additional_chassis: set('uuid'),
  }),
  multicastGroup: table('Multicast_Group', {
    datapath: scalar('uuid'),
    name: scalar('string'),
    tunnel_key: scalar('integer'),
    ports: set('uuid'),
  }),
  fdb: table('FDB', {
    mac: scalar('string'),
    dp_key: scalar('integer'),
    port_key: scalar('integer'),
    // From OVN 23.09 on, in ms.
    timestamp: scalar('integer'),
  }),
} as const satisfies Record<string, TableSpec>;

/** Chassis.external_ids key that marks a chassis as one of ours and says which agent it is. */
export const agentIdKey = 'iovn-agent-id';

export type Southbound = typeof southboundTables;
export type SouthboundDatabase = Database<Southbound>;
export type SouthboundUpdate = DatabaseUpdate<Southbound>;
/** The contents, by the names above. */
export type SouthboundContents = { readonly [K in keyof Southbound]: Table<Row<Southbound[K]>> };

export type Chassis = Row<Southbound['chassis']>;
export type DatapathBinding = Row<Southbound['datapathBinding']>;
export type Encap = Row<Southbound['encap']>;
export type PortBinding = Row<Southbound['portBinding']>;
export type FdbRow = Row<Southbound['fdb']>;

/** The NB Logical_Switch of a datapath; undefined for a router's. */
export function logicalSwitchOf(datapath: DatapathBinding): Uuid | undefined {
  if (datapath.type === 'logical-switch') return datapath.nb_uuid;
  return datapath.external_ids.get('logical-switch') as Uuid | undefined;
}

/** A plain VM or container interface, by ovn-sb(5) Port_Binding: no type, and not nested in another port. */
export function isVif(binding: PortBinding): boolean {
  return binding.type === '' && parentOf(binding) === undefined;
}

/** The port on whose interface a nested one is found by its VLAN tag (ovn-sb(5) Port_Binding.parent_port). */
export function parentOf({ type, parent_port: parent }: PortBinding): string | undefined {
  return type === '' && parent !== '' ? parent : undefined;
}

/** A switch's way to a physical network, on every node that is connected to that (ovn-sb(5) Port_Binding.type). */
export function isLocalnet(binding: PortBinding): boolean {
  return binding.type === 'localnet';
}

/** On every node that has its interface, and bound to none of them (ovn-sb(5) Port_Binding.type). */
export function isLocalport(binding: PortBinding): boolean {
  return binding.type === 'localport';
}
