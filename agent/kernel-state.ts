import type { Ifindex } from '../common/addresses.js';
import { errorMessage } from '../common/errors.js';
import {
  type DataPlane,
  programNames,
  type ProgramName,
  type TableName,
  tableNames,
  type TableUsage,
} from './data-plane.js';
import type { KernelContents, Operation, UnderlayHook } from './plan.js';

/** A step, or one entry of it, that the kernel refused. */
export type Failure =
  | {
      readonly kind: 'entry';
      readonly table: TableName;
      readonly key: string;
      readonly code: 'map_full' | 'kernel_error';
      readonly message: string;
    }
  | { readonly kind: 'attachment'; readonly ifindex: Ifindex; readonly message: string }
  | { readonly kind: 'underlay'; readonly ifindex: Ifindex; readonly message: string };

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

/** The program and interface of a hook. */
function splitHook(hook: UnderlayHook): readonly [ProgramName, Ifindex] {
  const [program, ifindex] = hook.split(' ');
  const found = programNames.find((name) => name === program);
  if (found === undefined) throw new RangeError(`no program ${hook}`);
  return [found, Number(ifindex) as Ifindex];
}

function readUnderlay(dataPlane: DataPlane): Map<UnderlayHook, boolean> {
  const programs = programNames.filter((program) => program !== 'vif_ingress');
  return new Map(
    programs.flatMap((program) =>
      dataPlane
        .readAttachments(program)
        .map(({ ifindex, intact }): [UnderlayHook, boolean] => [`${program} ${ifindex}`, intact]),
    ),
  );
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
  #underlay: Map<UnderlayHook, boolean>;

  /** Throws KernelError when the kernel can't be read. */
  constructor(dataPlane: DataPlane) {
    this.#dataPlane = dataPlane;
    this.#tables = readTables(dataPlane);
    this.#attachments = readAttachments(dataPlane);
    this.#underlay = readUnderlay(dataPlane);
  }

  get tables(): KernelContents['tables'] {
    return this.#tables;
  }

  get attachments(): KernelContents['attachments'] {
    return this.#attachments;
  }

  get underlay(): KernelContents['underlay'] {
    return this.#underlay;
  }

  /** Where the program of uplinks is. */
  uplinks(): ReadonlySet<Ifindex> {
    const hooks = [...this.#underlay.keys()].map(splitHook);
    return new Set(hooks.flatMap(([program, ifindex]) => (program === 'uplink_ingress' ? [ifindex] : [])));
  }

  /** How full the tables are, without asking the kernel. */
  get usage(): readonly TableUsage[] {
    return tableNames.map((name) => ({
      name,
      entries: this.#tables.get(name)?.size ?? 0,
      capacity: this.#dataPlane.capacity(name),
    }));
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
        case 'attach_underlay':
        case 'detach_underlay':
          return this.#underlayHook(operation);
      }
    });
  }

  /** Reads the kernel again. Returns what somebody else changed there. */
  refresh(): Drift {
    const tables = readTables(this.#dataPlane);
    const attachments = readAttachments(this.#dataPlane);
    const underlay = readUnderlay(this.#dataPlane);
    const empty = new Map<string, Uint8Array>();
    const entries = tableNames.map((table) => ({
      table,
      keys: differingKeys(
        this.#tables.get(table) ?? empty,
        tables.get(table) ?? empty,
        (a, b) => Buffer.compare(a, b) === 0,
      ),
    }));
    const same = (a: boolean, b: boolean): boolean => a === b;
    const hooks = differingKeys(this.#underlay, underlay, same).map((hook) => splitHook(hook)[1]);
    const ifindexes = [...differingKeys(this.#attachments, attachments, same), ...hooks];
    this.#tables = tables;
    this.#attachments = attachments;
    this.#underlay = underlay;
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

  #underlayHook({ kind, hook }: Extract<Operation, { hook: UnderlayHook }>): readonly Failure[] {
    const [program, ifindex] = splitHook(hook);
    try {
      if (kind === 'attach_underlay') this.#dataPlane.attach(ifindex, program);
      else this.#dataPlane.detach(ifindex, program);
    } catch (error) {
      return [{ kind: 'underlay', ifindex, message: errorMessage(error) }];
    }
    if (kind === 'attach_underlay') this.#underlay.set(hook, true);
    else this.#underlay.delete(hook);
    return [];
  }
}
