import type { DropReasonInfo } from '../../generated/bpf/layouts.js';

/** What of the northbound database makes the data plane drop for a reason. */
export interface DecidingColumn {
  readonly table: 'Logical_Switch_Port' | 'Logical_Switch';
  readonly column: string;
}

const egressPrefix = 'egress_';

const portColumns: readonly (readonly [prefix: string, column: string])[] = [
  ['port_security_', 'port_security'],
  ['malformed_', 'port_security'],
  ['port_disabled', 'enabled'],
];

const switchColumns: Readonly<Record<string, string>> = {
  vlan_tagged: 'other_config:vlan-passthru',
  unknown_destination: 'ports',
  hairpin: 'ports',
  destination_not_plugged: 'ports',
  no_receiver: 'ports',
};

/** Undefined where no row decides, but the packet itself, the kernel or the underlay. */
export function decidingColumn({ name }: Pick<DropReasonInfo, 'name'>): DecidingColumn | undefined {
  const stage = name.startsWith(egressPrefix) ? name.slice(egressPrefix.length) : name;
  const ofPort = portColumns.find(([prefix]) => stage.startsWith(prefix));
  if (ofPort !== undefined) return { table: 'Logical_Switch_Port', column: ofPort[1] };
  const ofSwitch = switchColumns[stage];
  return ofSwitch === undefined ? undefined : { table: 'Logical_Switch', column: ofSwitch };
}

/**
 * Which way the packet went at the port under which it is counted: to it when its own egress stages refused, or when it came
 * in at another interface.
 */
export function directionAt(
  { name }: Pick<DropReasonInfo, 'name'>,
  portIfindex: number,
  arrivedAt: number | undefined,
): 'from port' | 'to port' | '' {
  if (name.startsWith(egressPrefix)) return 'to port';
  if (arrivedAt === undefined) return '';
  return arrivedAt === portIfindex ? 'from port' : 'to port';
}
