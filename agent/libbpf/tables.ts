import type { Ifindex } from '../../common/addresses.js';
import {
  decodeDropSampling,
  decodePortCounters,
  decodePortKey,
  dropSamplingSize,
  encodePortKey,
  portCountersSize,
} from '../../generated/bpf/layouts.js';
import type { Activation } from '../activations.js';
import {
  type PortCounters,
  type TableEntries,
  type TableName,
  tableNames,
  type WriteFailure,
} from '../data-plane.js';
import { codeOfErrno, errnoName, KernelError } from './kernel-error.js';
import { type EntryFailure, KernelMap } from './kernel-map.js';

/** Those that the programs write. */
const programMapNames = ['port_counters', 'drops', 'drop_sampling', 'activations'] as const;
type MapName = TableName | (typeof programMapNames)[number];

const wordSize = 8;

/** The maps of `bpf/maps.h` by what the agent does with them: tables that it fills, counters that it reads. */
export class KernelTables {
  readonly #maps: ReadonlyMap<string, KernelMap>;

  /** Takes the file descriptors of the maps by name; the caller closes them. Throws KernelError when one is missing. */
  constructor(descriptors: ReadonlyMap<string, number>) {
    const names: readonly MapName[] = [...tableNames, ...programMapNames];
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
    const traffic = this.#map('port_counters').readRange(first, count);
    const drops = wordsOf(this.#map('drops').readRange(first, count));
    const trafficBytes = traffic.length / count;
    const reasons = drops.length / count;
    return new Map(
      slots.map((slot) => {
        const index = slot - first;
        const perCpu = traffic.subarray(index * trafficBytes, (index + 1) * trafficBytes);
        const ofSlot = drops.subarray(index * reasons, (index + 1) * reasons);
        return [slot, { ...sumOverCpus(perCpu), drops: ofSlot }];
      }),
    );
  }

  resetCounters(slot: number): void {
    const traffic = this.#map('port_counters');
    this.#overwrite(traffic, slot, 1);
    this.#overwrite(this.#map('drops'), slot, 1);
  }

  readActivations(): readonly Activation[] {
    const map = this.#map('activations');
    const { keySize } = map.info;
    const found: Activation[] = [];
    map.visit((keys, values, count) => {
      for (let i = 0; i < count; i++) {
        const key = decodePortKey(keys.subarray(i * keySize, (i + 1) * keySize));
        found.push({ ...key, ifindex: values.readUInt32LE(i * map.valueSize) as Ifindex });
      }
    });
    return found;
  }

  forgetActivations(activations: readonly Activation[]): void {
    if (activations.length === 0) return;
    const [failure] = this.#map('activations').delete(
      Buffer.concat(activations.map(encodePortKey)),
      activations.length,
    );
    if (failure !== undefined)
      throw new RangeError(`map activations does not let go of an entry: ${errnoName(failure.errno)}`);
  }

  /** Samples of drops for which the ring buffer had no room. */
  lostDropSamples(): bigint {
    const perCpu = this.#map('drop_sampling').readRange(0, 1);
    let lost = 0n;
    for (let offset = 0; offset < perCpu.length; offset += dropSamplingSize)
      lost += decodeDropSampling(perCpu.subarray(offset, offset + dropSamplingSize)).lostSamples;
    return lost;
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

/** Every field of struct port_counters is a 64-bit number, so that they can be added up before they are decoded. */
function sumOverCpus(perCpu: Buffer): Omit<PortCounters, 'drops'> {
  const words = wordsOf(perCpu);
  const sum = new BigUint64Array(portCountersSize / wordSize);
  for (let cpu = 0; cpu < words.length; cpu += sum.length)
    for (let field = 0; field < sum.length; field++)
      sum[field] = BigInt.asUintN(64, (sum[field] ?? 0n) + (words[cpu + field] ?? 0n));
  return decodePortCounters(new Uint8Array(sum.buffer));
}

function wordsOf(bytes: Buffer): BigUint64Array {
  return new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / wordSize);
}

function isZero(value: Uint8Array): boolean {
  return value.every((byte) => byte === 0);
}
