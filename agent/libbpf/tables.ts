import {
  decodeDropSampling,
  decodePortCounters,
  dropReasons,
  dropSamplingSize,
  portCountersSize,
} from '../../generated/bpf/layouts.js';
import {
  type PortCounters,
  type TableEntries,
  type TableName,
  tableNames,
  type TableUsage,
  type WriteFailure,
} from '../data-plane.js';
import { codeOfErrno, errnoName, KernelError } from './kernel-error.js';
import { type EntryFailure, KernelMap } from './kernel-map.js';

const counterMapNames = ['port_counters', 'drops', 'drop_sampling'] as const;
type MapName = TableName | (typeof counterMapNames)[number];

/** The maps of `bpf/maps.h` by what the agent does with them: tables that it fills, counters that it reads. */
export class KernelTables {
  readonly #maps: ReadonlyMap<string, KernelMap>;

  /** Takes the file descriptors of the maps by name; the caller closes them. Throws KernelError when one is missing. */
  constructor(descriptors: ReadonlyMap<string, number>) {
    const names: readonly MapName[] = [...tableNames, ...counterMapNames];
    this.#maps = new Map(
      names.map((name) => {
        const fd = descriptors.get(name);
        if (fd === undefined) {
          throw new KernelError('kernel_not_found', 0, `the eBPF object has no map ${name}`, { map: name });
        }
        return [name, new KernelMap(name, fd)];
      }),
    );
  }

  get slotCount(): number {
    return this.#map('ports').info.maxEntries;
  }

  capacity(table: TableName): number {
    return this.#map(table).info.maxEntries;
  }

  readTable(table: TableName): TableEntries {
    const map = this.#map(table);
    const { keySize } = map.info;
    const entries = new Map<string, Uint8Array>();
    map.visit((keys, values, count) => {
      const texts = keys.toString('hex', 0, count * keySize);
      for (let i = 0; i < count; i++) {
        const value = values.subarray(i * map.valueSize, (i + 1) * map.valueSize);
        if (map.isArray && isZero(value)) continue;
        entries.set(texts.slice(i * keySize * 2, (i + 1) * keySize * 2), Uint8Array.from(value));
      }
    });
    return entries;
  }

  writeEntries(table: TableName, entries: TableEntries): readonly WriteFailure[] {
    const map = this.#map(table);
    const { keySize } = map.info;
    const names = Array.from(entries.keys());
    const keys = packKeys(map, names);
    const values = Buffer.alloc(names.length * map.valueSize);
    let offset = 0;
    for (const value of entries.values()) {
      if (value.length !== map.valueSize) {
        throw new RangeError(`a value of map ${table} has ${map.valueSize} bytes, not ${value.length}`);
      }
      values.set(value, offset);
      offset += map.valueSize;
    }
    const failures = names.length === 0 ? [] : map.update(keys, values, names.length);
    return failures.map((failure) =>
      describeFailure(
        map,
        keys.toString('hex', failure.index * keySize, (failure.index + 1) * keySize),
        failure,
      ),
    );
  }

  deleteEntries(table: TableName, names: readonly string[]): readonly WriteFailure[] {
    const map = this.#map(table);
    if (names.length === 0) return [];
    if (map.isArray) {
      const zeros = new Uint8Array(map.valueSize);
      return this.writeEntries(table, new Map(names.map((name) => [name, zeros])));
    }
    return map
      .delete(packKeys(map, names), names.length)
      .map((failure) => describeFailure(map, names[failure.index] ?? '', failure));
  }

  readCounters(slots: readonly number[]): ReadonlyMap<number, PortCounters> {
    if (slots.length === 0) return new Map();
    const first = slots.reduce((a, b) => Math.min(a, b));
    const count = slots.reduce((a, b) => Math.max(a, b)) - first + 1;
    const traffic = this.#map('port_counters');
    const trafficBytes = traffic.readRange(first, count);
    const reasons = dropReasons.length;
    const dropBytes = this.#map('drops').readRange(first, count);
    const dropCounts = new BigUint64Array(dropBytes.buffer, dropBytes.byteOffset, count * reasons);
    return new Map(
      slots.map((slot) => {
        const perCpu = trafficBytes.subarray(
          (slot - first) * traffic.valueSize,
          (slot - first + 1) * traffic.valueSize,
        );
        const drops = Array.from(dropCounts.subarray((slot - first) * reasons, (slot - first + 1) * reasons));
        return [slot, { ...sumOverCpus(perCpu), drops }];
      }),
    );
  }

  resetCounters(slot: number): void {
    const traffic = this.#map('port_counters');
    this.#overwrite(traffic, slot, 1);
    this.#overwrite(this.#map('drops'), slot, 1);
  }

  /** Samples of drops for which the ring buffer had no room. */
  lostDropSamples(): bigint {
    const perCpu = this.#map('drop_sampling').readRange(0, 1);
    let lost = 0n;
    for (let offset = 0; offset < perCpu.length; offset += dropSamplingSize)
      lost += decodeDropSampling(perCpu.subarray(offset, offset + dropSamplingSize)).lostSamples;
    return lost;
  }

  /** Entries and capacity of the tables; reads them all. */
  usage(): readonly TableUsage[] {
    return tableNames.map((name) => {
      const map = this.#map(name);
      let entries = 0;
      map.visit((_keys, values, count) => {
        entries += map.isArray ? countNonZero(values, map.valueSize, count) : count;
      });
      return { name, entries, capacity: map.info.maxEntries };
    });
  }

  /** Writes zeros to `count` indices of an array map. */
  #overwrite(map: KernelMap, first: number, count: number): void {
    const keys = Buffer.alloc(count * 4);
    for (let i = 0; i < count; i++) keys.writeUInt32LE(first + i, i * 4);
    const [failure] = map.update(keys, Buffer.alloc(count * map.valueSize), count);
    if (failure !== undefined) {
      throw new RangeError(`counters of map ${map.name} can't be reset: ${errnoName(failure.errno)}`);
    }
  }

  #map(name: MapName): KernelMap {
    const map = this.#maps.get(name);
    if (map === undefined) throw new RangeError(`no map ${name}`);
    return map;
  }
}

