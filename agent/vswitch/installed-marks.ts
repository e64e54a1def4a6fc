import { byUuid, mutate, type Operation } from '../../ovsdb/operations.js';
import { type InterfaceRow, vswitchTables } from './tables.js';

const mark = 'ovn-installed';
const stamp = 'ovn-installed-ts';

function removal(row: InterfaceRow): Operation {
  return mutate(vswitchTables.interface, byUuid(row._uuid), [
    { column: 'external_ids', mutator: 'delete', value: [mark, stamp] },
  ]);
}

/** Single keys are replaced, because others write to the same map. */
function setting(row: InterfaceRow, nowMs: number): Operation {
  return mutate(vswitchTables.interface, byUuid(row._uuid), [
    { column: 'external_ids', mutator: 'delete', value: [mark, stamp] },
    {
      column: 'external_ids',
      mutator: 'insert',
      value: new Map([
        [mark, 'true'],
        [stamp, String(nowMs)],
      ]),
    },
  ]);
}

/**
 * Brings Interface.external_ids:ovn-installed (and -ts, epoch ms) in line with the kernel: set on interfaces whose name
 * is in `installed`, gone from all others.
 */
export function installedMarks(
  rows: Iterable<InterfaceRow>,
  installed: ReadonlySet<string>,
  nowMs: number,
): readonly Operation[] {
  return [...rows].flatMap((row) => {
    const marked = row.external_ids.get(mark) === 'true';
    const hasKeys = row.external_ids.has(mark) || row.external_ids.has(stamp);
    if (installed.has(row.name)) return marked ? [] : [setting(row, nowMs)];
    return hasKeys ? [removal(row)] : [];
  });
}
