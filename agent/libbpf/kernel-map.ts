import os from 'node:os';

import { isUnsupported, kernelError } from './kernel-error.js';
import { libbpf, NULL } from './native.js';

export interface MapInfo {
  /** enum bpf_map_type */
  readonly type: number;
  readonly id: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly name: string;
}

/** `count` entries, packed. */
export interface MapChunk {
  readonly keys: Buffer;
  readonly values: Buffer;
  readonly count: number;
}

/** What became of one entry: its position in the call and why the kernel refused it. */
export interface EntryFailure {
  readonly index: number;
  readonly errno: number;
}

const { ENOENT, ENOSPC, EINVAL } = os.constants.errno;

const mapTypeArray = 2;
const mapTypePerCpuHash = 5;
const mapTypePerCpuArray = 6;

const entriesPerBatch = 16384;

/** Reads `struct bpf_map_info` of a map. */
function readMapInfo(fd: number): MapInfo {
  const info = Buffer.alloc(88);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(info.length);
  const result = libbpf().bpf_obj_get_info_by_fd(fd, info, length);
  if (result < 0) throw kernelError('read the description of a map', -result, { fd });
  const name = info.toString('latin1', 24, 40);
  return {
    type: info.readUInt32LE(0),
    id: info.readUInt32LE(4),
    keySize: info.readUInt32LE(8),
    valueSize: info.readUInt32LE(12),
    maxEntries: info.readUInt32LE(16),
    name: name.slice(0, (name + '\0').indexOf('\0')),
  };
}

/** Bytes that a look-up returns for one entry: of per-CPU maps, one value per possible CPU, each rounded up to 8 bytes. */
function lookupSize(info: MapInfo, possibleCpus: number): number {
  if (info.type !== mapTypePerCpuArray && info.type !== mapTypePerCpuHash) return info.valueSize;
  return Math.ceil(info.valueSize / 8) * 8 * possibleCpus;
}

/** A map in the kernel, by its file descriptor, which the caller closes. Keys and values are packed one after another. */
export class KernelMap {
  readonly fd: number;
  readonly name: string;
  readonly info: MapInfo;
  /** Size of one value in what `visit` and `read` give and `update` takes. */
  readonly valueSize: number;

  constructor(name: string, fd: number) {
    this.fd = fd;
    this.name = name;
    this.info = readMapInfo(fd);
    this.valueSize = lookupSize(this.info, libbpf().libbpf_num_possible_cpus());
  }

  get isArray(): boolean {
    return this.info.type === mapTypeArray || this.info.type === mapTypePerCpuArray;
  }

  /** Calls `visit` with chunks of `count` packed keys and values until every entry has been seen. The Buffers are reused. */
  visit(visit: (keys: Buffer, values: Buffer, count: number) => void): void {
    for (const { keys, values, count } of this.chunks(entriesPerBatch)) visit(keys, values, count);
  }

  /**
   * Every entry, in chunks of about `size`; the next is read when it is asked for, into the same Buffers. Entries that
   * come or go meanwhile may be among them or not.
   */
  *chunks(size: number): Generator<MapChunk> {
    let chunk = Math.min(size, this.info.maxEntries);
    let keys = Buffer.alloc(chunk * this.info.keySize);
    let values = Buffer.alloc(chunk * this.valueSize);
    const position = Buffer.alloc(Math.max(8, this.info.keySize));
    const next = Buffer.alloc(position.length);
    const count = Buffer.alloc(4);
    for (let started = false; ; ) {
      count.writeUInt32LE(chunk);
      const from = started ? position : NULL;
      const result = libbpf().bpf_map_lookup_batch(this.fd, from, next, keys, values, count, NULL);
      const found = count.readUInt32LE();
      if (result === -ENOSPC && found === 0) {
        chunk *= 2; /* one bucket of the hash holds more than a chunk */
        keys = Buffer.alloc(chunk * this.info.keySize);
        values = Buffer.alloc(chunk * this.valueSize);
        continue;
      }
      if (result < 0 && result !== -ENOENT) {
        if (!started && (isUnsupported(-result) || result === -EINVAL)) {
          yield* this.#single();
          return;
        }
        throw kernelError(`read map ${this.name}`, -result, { map: this.name });
      }
      if (found > 0) yield { keys, values, count: found };
      if (result === -ENOENT) return;
      next.copy(position);
      started = true;
    }
  }

