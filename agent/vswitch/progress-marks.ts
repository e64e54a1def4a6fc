import { byUuid, mutate, type Operation } from '../../ovsdb/operations.js';
import { vswitchTables } from './tables.js';
import type { Topology } from './topology.js';

/** How far the node's data plane has come. */
export interface Progress {
  /** NB_Global.nb_cfg that is in the kernel, decimal. */
  readonly nbCfg: string;
  /** When the agent started, epoch ms. */
  readonly startedMs: number;
}

/**
 * Brings the integration bridge's external_ids:ovn-nb-cfg, ovn-nb-cfg-ts and ovn-startup-ts (ovn-controller(8), "OPEN VSWITCH
 * DATABASE USAGE") in line with that; times in epoch ms. None while there is no such bridge.
 */
export function progressMarks(
  { bridges }: Topology,
  integrationBridge: string,
  { nbCfg, startedMs }: Progress,
  nowMs: number,
): readonly Operation[] {
  const row = bridges.find(({ bridge }) => bridge.name === integrationBridge)?.bridge;
  if (row === undefined) return [];
  const startup = String(startedMs);
  const isMarked =
    row.external_ids.get('ovn-nb-cfg') === nbCfg && row.external_ids.get('ovn-startup-ts') === startup;
  if (isMarked) return [];
  const marks = new Map([
    ['ovn-nb-cfg', nbCfg],
    ['ovn-nb-cfg-ts', String(nowMs)],
    ['ovn-startup-ts', startup],
  ]);
  return [
    mutate(vswitchTables.bridge, byUuid(row._uuid), [
      { column: 'external_ids', mutator: 'delete', value: [...marks.keys()] },
      { column: 'external_ids', mutator: 'insert', value: marks },
    ]),
  ];
}