function packKeys(map: KernelMap, names: readonly string[]): Buffer {
  const { keySize } = map.info;
  for (const name of names) {
    if (name.length !== keySize * 2)
      throw new RangeError(`a key of map ${map.name} has ${keySize} bytes: ${name}`);
  }
  const keys = Buffer.from(names.join(''), 'hex');
  if (keys.length !== names.length * keySize)
    throw new RangeError(`a key of map ${map.name} is not hexadecimal`);
  return keys;
}

function describeFailure(map: KernelMap, key: string, { errno }: EntryFailure): WriteFailure {
  if (codeOfErrno(errno) === 'kernel_map_full') {
    const message = `map ${map.name} is full: it takes ${map.info.maxEntries} entries`;
    return { key, code: 'map_full', message };
  }
  return { key, code: 'kernel_error', message: `map ${map.name} refuses the entry: ${errnoName(errno)}` };
}

function sumOverCpus(values: Buffer): Omit<PortCounters, 'drops'> {
  let total = { receivedPackets: 0n, receivedBytes: 0n, sentPackets: 0n, sentBytes: 0n };
  for (let offset = 0; offset < values.length; offset += portCountersSize) {
    const one = decodePortCounters(values.subarray(offset, offset + portCountersSize));
    total = {
      receivedPackets: total.receivedPackets + one.receivedPackets,
      receivedBytes: total.receivedBytes + one.receivedBytes,
      sentPackets: total.sentPackets + one.sentPackets,
      sentBytes: total.sentBytes + one.sentBytes,
    };
  }
  return total;
}

function isZero(value: Uint8Array): boolean {
  return value.every((byte) => byte === 0);
}

function countNonZero(values: Uint8Array, size: number, count: number): number {
  let found = 0;
  for (let i = 0; i < count; i++) {
    if (!isZero(values.subarray(i * size, (i + 1) * size))) found++;
  }
  return found;
}
