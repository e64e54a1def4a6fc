import { map, optional, type Row, scalar, set, type TableSpec, table } from '../ovsdb/columns.js';
import type { Database, DatabaseUpdate, Table } from '../ovsdb/database.js';

/**
 * What this project reads of OVN_Northbound (ovn-nb(5)). Of what the data plane does not do yet only so much is
 * read as it takes to say so by name.
 */
export const northboundTables = {
  nbGlobal: table('NB_Global', { nb_cfg: scalar('integer') }),
  logicalSwitch: table('Logical_Switch', {
    name: scalar('string'),
    ports: set('uuid'),
    acls: set('uuid'),
    qos_rules: set('uuid'),
    load_balancer: set('uuid'),
    load_balancer_group: set('uuid'),
    dns_records: set('uuid'),
    copp: optional('uuid'),
    forwarding_groups: set('uuid'),
    other_config: map('string', 'string'),
    external_ids: map('string', 'string'),
  }),
  logicalSwitchPort: table('Logical_Switch_Port', {
    name: scalar('string'),
    type: scalar('string'),
    options: map('string', 'string'),
    external_ids: map('string', 'string'),
    parent_name: optional('string'),
    tag: optional('integer'),
    tag_request: optional('integer'),
    addresses: set('string'),
    dynamic_addresses: optional('string'),
    port_security: set('string'),
    enabled: optional('boolean'),
    dhcpv4_options: optional('uuid'),
    dhcpv6_options: optional('uuid'),
    mirror_rules: set('uuid'),
    ha_chassis_group: optional('uuid'),
  }),
  acl: table('ACL', {
    name: optional('string'),
    priority: scalar('integer'),
    direction: scalar('string'),
    match: scalar('string'),
    action: scalar('string'),
  }),
  qos: table('QoS', { direction: scalar('string'), match: scalar('string') }),
  portGroup: table('Port_Group', { name: scalar('string'), acls: set('uuid') }),
  loadBalancer: table('Load_Balancer', { name: scalar('string'), vips: map('string', 'string') }),
  loadBalancerGroup: table('Load_Balancer_Group', { name: scalar('string') }),
  loadBalancerHealthCheck: table('Load_Balancer_Health_Check', { vip: scalar('string') }),
  logicalRouter: table('Logical_Router', { name: scalar('string') }),
  logicalRouterPort: table('Logical_Router_Port', { name: scalar('string'), mac: scalar('string') }),
  staticRoute: table('Logical_Router_Static_Route', {
    ip_prefix: scalar('string'),
    nexthop: scalar('string'),
  }),
  routerPolicy: table('Logical_Router_Policy', { match: scalar('string') }),
  nat: table('NAT', { type: scalar('string'), external_ip: scalar('string'), logical_ip: scalar('string') }),
  dhcpOptions: table('DHCP_Options', { cidr: scalar('string') }),
  dns: table('DNS', { records: map('string', 'string') }),
  meter: table('Meter', { name: scalar('string') }),
  mirror: table('Mirror', { name: scalar('string') }),
  forwardingGroup: table('Forwarding_Group', { name: scalar('string') }),
  gatewayChassis: table('Gateway_Chassis', { name: scalar('string') }),
  haChassisGroup: table('HA_Chassis_Group', { name: scalar('string') }),
  bfd: table('BFD', { logical_port: scalar('string'), dst_ip: scalar('string') }),
  copp: table('Copp', { name: scalar('string') }),
  staticMacBinding: table('Static_MAC_Binding', { logical_port: scalar('string'), ip: scalar('string') }),
} as const satisfies Record<string, TableSpec>;

export type Northbound = typeof northboundTables;
export type NorthboundDatabase = Database<Northbound>;
export type NorthboundUpdate = DatabaseUpdate<Northbound>;
/** The contents, by the names above. */
export type NorthboundContents = { readonly [K in keyof Northbound]: Table<Row<Northbound[K]>> };

export type LogicalSwitch = Row<Northbound['logicalSwitch']>;
export type LogicalSwitchPort = Row<Northbound['logicalSwitchPort']>;
