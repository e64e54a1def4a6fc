import type { Activation } from '../../../agent/activations.js';
import type { Ifindex } from '../../../common/addresses.js';
import {
  type Attachment,
  type AttachMode,
  type DataPlane,
  type PortCounters,
  type ProgramName,
  type TableEntries,
  type TableName,
  tableNames,
  type WriteFailure,
} from '../../../agent/data-plane.js';

const defaultCapacity = 100;

/** A kernel in memory, with knobs for what goes wrong. */
export class FakeDataPlane implements DataPlane {
  readonly attachMode: AttachMode = 'tcx';
  readonly slotCount: number;
  readonly tables = new Map<TableName, Map<string, Uint8Array>>(tableNames.map((name) => [name, new Map()]));
  readonly attached = new Map<Ifindex, boolean>();
  readonly underlay = new Map<ProgramName, Map<Ifindex, boolean>>();
  /** Every change, as `write TABLE KEY`, `delete TABLE KEY`, `attach N`, `detach N`. */
  readonly changes: string[] = [];
  readonly resetSlots: number[] = [];
  counters = new Map<number, PortCounters>();
  counterReads = 0;
  activations: readonly Activation[] = [];
  /** `IFINDEX FRAME`, the frame in hexadecimal digits. */
  readonly broadcasts: string[] = [];
  #onActivation: () => void = () => undefined;
  destroyed = false;
  /** Makes a write fail. */
  refuse: (table: TableName, key: string) => WriteFailure['code'] | undefined = () => undefined;
  /** Entries that a table can hold, where it is not `defaultCapacity`. */
  readonly capacities = new Map<TableName, number>();
  /** Makes attaching fail. */
  refuseAttach: (ifindex: Ifindex) => boolean = () => false;

  constructor(slotCount = 64) {
    this.slotCount = slotCount;
  }

  table(name: TableName): Map<string, Uint8Array> {
    const found = this.tables.get(name);
    if (found === undefined) throw new Error(`no table ${name}`);
    return found;
  }

  /** Everything that is there, as comparable text. */
  contents(): unknown {
    const tables = [...this.tables].map(([name, entries]) => [
      name,
      [...entries].map(([key, value]) => `${key}=${Buffer.from(value).toString('hex')}`).sort(),
    ]);
    return { tables, attached: [...this.attached].sort(([a], [b]) => a - b) };
  }

  capacity(table: TableName): number {
    return this.capacities.get(table) ?? defaultCapacity;
  }

  readTable(table: TableName): TableEntries {
    return new Map(this.table(table));
  }

  writeEntries(table: TableName, entries: TableEntries): readonly WriteFailure[] {
    return [...entries].flatMap(([key, value]) => {
      const isFull = !this.table(table).has(key) && this.table(table).size >= this.capacity(table);
      const code = isFull ? 'map_full' : this.refuse(table, key);
      if (code !== undefined) return [{ key, code, message: `refused: ${code}` }];
      this.changes.push(`write ${table} ${key}`);
      this.table(table).set(key, value);
      return [];
    });
  }

  deleteEntries(table: TableName, keys: readonly string[]): readonly WriteFailure[] {
    for (const key of keys) {
      this.changes.push(`delete ${table} ${key}`);
      this.table(table).delete(key);
    }
    return [];
  }

  readAttachments(program: ProgramName = 'vif_ingress'): readonly Attachment[] {
    return [...this.#attachedTo(program)].map(([ifindex, intact]) => ({ ifindex, intact }));
  }

  attach(ifindex: Ifindex, program: ProgramName = 'vif_ingress'): void {
    if (this.refuseAttach(ifindex)) throw new Error(`cannot attach to ${ifindex}`);
    this.changes.push(program === 'vif_ingress' ? `attach ${ifindex}` : `attach ${ifindex} ${program}`);
    this.#attachedTo(program).set(ifindex, true);
  }

  detach(ifindex: Ifindex, program: ProgramName = 'vif_ingress'): void {
    this.changes.push(program === 'vif_ingress' ? `detach ${ifindex}` : `detach ${ifindex} ${program}`);
    this.#attachedTo(program).delete(ifindex);
  }

  readCounters(slots: readonly number[]): ReadonlyMap<number, PortCounters> {
    this.counterReads += 1;
    const zero = { receivedPackets: 0n, receivedBytes: 0n, sentPackets: 0n, sentBytes: 0n, drops: [] };
    return new Map(slots.map((slot) => [slot, this.counters.get(slot) ?? zero]));
  }

  resetCounters(slot: number): void {
    this.resetSlots.push(slot);
  }

  /** As a program does it. */
  activate(activation: Activation): void {
    this.activations = [...this.activations, activation];
    this.#onActivation();
  }

  readActivations(): readonly Activation[] {
    return this.activations;
  }

  forgetActivations(activations: readonly Activation[]): void {
    this.activations = this.activations.filter((each) => !activations.includes(each));
  }

  onActivation(listener: () => void): void {
    this.#onActivation = listener;
  }

  broadcast(ifindex: Ifindex, frame: Uint8Array): void {
    this.broadcasts.push(`${ifindex} ${Buffer.from(frame).toString('hex')}`);
  }

  retireOldGenerations(): void {
    this.changes.push('retire');
  }

  close(): void {
    this.changes.push('close');
  }

  destroy(): void {
    this.destroyed = true;
    this.attached.clear();
    for (const entries of this.tables.values()) entries.clear();
  }

  #attachedTo(program: ProgramName): Map<Ifindex, boolean> {
    if (program === 'vif_ingress') return this.attached;
    const found = this.underlay.get(program) ?? new Map<Ifindex, boolean>();
    this.underlay.set(program, found);
    return found;
  }
}