  /** Linux before 5.13 has no batch look-up for tries. */
  *#single(): Generator<MapChunk> {
    const key = Buffer.alloc(this.info.keySize);
    const next = Buffer.alloc(this.info.keySize);
    const value = Buffer.alloc(this.valueSize);
    for (let started = false; ; started = true) {
      const result = libbpf().bpf_map_get_next_key(this.fd, started ? key : NULL, next);
      if (result === -ENOENT) return;
      if (result < 0) throw kernelError(`read map ${this.name}`, -result, { map: this.name });
      next.copy(key);
      if (libbpf().bpf_map_lookup_elem(this.fd, key, value) === 0) {
        yield { keys: key, values: value, count: 1 };
      }
    }
  }

  /** One value; undefined when the key is not there. In a map that drops its oldest this does not count as use. */
  lookup(key: Buffer): Buffer | undefined {
    const value = Buffer.alloc(this.valueSize);
    const result = libbpf().bpf_map_lookup_elem(this.fd, key, value);
    if (result === -ENOENT) return undefined;
    if (result < 0) throw kernelError(`read map ${this.name}`, -result, { map: this.name });
    return value;
  }

  /** Array maps: the values of `count` indices from `first` on, packed, in one call. */
  readRange(first: number, count: number): Buffer {
    if (!this.isArray || first < 0 || first + count > this.info.maxEntries) {
      throw new RangeError(`map ${this.name} has no entries ${first} to ${first + count - 1}`);
    }
    const keys = Buffer.alloc(count * 4);
    const values = Buffer.alloc(count * this.valueSize);
    const position = Buffer.alloc(8);
    const counter = Buffer.alloc(4);
    counter.writeUInt32LE(count);
    if (first > 0) position.writeUInt32LE(first - 1);
    const from = first > 0 ? position : NULL;
    const next = Buffer.alloc(8);
    const result = libbpf().bpf_map_lookup_batch(this.fd, from, next, keys, values, counter, NULL);
    if ((result < 0 && result !== -ENOENT) || counter.readUInt32LE() !== count) {
      throw kernelError(`read map ${this.name}`, result < 0 ? -result : EINVAL, { map: this.name });
    }
    return values;
  }

  /** Writes `count` packed entries in order; those that the kernel refuses are returned and the rest is written. */
  update(keys: Buffer, values: Buffer, count: number): EntryFailure[] {
    const { keySize } = this.info;
    const call = (from: number, done: Buffer): number =>
      libbpf().bpf_map_update_batch(
        this.fd,
        keys.subarray(from * keySize),
        values.subarray(from * this.valueSize),
        done,
        NULL,
      );
    const single = (index: number): number =>
      libbpf().bpf_map_update_elem(
        this.fd,
        keys.subarray(index * keySize, (index + 1) * keySize),
        values.subarray(index * this.valueSize, (index + 1) * this.valueSize),
        0,
      );
    return inBatches(count, call, single);
  }

  /** Removes `count` packed keys; one that is not there counts as removed. Not for array maps. */
  delete(keys: Buffer, count: number): EntryFailure[] {
    const { keySize } = this.info;
    const call = (from: number, done: Buffer): number =>
      libbpf().bpf_map_delete_batch(this.fd, keys.subarray(from * keySize), done, NULL);
    const single = (index: number): number =>
      libbpf().bpf_map_delete_elem(this.fd, keys.subarray(index * keySize, (index + 1) * keySize));
    return inBatches(count, call, single).filter(({ errno }) => errno !== ENOENT);
  }
}

/**
 * Drives a batch call over `count` entries. The kernel stops a batch at the first entry that it refuses and says
 * how many came before: that one is noted and the batch goes on behind it. Where the kernel has no batch
 * operation for this type of map, `single` is called for each.
 */
function inBatches(
  count: number,
  batch: (from: number, done: Buffer) => number,
  single: (index: number) => number,
): EntryFailure[] {
  const failures: EntryFailure[] = [];
  const done = Buffer.alloc(4);
  for (let from = 0; from < count; ) {
    done.writeUInt32LE(count - from);
    const result = batch(from, done);
    if (result >= 0) return failures;
    if (isUnsupported(-result)) {
      for (; from < count; from++) {
        const status = single(from);
        if (status < 0) failures.push({ index: from, errno: -status });
      }
      return failures;
    }
    const index = from + done.readUInt32LE();
    if (index >= count) throw kernelError('write to a map', -result);
    failures.push({ index, errno: -result });
    from = index + 1;
  }
  return failures;
}
