import ffi from 'ffi-napi';
import ref from 'ref-napi';

/** Memory that C reads or writes. Whoever passes a Buffer keeps it referenced for as long as C may use it. */
export type Pointer = Buffer;

/** libbpf.so.1 (libbpf 1.0 and later): functions that return `number` return a negative errno on failure. */
export interface Libbpf {
  libbpf_set_print(print: Pointer): Pointer;
  libbpf_num_possible_cpus(): number;
  bpf_object__open_mem(bytes: Pointer, size: number, options: Pointer): Pointer;
  bpf_object__load(object: Pointer): number;
  bpf_object__close(object: Pointer): void;
  bpf_object__next_map(object: Pointer, previous: Pointer): Pointer;
  bpf_object__next_program(object: Pointer, previous: Pointer): Pointer;
  bpf_map__name(map: Pointer): string;
  bpf_map__fd(map: Pointer): number;
  bpf_map__set_max_entries(map: Pointer, entries: number): number;
  bpf_map__reuse_fd(map: Pointer, fd: number): number;
  bpf_program__name(program: Pointer): string;
  bpf_program__fd(program: Pointer): number;
  bpf_obj_pin(fd: number, path: string): number;
  bpf_obj_get(path: string): number;
  bpf_obj_get_info_by_fd(fd: number, info: Pointer, length: Pointer): number;
  bpf_map_lookup_elem(fd: number, key: Pointer, value: Pointer): number;
  bpf_map_update_elem(fd: number, key: Pointer, value: Pointer, flags: number): number;
  bpf_map_delete_elem(fd: number, key: Pointer): number;
  bpf_map_lookup_and_delete_elem(fd: number, key: Pointer, value: Pointer): number;
  bpf_map_get_next_key(fd: number, key: Pointer, nextKey: Pointer): number;
  bpf_map_lookup_batch(
    fd: number,
    position: Pointer,
    nextPosition: Pointer,
    keys: Pointer,
    values: Pointer,
    count: Pointer,
    options: Pointer,
  ): number;
  bpf_map_update_batch(fd: number, keys: Pointer, values: Pointer, count: Pointer, options: Pointer): number;
  bpf_map_delete_batch(fd: number, keys: Pointer, count: Pointer, options: Pointer): number;
  bpf_prog_test_run_opts(fd: number, options: Pointer): number;
  bpf_link_create(programFd: number, ifindex: number, attachType: number, options: Pointer): number;
  bpf_link_update(linkFd: number, programFd: number, options: Pointer): number;
  bpf_link_detach(linkFd: number): number;
  bpf_tc_hook_create(hook: Pointer): number;
  bpf_tc_hook_destroy(hook: Pointer): number;
  bpf_tc_attach(hook: Pointer, options: Pointer): number;
  bpf_tc_detach(hook: Pointer, options: Pointer): number;
  bpf_tc_query(hook: Pointer, options: Pointer): number;
  /** `onSample` is a `sampleCallback`; NULL on failure, with errno set. */
  ring_buffer__new(mapFd: number, onSample: Pointer, context: Pointer, options: Pointer): Pointer;
  ring_buffer__epoll_fd(ring: Pointer): number;
  ring_buffer__consume(ring: Pointer): number;
  ring_buffer__free(ring: Pointer): void;
}

/** The C library: functions that return `number` return -1 on failure, and `lastErrno()` says why. */
export interface Libc {
  mount(source: string, target: string, type: string, flags: number, data: Pointer): number;
  vsnprintf(text: Pointer, size: number, format: Pointer, values: Pointer): number;
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Pointer, length: number): number;
  setsockopt(fd: number, level: number, option: number, value: Pointer, length: number): number;
  send(fd: number, bytes: Pointer, length: number, flags: number): number;
  recv(fd: number, bytes: Pointer, length: number, flags: number): number;
  eventfd(count: number, flags: number): number;
  /** `async` runs it in a thread of libuv's pool; the caller keeps the memory until then. */
  poll: {
    async(
      records: Pointer,
      count: number,
      timeoutMs: number,
      done: (error: Error | null, result: number) => void,
    ): void;
  };
}

export const NULL: Pointer = ref.NULL;

const object = 'pointer';
const name = 'string';

let loadedLibbpf: Libbpf | undefined;
let loadedLibc: Libc | undefined;

