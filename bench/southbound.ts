import type { Uuid } from '../common/addresses.js';
import {
  type Database,
  insert,
  map,
  namedUuid,
  type Operation,
  optional,
  scalar,
  set,
  table,
} from '../ovsdb/index.js';

const datapathBinding = table('Datapath_Binding', {
  tunnel_key: scalar('integer'),
  external_ids: map('string', 'string'),
});

const portBinding = table('Port_Binding', {
  logical_port: scalar('string'),
  type: scalar('string'),
  datapath: scalar('uuid'),
  tunnel_key: scalar('integer'),
  parent_port: optional('string'),
  tag: optional('integer'),
  virtual_parent: optional('string'),
  chassis: optional('uuid'),
  additional_chassis: set('uuid'),
  encap: optional('uuid'),
  mac: set('string'),
  nat_addresses: set('string'),
  up: optional('boolean'),
  options: map('string', 'string'),
  external_ids: map('string', 'string'),
  requested_chassis: optional('uuid'),
});

const macBinding = table('MAC_Binding', {
  logical_port: scalar('string'),
  ip: scalar('string'),
  mac: scalar('string'),
  timestamp: scalar('integer'),
  datapath: scalar('uuid'),
});

const chassis = table('Chassis', {
  name: scalar('string'),
  hostname: scalar('string'),
  encaps: set('uuid'),
  other_config: map('string', 'string'),
});

const encap = table('Encap', {
  type: scalar('string'),
  ip: scalar('string'),
  chassis_name: scalar('string'),
  options: map('string', 'string'),
});

export const southboundTables = { datapathBinding, portBinding, macBinding, chassis, encap };

const portsPerDatapath = 100;
/** What one port and its share of the rest takes in a dump. */
const bytesPerPort = 1030;
const chassisCount = 200;

/** Fills an empty Southbound database as Neutron and northd would, for a dump of about `bytes`. */
export async function fillSouthbound(
  database: Database<typeof southboundTables>,
  bytes: number,
): Promise<void> {
  const results = await database.transact(
    Array.from({ length: chassisCount }, (_, index) => chassisOperations(index)).flat(),
  );
  const chassisUuids = results.flatMap(({ uuid }, index) =>
    index % 2 === 1 && uuid !== undefined ? [uuid] : [],
  );
  const datapaths = Math.ceil(bytes / bytesPerPort / portsPerDatapath);
  for (let datapath = 1; datapath <= datapaths; datapath++) {
    await database.transact(datapathOperations(datapath, chassisUuids));
  }
}

function chassisOperations(index: number): readonly Operation[] {
  const name = pseudoUuid(index, 3);
  return [
    insert(
      encap,
      {
        type: 'geneve',
        ip: `10.200.${index >> 8}.${index & 255}`,
        chassis_name: name,
        options: new Map([['csum', 'true']]),
      },
      `encap${index}`,
    ),
    insert(chassis, {
      name,
      hostname: `compute-${index}.example.org`,
      encaps: [namedUuid(`encap${index}`)],
      other_config: new Map([
        ['datapath-type', 'system'],
        ['ovn-bridge-mappings', 'physnet1:br-ex'],
        ['port-up-notif', 'true'],
      ]),
    }),
  ];
}

function datapathOperations(datapath: number, chassisUuids: readonly Uuid[]): readonly Operation[] {
  const networkId = pseudoUuid(datapath, 1);
  const operations = [
    insert(
      datapathBinding,
      {
        tunnel_key: datapath,
        external_ids: new Map([
          ['logical-switch', pseudoUuid(datapath, 2)],
          ['name', `neutron-${networkId}`],
          ['name2', `network-${datapath}`],
        ]),
      },
      'datapath',
    ),
  ];
  for (let port = 1; port <= portsPerDatapath; port++) {
    operations.push(...portOperations(datapath, port, networkId, chassisUuids));
  }
  return operations;
}

function portOperations(
  datapath: number,
  port: number,
  networkId: string,
  chassisUuids: readonly Uuid[],
): readonly Operation[] {
  const serial = datapath * portsPerDatapath + port;
  const mac = `fa:16:3e:${[16, 8, 0].map((shift) => hex((serial >> shift) & 255, 2)).join(':')}`;
  const ip = `10.${datapath >> 8}.${datapath & 255}.${port}`;
  const name = pseudoUuid(serial, 4);
  const chassisUuid = chassisUuids[serial % chassisUuids.length];
  return [
    insert(portBinding, {
      logical_port: name,
      datapath: namedUuid('datapath'),
      tunnel_key: port,
      mac: [`${mac} ${ip}`],
      up: true,
      ...(chassisUuid !== undefined && { chassis: chassisUuid, requested_chassis: chassisUuid }),
      options: new Map([
        ['mcast_flood_reports', 'true'],
        ['requested-chassis', `compute-${serial % chassisCount}.example.org`],
      ]),
      external_ids: new Map([
        ['name', `port-${serial}`],
        ['neutron:cidrs', `${ip}/24`],
        ['neutron:device_id', pseudoUuid(serial, 5)],
        ['neutron:device_owner', 'compute:nova'],
        ['neutron:network_name', `neutron-${networkId}`],
        ['neutron:port_name', `port-${serial}`],
        ['neutron:project_id', hex(datapath % 50, 32)],
        ['neutron:revision_number', '4'],
        ['neutron:security_group_ids', pseudoUuid(datapath % 50, 6)],
      ]),
    }),
    ...(port % 10 === 0
      ? [
          insert(macBinding, {
            logical_port: `lrp-${name}`,
            ip,
            mac,
            timestamp: 1_700_000_000_000 + serial,
            datapath: namedUuid('datapath'),
          }),
        ]
      : []),
  ];
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

/** A uuid in form, the same for the same numbers. */
function pseudoUuid(serial: number, kind: number): string {
  const mixed = hex(Math.imul(serial, 2_654_435_761) >>> 0, 8);
  return `${mixed}-${hex(kind, 4)}-4000-8000-${hex(serial, 12)}`;
}
