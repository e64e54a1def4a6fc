import type { Mac } from '../../common/addresses.js';

/** One learnt MAC of the kernel's map `fdb` (bpf/types.h struct fdb_entry). */
export interface FdbEntry {
  readonly portKey: number;
  /** 0 = its port is not plugged in here. */
  readonly slot: number;
  /** CLOCK_MONOTONIC; 0 = seen by another node only. */
  readonly seenNs: bigint;
}

/** By key: struct mac_key as lower-case hex, as in `TableEntries`. */
export type FdbEntries = ReadonlyMap<string, FdbEntry>;

/** Since the map was made, which may be before the agent started. */
export interface LearningCounters {
  readonly learned: bigint;
  readonly moved: bigint;
  readonly lostEvents: bigint;
}

/**
 * The map of learnt MACs. The programs write it, too, and the kernel gives up its oldest entries when it is full, so
 * nobody knows what is in it but by reading. Calls are synchronous and throw KernelError.
 */
export interface FdbTable {
  readonly capacity: number;
  /** All of it, piece by piece; each is read when it is asked for. */
  chunks(): Iterable<FdbEntries>;
  /** Those of `keys` that are there. */
  lookup(keys: readonly string[]): FdbEntries;
  write(entries: FdbEntries): void;
  remove(keys: readonly string[]): void;
  counters(): LearningCounters;
}

/** What the programs say at once about a MAC that is new or has moved. */
export interface MacEvent {
  readonly datapathKey: number;
  readonly portKey: number;
  readonly mac: Mac;
}

/** The part of the data plane that learns. */
export interface LearningPlane {
  readonly fdb: FdbTable;
  /** Calls `onEvent` for each event until `signal` aborts; resolves then. The data plane must stay open until it has. */
  watchEvents(onEvent: (event: MacEvent) => void, signal: AbortSignal): Promise<void>;
}
