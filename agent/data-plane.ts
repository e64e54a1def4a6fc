import type { Ifindex } from '../common/addresses.js';
import type { Activation } from './activations.js';

/** The maps of `bpf/maps.h` that the agent fills; it owns every entry of them. */
export const tableNames = [
  'ports',
  'ports_by_interface',
  'destinations',
  'neighbours',
  'multicast_members',
  'ports_by_key',
  'tunnels',
  'tunnel_endpoints',
  'remote_members',
  'allowed_macs',
  'allowed_addresses',
  'allowed_prefixes',
] as const;
export type TableName = (typeof tableNames)[number];

/** Entries of one map: key bytes as lower-case hex, value bytes. A slot of an array map whose value is all zero counts as absent. */
export type TableEntries = ReadonlyMap<string, Uint8Array>;

/** The programs that are attached to interfaces: of taps, of the underlay, the tunnel devices, the node's relay (bpf/arrival.h), uplinks. */
export const programNames = [
  'vif_ingress',
  'tunnel_ingress',
  'geneve_ingress',
  'vxlan_ingress',
  'relay_ingress',
  'uplink_ingress',
] as const;
export type ProgramName = (typeof programNames)[number];

/** Where a program is attached. */
export interface Attachment {
  readonly ifindex: Ifindex;
  /**
   * False when another program is in place of ours (an older generation's, say), the link is defunct, or it is
   * attached in the other mode: `attach` puts it right.
   */
  readonly intact: boolean;
}

export interface TableUsage {
  readonly name: string;
  readonly entries: number;
  readonly capacity: number;
}

/** Totals over all CPUs since the slot was last assigned. */
export interface PortCounters {
  readonly receivedPackets: bigint;
  readonly receivedBytes: bigint;
  readonly sentPackets: bigint;
  readonly sentBytes: bigint;
  /** Indexed by enum drop_reason. */
  readonly drops: ArrayLike<bigint>;
}

/** What could not be written, entry by entry: one that fails does not stop the others. */
export interface WriteFailure {
  readonly key: string;
  /** "map_full" or "kernel_error" */
  readonly code: 'map_full' | 'kernel_error';
  readonly message: string;
}

export type AttachMode = 'tcx' | 'clsact';

/**
 * The kernel's side of this node, as the reconciler sees it. Every call is synchronous and takes milliseconds at
 * most; errors are thrown as `KernelError`. `agent/libbpf/` has the real one, tests have one in memory.
 */
export interface DataPlane {
  readonly attachMode: AttachMode;
  /** Slots that `ports` has, slot 0 (which no port uses) included. */
  readonly slotCount: number;
  /** Entries that the table can hold. */
  capacity(table: TableName): number;
  /** What is in the kernel now, read from it. */
  readTable(table: TableName): TableEntries;
  writeEntries(table: TableName, entries: TableEntries): readonly WriteFailure[];
  deleteEntries(table: TableName, keys: readonly string[]): readonly WriteFailure[];
  /** Every interface on which a link or filter of ours with this program ('vif_ingress') is (pinned), defunct ones included. */
  readAttachments(program?: ProgramName): readonly Attachment[];
  attach(ifindex: Ifindex, program?: ProgramName): void;
  detach(ifindex: Ifindex, program?: ProgramName): void;
  /** One read for all slots, whatever their number. */
  readCounters(slots: readonly number[]): ReadonlyMap<number, PortCounters>;
  resetCounters(slot: number): void;
  /** The ports that programs have activated and nobody has forgotten since. */
  readActivations(): readonly Activation[];
  forgetActivations(activations: readonly Activation[]): void;
  /** `listener` is called when a port was activated, for as long as events are watched; it replaces the one before. */
  onActivation(listener: () => void): void;
  /** Does with a frame what is done with one that comes from the interface. Of what results only copies to many are sent. */
  broadcast(ifindex: Ifindex, frame: Uint8Array): void;
  /**
   * After an upgrade, once every interface that should be is attached: detaches what an older generation of programs
   * still has, and removes that generation's programs and maps. Does nothing when there is none.
   */
  retireOldGenerations(): void;
  /** Releases file descriptors; what is pinned stays and goes on forwarding. */
  close(): void;
  /** Detaches everywhere and removes every pin. */
  destroy(): void;
}
