import {
  decodeFdbEntry,
  decodeLearningCounters,
  encodeFdbEntry,
  learningCountersSize,
} from '../../generated/bpf/layouts.js';
import type { FdbEntries, FdbEntry, FdbTable, LearningCounters } from '../fdb/fdb-table.js';
import { errnoName, KernelError } from './kernel-error.js';
import { KernelMap } from './kernel-map.js';

/** Some milliseconds' work. */
const entriesPerChunk = 1024;

/** The FdbTable that is the kernel's. */
export class KernelFdb implements FdbTable {
  readonly #entries: KernelMap;
  readonly #counters: KernelMap;

  /** Takes the file descriptors of the maps by name; the caller closes them. Throws KernelError when one is missing. */
  constructor(descriptors: ReadonlyMap<string, number>) {
    this.#entries = openMap(descriptors, 'fdb');
    this.#counters = openMap(descriptors, 'learning_counters');
  }

  get capacity(): number {
    return this.#entries.info.maxEntries;
  }

  *chunks(): Generator<FdbEntries> {
    const { info, valueSize } = this.#entries;
    for (const { keys, values, count } of this.#entries.chunks(entriesPerChunk)) {
      const found = new Map<string, FdbEntry>();
      const texts = keys.toString('hex', 0, count * info.keySize);
      for (let i = 0; i < count; i++) {
        const key = texts.slice(i * info.keySize * 2, (i + 1) * info.keySize * 2);
        found.set(key, decodeFdbEntry(values.subarray(i * valueSize, (i + 1) * valueSize)));
      }
      yield found;
    }
  }

  lookup(keys: readonly string[]): FdbEntries {
    const found = new Map<string, FdbEntry>();
    for (const key of keys) {
      const value = this.#entries.lookup(Buffer.from(key, 'hex'));
      if (value !== undefined) found.set(key, decodeFdbEntry(value));
    }
    return found;
  }

  write(entries: FdbEntries): void {
    if (entries.size === 0) return;
    const keys = Buffer.from([...entries.keys()].join(''), 'hex');
    const values = Buffer.concat([...entries.values()].map(encodeFdbEntry));
    const [failure] = this.#entries.update(keys, values, entries.size);
    /* A map of this kind is never full. */
    if (failure !== undefined) throw refused('refuses an entry', failure.errno);
  }

  remove(keys: readonly string[]): void {
    if (keys.length === 0) return;
    const [failure] = this.#entries.delete(Buffer.from(keys.join(''), 'hex'), keys.length);
    if (failure !== undefined) throw refused('does not let go of an entry', failure.errno);
  }

  counters(): LearningCounters {
    const values = this.#counters.readRange(0, 1);
    let total: LearningCounters = { learned: 0n, moved: 0n, lostEvents: 0n };
    for (let offset = 0; offset < values.length; offset += learningCountersSize) {
      const { learned, moved, lostEvents } = decodeLearningCounters(
        values.subarray(offset, offset + learningCountersSize),
      );
      total = {
        learned: total.learned + learned,
        moved: total.moved + moved,
        lostEvents: total.lostEvents + lostEvents,
      };
    }
    return total;
  }
}

function openMap(descriptors: ReadonlyMap<string, number>, name: string): KernelMap {
  const fd = descriptors.get(name);
  if (fd !== undefined) return new KernelMap(name, fd);
  throw new KernelError('kernel_not_found', 0, `the eBPF object has no map ${name}`, { map: name });
}

function refused(what: string, errno: number): KernelError {
  return new KernelError('kernel_failure', errno, `map fdb ${what}: ${errnoName(errno)}`, { map: 'fdb' });
}
