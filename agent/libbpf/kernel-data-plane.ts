import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import type { Ifindex } from '../../common/addresses.js';
import type { Logger } from '../../common/log.js';
import type { Activation } from '../activations.js';
import {
  type Attachment,
  type AttachMode,
  type DataPlane,
  type PortCounters,
  type ProgramName,
  programNames,
  type TableEntries,
  type TableName,
  type WriteFailure,
} from '../data-plane.js';
import type { DropSample, DropSource } from '../drops/drop-source.js';
import type { LearningPlane, MacEvent } from '../fdb/fdb-table.js';
import type { ProgramSource, ProgramStatus } from '../inspect/program-source.js';
import { Attachments } from './attachments.js';
import { prepareBpffs, removePinnedFolder, removePins } from './bpffs.js';
import { carryOver } from './carry-over.js';
import { type EventHandlers, readEvents } from './event-reader.js';
import { type Generation, openGeneration, otherGenerations } from './generations.js';
import { KernelError, requireKernel, withKernelError } from './kernel-error.js';
import { KernelFdb } from './kernel-fdb.js';
import { type MapSizes, requireLibbpf } from './kernel-object.js';
import {
  readProgramInfo,
  readProgramMemory,
  type TestContext,
  type TestRun,
  testRun,
} from './kernel-program.js';
import { KernelTables } from './tables.js';
import { KernelTracer } from './kernel-tracer.js';
import type { RecordedStep, TracedArrival, TraceSource } from '../trace/trace-source.js';
import { hasTcx } from './tcx.js';

export interface DataPlaneOptions {
  /** A folder of our own on a bpf file system, which is mounted if need be: `/sys/fs/bpf/iovn`. No dots in its name. */
  readonly bpffsDir: string;
  /** The compiled object, `vif.bpf.o`. */
  readonly objectFile: string;
  /** 'auto' takes tcx where the kernel has it (Linux 6.6). */
  readonly attachMode: AttachMode | 'auto';
  /** Slots for local ports, slot 0 included, which stands for "no port". */
  readonly maxPorts: number;
  /** Entries of the other maps, by name, in place of the defaults in bpf/maps.h. */
  readonly mapSizes?: MapSizes;
  readonly log: Logger;
}

/**
 * Opens this node's data plane: adopts the maps and programs that are pinned when they are of the same object and
 * sizes, so that nothing stops and counters go on; loads and pins them otherwise, with empty tables. What an older
 * generation has attached keeps forwarding until `attach()` swaps it; its interfaces are read as not intact until
 * then. Throws KernelError: no permission, no libbpf, kernel too old, refused by the verifier.
 */
export function openDataPlane(options: DataPlaneOptions): KernelDataPlane {
  requireKernel(os.release());
  requireLibbpf();
  const { bpffsDir, objectFile, maxPorts, log } = options;
  const objectBytes = withKernelError(`read eBPF object ${objectFile}`, () => readFileSync(objectFile));
  prepareBpffs(bpffsDir, log);
  const sizes = { ...options.mapSizes, ...slotMapSizes(maxPorts) };
  const name = path.basename(objectFile).replace(/\..*$/, '');
  const generation = openGeneration(bpffsDir, { name, objectBytes, sizes }, log);
  try {
    for (const name of generation.adopted ? [] : ['fdb', 'activations']) {
      const map = generation.maps.get(name);
      if (map !== undefined) carryOver(name, map, bpffsDir, otherGenerations(bpffsDir, generation.id), log);
    }
    return new KernelDataPlane(bpffsDir, generation, options.attachMode, traceObject(objectFile), log);
  } catch (error) {
    generation.close();
    throw error;
  }
}

/** The programs for tracing, beside those that they are built like. */
function traceObject(objectFile: string): string {
  return path.join(path.dirname(objectFile), 'trace.bpf.o');
}

/** The maps that have an entry per slot. */
export function slotMapSizes(maxPorts: number): MapSizes {
  return {
    ports: maxPorts,
    ports_by_interface: maxPorts,
    activations: maxPorts,
    port_counters: maxPorts,
    drops: maxPorts,
    drop_sampled_ms: maxPorts,
  };
}

/** The DataPlane that is the kernel's. Made by `openDataPlane`. */
export class KernelDataPlane implements DataPlane, LearningPlane, DropSource, ProgramSource, TraceSource {
  readonly attachMode: AttachMode;
  /** True when the tables are those of an earlier process, as it left them. */
  readonly adopted: boolean;
  /** 16 hex digits, the folder's name in `bpffsDir`. */
  readonly generation: string;
  readonly fdb: KernelFdb;
  readonly #bpffsDir: string;
  readonly #generation: Generation;
  readonly #programFds: ReadonlyMap<ProgramName, number>;
  readonly #tables: KernelTables;
  readonly #attachments: ReadonlyMap<ProgramName, Attachments>;
  readonly #traceObject: string;
  readonly #log: Logger;
  #onActivation: () => void = () => undefined;
  /** Loaded when the first packet is traced. */
  #tracer: KernelTracer | undefined;
  #onDrop: (sample: DropSample) => void = () => undefined;