/** The bindings of libbpf, opened at the first call. Throws what dlopen says when the library is not there. */
export function libbpf(): Libbpf {
  loadedLibbpf ??= ffi.Library('libbpf.so.1', {
    libbpf_set_print: ['pointer', ['pointer']],
    libbpf_num_possible_cpus: ['int', []],
    bpf_object__open_mem: [object, ['pointer', 'size_t', 'pointer']],
    bpf_object__load: ['int', [object]],
    bpf_object__close: ['void', [object]],
    bpf_object__next_map: ['pointer', [object, 'pointer']],
    bpf_object__next_program: ['pointer', [object, 'pointer']],
    bpf_map__name: [name, ['pointer']],
    bpf_map__fd: ['int', ['pointer']],
    bpf_map__set_max_entries: ['int', ['pointer', 'uint32']],
    bpf_map__reuse_fd: ['int', ['pointer', 'int']],
    bpf_program__name: [name, ['pointer']],
    bpf_program__fd: ['int', ['pointer']],
    bpf_obj_pin: ['int', ['int', name]],
    bpf_obj_get: ['int', [name]],
    bpf_obj_get_info_by_fd: ['int', ['int', 'pointer', 'pointer']],
    bpf_map_lookup_elem: ['int', ['int', 'pointer', 'pointer']],
    bpf_map_update_elem: ['int', ['int', 'pointer', 'pointer', 'uint64']],
    bpf_map_delete_elem: ['int', ['int', 'pointer']],
    bpf_map_lookup_and_delete_elem: ['int', ['int', 'pointer', 'pointer']],
    bpf_map_get_next_key: ['int', ['int', 'pointer', 'pointer']],
    bpf_map_lookup_batch: ['int', ['int', 'pointer', 'pointer', 'pointer', 'pointer', 'pointer', 'pointer']],
    bpf_map_update_batch: ['int', ['int', 'pointer', 'pointer', 'pointer', 'pointer']],
    bpf_map_delete_batch: ['int', ['int', 'pointer', 'pointer', 'pointer']],
    bpf_prog_test_run_opts: ['int', ['int', 'pointer']],
    bpf_link_create: ['int', ['int', 'int', 'int', 'pointer']],
    bpf_link_update: ['int', ['int', 'int', 'pointer']],
    bpf_link_detach: ['int', ['int']],
    bpf_tc_hook_create: ['int', ['pointer']],
    bpf_tc_hook_destroy: ['int', ['pointer']],
    bpf_tc_attach: ['int', ['pointer', 'pointer']],
    bpf_tc_detach: ['int', ['pointer', 'pointer']],
    bpf_tc_query: ['int', ['pointer', 'pointer']],
    ring_buffer__new: ['pointer', ['int', 'pointer', 'pointer', 'pointer']],
    ring_buffer__epoll_fd: ['int', ['pointer']],
    ring_buffer__consume: ['int', ['pointer']],
    ring_buffer__free: ['void', ['pointer']],
    /* ffi-napi knows its functions by these strings only: interface Libbpf is the same list for the compiler. */
  }) as unknown as Libbpf;
  return loadedLibbpf;
}

/** The bindings of the C library that Node itself runs on. */
export function libc(): Libc {
  loadedLibc ??= ffi.Library(null, {
    mount: ['int', [name, name, name, 'ulong', 'pointer']],
    vsnprintf: ['int', ['pointer', 'size_t', 'pointer', 'pointer']],
    socket: ['int', ['int', 'int', 'int']],
    bind: ['int', ['int', 'pointer', 'uint32']],
    setsockopt: ['int', ['int', 'int', 'int', 'pointer', 'uint32']],
    send: ['long', ['int', 'pointer', 'size_t', 'int']],
    recv: ['long', ['int', 'pointer', 'size_t', 'int']],
    eventfd: ['int', ['uint', 'int']],
    poll: ['int', ['pointer', 'ulong', 'int']],
    /* As above. */
  }) as unknown as Libc;
  return loadedLibc;
}

/** errno of the last C library call: read it right after the call. */
export function lastErrno(): number {
  return ffi.errno();
}

export function isNull(pointer: Pointer): boolean {
  return ref.isNull(pointer);
}

/** Stores the address of `target` in `memory`, which keeps `target` alive. */
export function writePointer(memory: Buffer, offset: number, target: Pointer): void {
  ref.writePointer(memory, offset, target);
}

/** A C function that calls `print(level, text)` for libbpf's log; keep the result for as long as libbpf has it. */
export function printCallback(print: (level: number, text: string) => void): Pointer {
  const text = Buffer.alloc(4096);
  return ffi.Callback(
    'int',
    ['int', 'pointer', 'pointer'],
    (level: number, format: Buffer, values: Buffer) => {
      const length = libc().vsnprintf(text, text.length, format, values);
      print(level, text.toString('utf8', 0, Math.max(0, Math.min(length, text.length - 1))));
      return length;
    },
  );
}

/** A C function that calls `take` with each sample of a ring buffer; keep the result for as long as the buffer is open. */
export function sampleCallback(take: (sample: Buffer) => number): Pointer {
  return ffi.Callback(
    'int',
    ['pointer', 'pointer', 'size_t'],
    (_context: Buffer, sample: Buffer, size: number | string) =>
      take(ref.reinterpret(sample, Number(size), 0)),
  );
}
