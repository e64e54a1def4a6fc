import type { DropReasonInfo } from '../../generated/bpf/layouts.js';
import { decidingColumn } from '../drops/drop-decision.js';
import type { PortIntent, SwitchIntent } from '../intent.js';
import type { Place } from './places.js';
import { violatedEntries } from './port-entries.js';

/** A row of the northbound database as the messages of proto/node.proto name it. */
export interface NbRow {
  readonly row_table: string;
  readonly row_uuid: string;
  readonly row_name: string;
  readonly row_column?: string;
  readonly row_entries?: string[];
}

export function portRow(port: PortIntent, column?: string, entries: readonly string[] = []): NbRow {
  return {
    row_table: 'Logical_Switch_Port',
    row_uuid: port.nbUuid,
    row_name: port.name,
    ...(column === undefined ? {} : { row_column: column }),
    ...(entries.length === 0 ? {} : { row_entries: [...entries] }),
  };
}

export function switchRow(owner: SwitchIntent | undefined, column?: string): NbRow {
  return {
    row_table: 'Logical_Switch',
    row_uuid: owner?.nbUuid ?? '',
    row_name: owner?.name ?? '',
    ...(column === undefined ? {} : { row_column: column }),
  };
}

/** The row for which a packet is dropped at a port; none where no row decides. `packet` are its first bytes, where they are known. */
export function droppingRow(
  { plugged, owner }: Place,
  reason: DropReasonInfo,
  packet: Uint8Array | undefined,
): NbRow | undefined {
  const deciding = decidingColumn(reason);
  if (deciding === undefined) return undefined;
  const { table, column } = deciding;
  if (table === 'Logical_Switch') return switchRow(owner, column);
  const side = reason.name.startsWith('egress_') ? 'destination' : 'source';
  const isSecurity = reason.name.includes('port_security_') && packet !== undefined;
  return portRow(plugged.port, column, isSecurity ? violatedEntries(plugged.port, packet, side) : []);
}
