import { byUuid, insert, mutate, namedUuid, type Operation } from '../../ovsdb/operations.js';
import { vswitchTables } from './tables.js';
import type { Topology } from './topology.js';

/**
 * Makes the integration bridge where it is missing, as ovn-controller does: clients plug into it without asking.
 * Nothing in a database that nobody has initialized.
 */
export function integrationBridgeOperations(topology: Topology, name: string): readonly Operation[] {
  const { openVswitch, bridges } = topology;
  if (openVswitch === undefined || bridges.some(({ bridge }) => bridge.name === name)) return [];
  return [
    insert(vswitchTables.interface, { name, type: 'internal' }, 'local_interface'),
    insert(vswitchTables.port, { name, interfaces: [namedUuid('local_interface')] }, 'local_port'),
    insert(
      vswitchTables.bridge,
      { name, fail_mode: 'secure', ports: [namedUuid('local_port')] },
      'integration_bridge',
    ),
    mutate(vswitchTables.openVswitch, byUuid(openVswitch._uuid), [
      { column: 'bridges', mutator: 'insert', value: [namedUuid('integration_bridge')] },
    ]),
  ];
}
