import type { Ifindex } from '../common/addresses.js';
import { errorMessage } from '../common/errors.js';
import { type DataPlane, type TableName, tableNames } from './data-plane.js';
import type { KernelContents, Operation } from './plan.js';

/** A step, or one entry of it, that the kernel refused. */
export type Failure =
  | {
      readonly kind: 'entry';
      readonly table: TableName;
      readonly key: string;
      readonly code: 'map_full' | 'kernel_error';
      readonly message: string;
    }
  | { readonly kind: 'attachment'; readonly ifindex: Ifindex; readonly message: string };

/** What differed from what was remembered. */
export interface Drift {
  readonly entries: readonly { readonly table: TableName; readonly keys: readonly string[] }[];
  readonly ifindexes: readonly Ifindex[];
}

type MutableTables = Map<TableName, Map<string, Uint8Array>>;

function readTables(dataPlane: DataPlane): MutableTables {
  return new Map(tableNames.map((table) => [table, new Map(dataPlane.readTable(table))]));
}

function readAttachments(dataPlane: DataPlane): Map<Ifindex, boolean> {
  return new Map(dataPlane.readAttachments().map(({ ifindex, intact }) => [ifindex, intact]));
}

/** Keys under which the two hold different values, or only one holds any. */
function differingKeys<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>, same: (x: V, y: V) => boolean): K[] {
  const differs = (key: K): boolean => {
    const [x, y] = [a.get(key), b.get(key)];
    return x === undefined || y === undefined || !same(x, y);
  };
  return [...new Set([...a.keys(), ...b.keys()])].filter(differs);
}

/** Carries out plans and remembers what the kernel holds, so that a round need not read it. */
export class KernelState implements KernelContents {
  readonly #dataPlane: DataPlane;
  #tables: MutableTables;
  #attachments: Map<Ifindex, boolean>;

  /** Throws KernelError when the kernel can't be read. */
  constructor(dataPlane: DataPlane) {
    this.#dataPlane = dataPlane;
    this.#tables = readTables(dataPlane);
    this.#attachments = readAttachments(dataPlane);
  }

  get tables(): KernelContents['tables'] {
    return this.#tables;
  }

  get attachments(): KernelContents['attachments'] {
    return this.#attachments;
  }

  /** Takes the steps in their order; one that fails does not stop those behind it. */
  apply(operations: readonly Operation[]): readonly Failure[] {
    return operations.flatMap((operation): readonly Failure[] => {
      switch (operation.kind) {
        case 'write':
          return this.#write(operation);
        case 'delete':
          return this.#delete(operation);
        case 'attach':
        case 'detach':
          return this.#attachment(operation);
      }
    });
  }

  /** Reads the kernel again. Returns what somebody else changed there. */
  refresh(): Drift {
    const tables = readTables(this.#dataPlane);
    const attachments = readAttachments(this.#dataPlane);
    const empty = new Map<string, Uint8Array>();
    const entries = tableNames.map((table) => ({
      table,
      keys: differingKeys(
        this.#tables.get(table) ?? empty,
        tables.get(table) ?? empty,
        (a, b) => Buffer.compare(a, b) === 0,
      ),
    }));
    const ifindexes = differingKeys(this.#attachments, attachments, (a, b) => a === b);
    this.#tables = tables;
    this.#attachments = attachments;
    return { entries: entries.filter(({ keys }) => keys.length > 0), ifindexes };
  }

  #table(table: TableName): Map<string, Uint8Array> {
    const known = this.#tables.get(table) ?? new Map<string, Uint8Array>();
    this.#tables.set(table, known);
    return known;
  }

  #write({ table, entries }: Extract<Operation, { kind: 'write' }>): readonly Failure[] {
    const failures = this.#dataPlane.writeEntries(table, entries);
    const failed = new Set(failures.map(({ key }) => key));
    const known = this.#table(table);
    for (const [key, value] of entries) if (!failed.has(key)) known.set(key, value);
    return failures.map((failure) => ({ kind: 'entry', table, ...failure }));
  }

  #delete({ table, keys }: Extract<Operation, { kind: 'delete' }>): readonly Failure[] {
    const failures = this.#dataPlane.deleteEntries(table, keys);
    const failed = new Set(failures.map(({ key }) => key));
    const known = this.#table(table);
    for (const key of keys) if (!failed.has(key)) known.delete(key);
    return failures.map((failure) => ({ kind: 'entry', table, ...failure }));
  }

  #attachment({ kind, ifindex }: Extract<Operation, { ifindex: Ifindex }>): readonly Failure[] {
    try {
      this.#dataPlane[kind](ifindex);
    } catch (error) {
      return [{ kind: 'attachment', ifindex, message: errorMessage(error) }];
    }
    if (kind === 'attach') this.#attachments.set(ifindex, true);
    else this.#attachments.delete(ifindex);
    return [];
  }
}
