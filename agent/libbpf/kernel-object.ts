import os from 'node:os';

import { errorMessage } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import { check, KernelError, kernelError, verifierReason } from './kernel-error.js';
import { withLibbpfLog } from './libbpf-log.js';
import { isNull, lastErrno, libbpf, NULL, type Pointer, writePointer } from './native.js';

/** Sizes that replace those of the object, by map name, in entries. */
export type MapSizes = Readonly<Record<string, number>>;

/** What of an object is in the kernel, by name. The file descriptors belong to it until `close()`. */
export interface LoadedObject {
  readonly maps: ReadonlyMap<string, number>;
  readonly programs: ReadonlyMap<string, number>;
  close(): void;
}

/** Enough for the verifier's account of a program of some ten thousand instructions; untouched pages cost nothing. */
const verifierLogBytes = 16 * 1024 * 1024;

/** Opens libbpf once, so that a machine without it gets a message instead of a stack trace. */
export function requireLibbpf(): void {
  try {
    libbpf();
  } catch (error) {
    const message = `libbpf.so.1 can't be loaded (${errorMessage(error)}): install libbpf 1.0 or later (Debian: libbpf1)`;
    throw new KernelError('kernel_unsupported', 0, message, {}, error);
  }
}

/**
 * Loads the maps and programs of an ELF object into the kernel; nothing is pinned or attached. For the maps in `shared` it
 * takes those that are there, by file descriptor, instead of making its own. Throws KernelError,
 * 'kernel_verifier' with the end of the verifier's log where it is the verifier that refuses.
 */
export function loadObject(
  name: string,
  bytes: Uint8Array,
  sizes: MapSizes,
  log: Logger,
  shared: ReadonlyMap<string, number> = new Map(),
): LoadedObject {
  return withLibbpfLog(log, () => {
    const verifierLog = Buffer.allocUnsafeSlow(verifierLogBytes);
    verifierLog[0] = 0;
    const object = openObject(name, bytes, verifierLog);
    try {
      resizeMaps(object, sizes);
      shareMaps(object, shared);
      const result = libbpf().bpf_object__load(object);
      if (result < 0) throw loadError(name, -result, verifierLog);
      return describe(object);
    } catch (error) {
      libbpf().bpf_object__close(object);
      throw error;
    }
  });
}

/** Names of what an object declares, without loading it. */
export function listObject(
  name: string,
  bytes: Uint8Array,
  log: Logger,
): { maps: string[]; programs: string[] } {
  return withLibbpfLog(log, () => {
    const object = openObject(name, bytes, Buffer.alloc(1));
    try {
      const maps = Array.from(members(object, 'bpf_object__next_map'), (map) => libbpf().bpf_map__name(map));
      const programs = Array.from(members(object, 'bpf_object__next_program'), (program) =>
        libbpf().bpf_program__name(program),
      );
      return { maps, programs };
    } finally {
      libbpf().bpf_object__close(object);
    }
  });
}

function openObject(name: string, bytes: Uint8Array, verifierLog: Buffer): Pointer {
  const image = Buffer.from(bytes);
  const objectName = Buffer.from(`${name}\0`);
  const options = Buffer.alloc(80);
  options.writeBigUInt64LE(80n, 0);
  writePointer(options, 8, objectName);
  writePointer(options, 56, verifierLog);
  options.writeBigUInt64LE(BigInt(verifierLog.length), 64);
  const object = libbpf().bpf_object__open_mem(image, image.length, options);
  if (isNull(object)) throw kernelError(`open eBPF object ${name}`, lastErrno(), { object: name });
  return object;
}

function resizeMaps(object: Pointer, sizes: MapSizes): void {
  for (const map of members(object, 'bpf_object__next_map')) {
    const name = libbpf().bpf_map__name(map);
    const entries = sizes[name];
    if (entries !== undefined) {
      check(libbpf().bpf_map__set_max_entries(map, entries), `give map ${name} ${entries} entries`, {
        map: name,
      });
    }
  }
}

function shareMaps(object: Pointer, shared: ReadonlyMap<string, number>): void {
  for (const map of members(object, 'bpf_object__next_map')) {
    const name = libbpf().bpf_map__name(map);
    const fd = shared.get(name);
    if (fd !== undefined) check(libbpf().bpf_map__reuse_fd(map, fd), `share map `, { map: name });
  }
}

function describe(object: Pointer): LoadedObject {
  const maps = new Map<string, number>();
  for (const map of members(object, 'bpf_object__next_map')) {
    maps.set(libbpf().bpf_map__name(map), libbpf().bpf_map__fd(map));
  }
  const programs = new Map<string, number>();
  for (const program of members(object, 'bpf_object__next_program')) {
    programs.set(libbpf().bpf_program__name(program), libbpf().bpf_program__fd(program));
  }
  return { maps, programs, close: () => libbpf().bpf_object__close(object) };
}

function* members(
  object: Pointer,
  next: 'bpf_object__next_map' | 'bpf_object__next_program',
): Generator<Pointer> {
  for (let member = libbpf()[next](object, NULL); !isNull(member); member = libbpf()[next](object, member)) {
    yield member;
  }
}

function loadError(name: string, errno: number, verifierLog: Buffer): KernelError {
  const end = verifierLog.indexOf(0);
  const reason = verifierReason(verifierLog.toString('utf8', 0, end < 0 ? verifierLog.length : end));
  const refused = kernelError(`load eBPF object ${name}`, errno, { object: name });
  /* EACCES is the verifier's usual answer, EPERM that of a kernel that was not even asked to verify. */
  if (reason === '' || errno === os.constants.errno.EPERM) return refused;
  const message = `the kernel's verifier refuses eBPF object ${name}:\n${reason}`;
  return new KernelError('kernel_verifier', errno, message, { object: name });
}