  constructor(
    bpffsDir: string,
    generation: Generation,
    mode: AttachMode | 'auto',
    traceObjectFile: string,
    log: Logger,
  ) {
    this.#traceObject = traceObjectFile;
    this.#bpffsDir = bpffsDir;
    this.#generation = generation;
    this.#log = log;
    const programFds = findPrograms(generation);
    this.#programFds = programFds;
    this.#tables = new KernelTables(generation.maps);
    this.fdb = new KernelFdb(generation.maps);
    this.attachMode = mode === 'auto' ? (hasTcx(this.#programFd('vif_ingress')) ? 'tcx' : 'clsact') : mode;
    this.adopted = generation.adopted;
    this.generation = generation.id;
    this.#attachments = new Map(
      Array.from(programFds, ([name, fd]) => {
        const attachments = new Attachments({
          bpffsDir: name === 'vif_ingress' ? bpffsDir : path.join(bpffsDir, name),
          qdiscsDir: path.join(bpffsDir, 'qdiscs'),
          mode: this.attachMode,
          programFd: fd,
          programId: readProgramInfo(fd).id,
          priority: name === 'uplink_ingress' ? 2 : 1,
        });
        return [name, attachments];
      }),
    );
  }

  get slotCount(): number {
    return this.#tables.slotCount;
  }

  capacity(table: TableName): number {
    return this.#tables.capacity(table);
  }

  readTable(table: TableName): TableEntries {
    return this.#tables.readTable(table);
  }

  writeEntries(table: TableName, entries: TableEntries): readonly WriteFailure[] {
    return this.#tables.writeEntries(table, entries);
  }

  deleteEntries(table: TableName, keys: readonly string[]): readonly WriteFailure[] {
    return this.#tables.deleteEntries(table, keys);
  }

  readAttachments(program: ProgramName = 'vif_ingress'): readonly Attachment[] {
    return this.#attachmentsOf(program).read();
  }

  attach(ifindex: Ifindex, program: ProgramName = 'vif_ingress'): void {
    this.#attachmentsOf(program).attach(ifindex);
  }

  detach(ifindex: Ifindex, program: ProgramName = 'vif_ingress'): void {
    this.#attachmentsOf(program).detach(ifindex);
  }

  readCounters(slots: readonly number[]): ReadonlyMap<number, PortCounters> {
    return this.#tables.readCounters(slots);
  }

  resetCounters(slot: number): void {
    this.#tables.resetCounters(slot);
  }

  readActivations(): readonly Activation[] {
    return this.#tables.readActivations();
  }

  forgetActivations(activations: readonly Activation[]): void {
    this.#tables.forgetActivations(activations);
  }

  onActivation(listener: () => void): void {
    this.#onActivation = listener;
  }

  broadcast(ifindex: Ifindex, frame: Uint8Array): void {
    testRun(this.#programFd('vif_ingress'), frame, { ifindex });
  }

  async watchEvents(onEvent: (event: MacEvent) => void, signal: AbortSignal): Promise<void> {
    const fd = this.#generation.maps.get('events');
    if (fd === undefined) throw new KernelError('kernel_not_found', 0, 'the eBPF object has no map events');
    const handlers: EventHandlers = {
      onMac: onEvent,
      onDrop: (sample) => this.#onDrop(sample),
      onActivation: () => this.#onActivation(),
    };
    await readEvents(fd, handlers, signal);
  }

  onDrop(listener: (sample: DropSample) => void): void {
    this.#onDrop = listener;
  }

  lostDropSamples(): bigint {
    return this.#tables.lostDropSamples();
  }

  readPrograms(): readonly ProgramStatus[] {
    return Array.from(this.#programFds, ([name, fd]) => ({
      name,
      ...readProgramInfo(fd),
      memoryBytes: readProgramMemory(fd),
    }));
  }

  retireOldGenerations(): void {
    const old = otherGenerations(this.#bpffsDir, this.#generation.id);
    if (old.length === 0) return;
    for (const program of programNames) {
      for (const { ifindex, intact } of this.readAttachments(program)) {
        if (!intact) this.detach(ifindex, program);
      }
    }
    for (const id of old) removePins(path.join(this.#bpffsDir, id));
    this.#log.info('retired older generations of eBPF programs and maps', { generations: old });
  }

  /** Runs the ingress program on a packet without sending it; for tests and traces. */
  testRun(packet: Uint8Array, context?: TestContext): TestRun {
    return testRun(this.#programFd('vif_ingress'), packet, context);
  }

  trace(arrival: TracedArrival): readonly RecordedStep[] {
    const file = this.#traceObject;
    this.#tracer ??= new KernelTracer(
      withKernelError(`read eBPF object ${file}`, () => readFileSync(file)),
      this.#generation.maps,
      this.#log,
    );
    return this.#tracer.run(arrival);
  }

  close(): void {
    this.#tracer?.close();
    this.#generation.close();
  }

  destroy(): void {
    for (const program of programNames) {
      for (const { ifindex } of this.readAttachments(program)) this.detach(ifindex, program);
    }
    this.close();
    removePinnedFolder(this.#bpffsDir);
  }

  #programFd(name: ProgramName): number {
    const fd = this.#programFds.get(name);
    if (fd === undefined) throw new RangeError(`no program ${name}`);
    return fd;
  }

  #attachmentsOf(name: ProgramName): Attachments {
    const attachments = this.#attachments.get(name);
    if (attachments === undefined) throw new RangeError(`no program ${name}`);
    return attachments;
  }
}

function findPrograms(generation: Generation): ReadonlyMap<ProgramName, number> {
  return new Map(
    programNames.map((program) => {
      const fd = generation.programs.get(program);
      if (fd !== undefined) return [program, fd];
      throw new KernelError('kernel_not_found', 0, `the eBPF object has no program ${program}`, { program });
    }),
  );
}
