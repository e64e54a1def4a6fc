import type { Database } from '../../ovsdb/database.js';
import { map, optional, scalar, set, table, type Row } from '../../ovsdb/columns.js';

/** The local Open_vSwitch database, as far as the agent reads or answers it (ovs-vswitchd.conf.db(5)). */
export const vswitchTables = {
  openVswitch: table('Open_vSwitch', {
    bridges: set('uuid'),
    external_ids: map('string', 'string'),
    next_cfg: scalar('integer'),
    cur_cfg: scalar('integer'),
    ovs_version: optional('string'),
    datapath_types: set('string'),
    iface_types: set('string'),
  }),
  bridge: table('Bridge', {
    name: scalar('string'),
    datapath_type: scalar('string'),
    ports: set('uuid'),
    fail_mode: optional('string'),
    other_config: map('string', 'string'),
    external_ids: map('string', 'string'),
  }),
  port: table('Port', {
    name: scalar('string'),
    interfaces: set('uuid'),
  }),
  interface: table('Interface', {
    name: scalar('string'),
    type: scalar('string'),
    mac: optional('string'),
    external_ids: map('string', 'string'),
    ofport: optional('integer'),
    ofport_request: optional('integer'),
    ifindex: optional('integer'),
    mac_in_use: optional('string'),
    admin_state: optional('string'),
    link_state: optional('string'),
    mtu: optional('integer'),
    error: optional('string'),
  }),
} as const;

export type VswitchTables = typeof vswitchTables;
export type VswitchDatabase = Database<VswitchTables>;
export type OpenVswitchRow = Row<VswitchTables['openVswitch']>;
export type BridgeRow = Row<VswitchTables['bridge']>;
export type PortRow = Row<VswitchTables['port']>;
export type InterfaceRow = Row<VswitchTables['interface']>;
