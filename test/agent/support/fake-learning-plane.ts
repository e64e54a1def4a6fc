import type {
  FdbEntries,
  FdbEntry,
  FdbTable,
  LearningCounters,
  LearningPlane,
  MacEvent,
} from '../../../agent/fdb/fdb-table.js';
import type { LearnedOutlet } from '../../../agent/fdb/sightings.js';
import { macFromBytes } from '../../../common/addresses.js';
import { decodeMacKey } from '../../../generated/bpf/layouts.js';
import type { LearnedMacInput } from '../../../generated/proto/iovn/v1/LearnedMac.js';

/** A learning kernel in memory. */
export class FakeLearningPlane implements LearningPlane, FdbTable {
  readonly fdb = this;
  readonly capacity: number;
  readonly entries = new Map<string, FdbEntry>();
  /** Entries written and removed by the agent. */
  changes = 0;
  reads = 0;
  /** Set to lose events, as a full ring buffer does. */
  deaf = false;
  #learned = 0n;
  #moved = 0n;
  #onEvent: (event: MacEvent) => void = () => undefined;

  constructor(capacity = 4096) {
    this.capacity = capacity;
  }

  /** What the programs do with a frame from a port that learns. */
  see(key: string, entry: FdbEntry): void {
    const before = this.entries.get(key);
    this.entries.set(key, entry);
    if (before?.portKey === entry.portKey) return;
    if (before === undefined) this.#learned += 1n;
    else this.#moved += 1n;
    const { datapathKey, mac } = decodeMacKey(Buffer.from(key, 'hex'));
    if (!this.deaf) this.#onEvent({ datapathKey, portKey: entry.portKey, mac: macFromBytes(mac) });
  }

  /** What the kernel does when the map is full. */
  evict(key: string): void {
    this.entries.delete(key);
  }

  *chunks(): Generator<FdbEntries> {
    this.reads += 1;
    const all = [...this.entries];
    for (let from = 0; from < all.length; from += 2) yield new Map(all.slice(from, from + 2));
  }

  lookup(keys: readonly string[]): FdbEntries {
    return new Map(
      keys.flatMap((key) => {
        const entry = this.entries.get(key);
        return entry === undefined ? [] : [[key, entry] as const];
      }),
    );
  }

  write(entries: FdbEntries): void {
    for (const [key, entry] of entries) this.entries.set(key, entry);
    this.changes += entries.size;
  }

  remove(keys: readonly string[]): void {
    for (const key of keys) this.entries.delete(key);
    this.changes += keys.length;
  }

  counters(): LearningCounters {
    return { learned: this.#learned, moved: this.#moved, lostEvents: 0n };
  }

  watchEvents(onEvent: (event: MacEvent) => void, signal: AbortSignal): Promise<void> {
    this.#onEvent = onEvent;
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
  }
}

/** Takes batches while `open`. */
export class FakeLearnedOutlet implements LearnedOutlet {
  open = true;
  readonly batches: (readonly LearnedMacInput[])[] = [];

  sendLearned(macs: readonly LearnedMacInput[]): boolean {
    if (this.open) this.batches.push(macs);
    return this.open;
  }

  /** `MAC on DATAPATH/PORT`, all that was sent so far; forgotten then. */
  take(): readonly string[] {
    return this.batches
      .splice(0)
      .flat()
      .map(
        ({ mac, datapath_key: datapath, port_key: port }) =>
          `${Buffer.from(mac as Uint8Array).toString('hex')} on ${datapath ?? 0}/${port ?? 0}`,
      );
  }
}
