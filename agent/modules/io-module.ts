import type { TableName } from '../data-plane.js';
import type { PortIntent, SwitchIntent } from '../intent.js';
import type { LocalPort } from '../local-ports.js';
import type { ResourceProblem, ResourceRef } from '../resources.js';
import type { TunnelPlan } from '../tunnels/tunnels.js';

/** A local port with its place in the data plane. */
export interface PluggedPort extends LocalPort {
  readonly slot: number;
}

/** A port of one of the node's switches, wherever it is plugged. */
export interface SwitchPort {
  readonly port: PortIntent;
  readonly datapathKey: number;
}

export interface ModuleInput {
  /** Sorted by datapath key, then port key. */
  readonly ports: readonly SwitchPort[];
  /** Sorted by slot. */
  readonly plugged: readonly PluggedPort[];
  /** Sorted by datapath key. */
  readonly switches: readonly SwitchIntent[];
  readonly tunnelPlan: TunnelPlan;
}

export interface TableEntry {
  readonly table: TableName;
  /** As in `TableEntries`. */
  readonly key: string;
  readonly value: Uint8Array;
  /** Whom an error in writing it concerns. */
  readonly owner: ResourceRef;
}

export interface ModuleOutput {
  readonly entries: readonly TableEntry[];
  readonly problems: readonly ResourceProblem[];
}

/** One network function: turns intent into the entries of its maps, purely. */
export interface IoModule {
  readonly name: string;
  readonly tables: readonly TableName[];
  readonly compute: (input: ModuleInput) => ModuleOutput;
}

export function portRef(port: PortIntent): ResourceRef {
  return { kind: 'Port', name: port.name };
}

/** Key bytes as the tables hold them. */
export function hexKey(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
