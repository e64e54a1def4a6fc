import { randomUUID } from 'node:crypto';

import type { Uuid } from '../../../common/addresses.js';
import type {
  Database,
  DatabaseStatus,
  DatabaseUpdate,
  Operation,
  OperationResult,
  RowChange,
  RowValues,
  TableSpec,
} from '../../../ovsdb/index.js';
import { NotConnectedError, TransactionError } from '../../../ovsdb/index.js';
import { isJsonArray, isJsonObject, type Json, type JsonObject } from '../../../ovsdb/json.js';
import { columnOf, decodeValue } from '../../../ovsdb/values.js';

type AnyRow = { readonly _uuid: Uuid } & Readonly<Record<string, unknown>>;
type Contents = Map<string, Map<Uuid, AnyRow>>;

/** What the server would refuse or do by itself, as far as tests depend on it. */
export interface Rules {
  /** Table name → columns that no two rows may share. */
  readonly unique: Readonly<Record<string, readonly string[]>>;
  /** "Table.column" → table that it refers to weakly. */
  readonly weak: Readonly<Record<string, string>>;
  /** Table name → where a row must be referred to, or else goes. */
  readonly collected: Readonly<Record<string, { readonly table: string; readonly column: string }>>;
}

export function newUuid(): Uuid {
  return randomUUID() as Uuid;
}

/** An OVSDB database in memory: what a test writes and what `transact` writes both reach the listeners. */
export class MemoryDatabase<T extends Record<string, TableSpec>> implements Database<T> {
  readonly name: string;
  readonly tables: Database<T>['tables'];
  status: DatabaseStatus;
  /** Every transaction that was committed. */
  readonly committed: (readonly Operation[])[] = [];
  /** Set to make transactions fail with what it throws. */
  beforeCommit: (operations: readonly Operation[]) => void = () => undefined;
  readonly #specs: T;
  readonly #rules: Rules;
  #contents: Contents;
  readonly #updates = new Set<(update: DatabaseUpdate<T>) => void>();
  readonly #statuses = new Set<(status: DatabaseStatus) => void>();

  constructor(name: string, specs: T, rules: Rules = { unique: {}, weak: {}, collected: {} }) {
    this.name = name;
    this.#specs = specs;
    this.#rules = rules;
    this.#contents = new Map(Object.values(specs).map((spec) => [spec.name, new Map<Uuid, AnyRow>()]));
    this.status = { state: 'connected', remote: 'memory', sinceMs: 0, populated: true, reconnects: 0 };
    const tables = Object.entries(specs).map(([key, spec]) => {
      const rows = () => this.#rows(this.#contents, spec.name);
      const view = {
        get size() {
          return rows().size;
        },
        get: (uuid: Uuid) => rows().get(uuid),
        has: (uuid: Uuid) => rows().has(uuid),
        [Symbol.iterator]: () => rows().values(),
      };
      return [key, view];
    });
    this.tables = Object.fromEntries(tables) as Database<T>['tables'];
  }

  /** Adds or replaces a row; columns left out keep what they hold, or get their default. */
  put<K extends keyof T & string>(table: K, values: RowValues<T[K]>, uuid: Uuid = newUuid()): Uuid {
    this.change((contents) => this.#merge(contents, this.#spec(table), uuid, values));
    return uuid;
  }

  remove(table: keyof T & string, uuid: Uuid): void {
    this.change((contents) => this.#rows(contents, this.#spec(table).name).delete(uuid));
  }

  /** Several changes that listeners see as one. */
  change(work: (contents: Contents) => void): void {
    const next: Contents = new Map([...this.#contents].map(([name, rows]) => [name, new Map(rows)]));
    work(next);
    this.#finish(next);
    this.#commit(next);
  }

  /** For use inside `change`. */
  set<K extends keyof T & string>(contents: Contents, table: K, uuid: Uuid, values: RowValues<T[K]>): void {
    this.#merge(contents, this.#spec(table), uuid, values);
  }

  setStatus(status: Partial<DatabaseStatus>): void {
    this.status = { ...this.status, ...status };
    for (const listener of this.#statuses) listener(this.status);
  }

  hasColumn(): boolean {
    return true;
  }

  onUpdate(listener: (update: DatabaseUpdate<T>) => void): () => void {
    this.#updates.add(listener);
    return () => this.#updates.delete(listener);
  }

  onStatus(listener: (status: DatabaseStatus) => void): () => void {
    this.#statuses.add(listener);
    return () => this.#statuses.delete(listener);
  }

  async populated(): Promise<void> {
    await Promise.resolve();
  }

  lock(): never {
    throw new Error('no locks in memory');
  }

  async transact(operations: readonly Operation[]): Promise<readonly OperationResult[]> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.status.state !== 'connected') throw new NotConnectedError('not connected', { sent: false });
    this.beforeCommit(operations);
    const next: Contents = new Map([...this.#contents].map(([name, rows]) => [name, new Map(rows)]));
    const named = new Map<string, Uuid>();
    for (const operation of operations) {
      if (operation.op === 'insert' && operation['uuid-name'] !== undefined) {
        if (named.has(operation['uuid-name']))
          throw new TransactionError('duplicate uuid-name', undefined, 0);
        named.set(operation['uuid-name'], newUuid());
      }
    }
    const results = operations.map((operation) => this.#apply(next, operation, named));
    this.#finish(next);
    this.committed.push(operations);
    this.#commit(next);
    return results;
  }

  #apply(contents: Contents, operation: Operation, named: ReadonlyMap<string, Uuid>): OperationResult {
    switch (operation.op) {
      case 'insert': {
        const uuid = named.get(operation['uuid-name'] ?? '') ?? newUuid();
        const spec = this.#byName(operation.table);
        this.#merge(contents, spec, uuid, this.#decode(spec, operation.row, named));
        return { uuid };
      }
      case 'update': {
        const spec = this.#byName(operation.table);
        const rows = this.#select(contents, spec, operation.where);
        for (const row of rows)
          this.#merge(contents, spec, row._uuid, this.#decode(spec, operation.row, named));
        return { count: rows.length };
      }
      case 'mutate': {
        const spec = this.#byName(operation.table);
        const rows = this.#select(contents, spec, operation.where);
        for (const row of rows) {
          for (const [column, mutator, value] of operation.mutations) {
            const current = this.#rows(contents, spec.name).get(row._uuid)?.[column];
            const changed = mutated(current, mutator, resolve(value, named));
            this.#merge(contents, spec, row._uuid, { [column]: changed });
          }
        }
        return { count: rows.length };
      }
      case 'delete': {
        const rows = this.#select(contents, this.#byName(operation.table), operation.where);
        for (const row of rows) this.#rows(contents, operation.table).delete(row._uuid);
        return { count: rows.length };
      }
      default:
        throw new Error(`operation ${operation.op} is not in memory`);
    }
  }

  #select(contents: Contents, spec: TableSpec, where: readonly Json[]): readonly AnyRow[] {
    return [...this.#rows(contents, spec.name).values()].filter((row) =>
      where.every((condition) => {
        if (!isJsonArray(condition)) throw new Error('not a condition');
        const [column, comparison, wire] = condition;
        if (typeof column !== 'string' || wire === undefined || comparison !== '==')
          throw new Error('not known');
        const declared = columnOf(spec, column);
        if (declared === undefined) throw new Error(`no column ${column}`);
        const wanted = decodeValue(declared, wire, (text) => text);
        return JSON.stringify(wanted?.value) === JSON.stringify(row[column]);
      }),
    );
  }

  #decode(spec: TableSpec, row: JsonObject, named: ReadonlyMap<string, Uuid>): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(row).map(([name, wire]) => {
        const column = columnOf(spec, name);
        const decoded = column && decodeValue(column, resolve(wire, named), (text) => text);
        if (decoded === undefined)
          throw new TransactionError('constraint violation', `${spec.name}.${name}`, 0);
        return [name, decoded.value];
      }),
    );
  }

  #merge(contents: Contents, spec: TableSpec, uuid: Uuid, values: Readonly<Record<string, unknown>>): void {
    const defaults = Object.entries(spec.columns).map(([name, column]) => [name, column.missing] as const);
    const rows = this.#rows(contents, spec.name);
    const before = rows.get(uuid) ?? Object.fromEntries(defaults);
    rows.set(uuid, { ...before, ...values, _uuid: uuid });
  }

  #check(contents: Contents): void {
    for (const [table, columns] of Object.entries(this.#rules.unique)) {
      const seen = new Set<string>();
      for (const row of this.#rows(contents, table).values()) {
        const key = JSON.stringify(columns.map((column) => row[column]));
        if (seen.has(key)) throw new TransactionError('constraint violation', `${table} ${key}`, undefined);
        seen.add(key);
      }
    }
  }

  /** Does what the server does at the end of a transaction: collects what nothing refers to, clears weak references. */
  #finish(next: Contents): void {
    for (const [table, { table: from, column }] of Object.entries(this.#rules.collected)) {
      const held = new Set(
        [...this.#rows(next, from).values()].flatMap((row) => row[column] as readonly Uuid[]),
      );
      const rows = this.#rows(next, table);
      for (const uuid of [...rows.keys()]) if (!held.has(uuid)) rows.delete(uuid);
    }
    for (const [place, target] of Object.entries(this.#rules.weak)) this.#clearWeak(next, place, target);
    this.#check(next);
  }

  /** Makes it the contents, and tells the listeners what differs. */
  #commit(next: Contents): void {
    const previous = this.#contents;
    this.#contents = next;
    const changes: Record<string, RowChange<AnyRow>[]> = {};
    for (const [key, spec] of Object.entries(this.#specs)) {
      const differing = differences(this.#rows(previous, spec.name), this.#rows(next, spec.name));
      if (differing.length > 0) changes[key] = differing;
    }
    if (Object.keys(changes).length === 0) return;
    /* The keys are those of T and each row is of its spec, which is more than a record filled in a loop can say. */
    const update = { changes, initial: false } as unknown as DatabaseUpdate<T>;
    for (const listener of this.#updates) listener(update);
  }

  #clearWeak(contents: Contents, place: string, target: string): void {
    const [table = '', column = ''] = place.split('.');
    const targets = this.#rows(contents, target);
    for (const row of this.#rows(contents, table).values()) {
      const value = row[column];
      const isHere = (uuid: unknown) => targets.has(uuid as Uuid);
      const kept = Array.isArray(value) ? value.filter(isHere) : isHere(value) ? value : undefined;
      if (JSON.stringify(kept) === JSON.stringify(value)) continue;
      this.#rows(contents, table).set(row._uuid, { ...row, [column]: kept });
    }
  }

  #rows(contents: Contents, table: string): Map<Uuid, AnyRow> {
    const rows = contents.get(table);
    if (rows === undefined) throw new Error(`no table ${table}`);
    return rows;
  }

  #spec(table: keyof T & string): TableSpec {
    const spec = this.#specs[table];
    if (spec === undefined) throw new Error(`no table ${table}`);
    return spec;
  }

  #byName(name: string): TableSpec {
    const spec = Object.values(this.#specs).find((each) => each.name === name);
    if (spec === undefined) throw new Error(`no table ${name}`);
    return spec;
  }
}

function resolve(wire: Json, named: ReadonlyMap<string, Uuid>): Json {
  if (!isJsonArray(wire)) return wire;
  if (wire[0] === 'named-uuid' && typeof wire[1] === 'string') return ['uuid', named.get(wire[1]) ?? wire[1]];
  return wire.map((part) => resolve(part, named));
}

function mutated(current: unknown, mutator: string, wire: Json): unknown {
  if (!isJsonArray(wire) && !isJsonObject(wire)) return mutatedSet(current, mutator, [wire]);
  const [kind, parts] = isJsonArray(wire) ? wire : [];
  if (!isJsonArray(parts)) return mutatedSet(current, mutator, [isJsonArray(wire) ? wire[1] : wire]);
  if (current instanceof Map)
    return mutatedMap(current as ReadonlyMap<unknown, unknown>, mutator, kind === 'map', parts);
  return mutatedSet(
    current,
    mutator,
    parts.map((part) => (isJsonArray(part) ? part[1] : part)),
  );
}

function mutatedMap(
  current: ReadonlyMap<unknown, unknown>,
  mutator: string,
  isMap: boolean,
  parts: readonly Json[],
): ReadonlyMap<unknown, unknown> {
  const result = new Map(current);
  for (const part of parts) {
    const [key, value] = isMap && isJsonArray(part) ? part : [part];
    if (mutator === 'delete') result.delete(key);
    else if (!result.has(key)) result.set(key, value);
  }
  return result;
}

function mutatedSet(current: unknown, mutator: string, values: readonly unknown[]): readonly unknown[] {
  const kept = (current as readonly unknown[]).filter((each) => !values.includes(each));
  return mutator === 'delete' ? kept : [...kept, ...values];
}

function differences(
  before: ReadonlyMap<Uuid, AnyRow>,
  after: ReadonlyMap<Uuid, AnyRow>,
): RowChange<AnyRow>[] {
  const changes: RowChange<AnyRow>[] = [];
  for (const uuid of new Set([...before.keys(), ...after.keys()])) {
    const was = before.get(uuid);
    const is = after.get(uuid);
    if (was === is || same(was, is)) continue;
    changes.push({ uuid, ...(was && { before: was }), ...(is && { after: is }) });
  }
  return changes;
}

function same(a: AnyRow | undefined, b: AnyRow | undefined): boolean {
  const text = (row: AnyRow | undefined) =>
    JSON.stringify(row, (_key, value: unknown) =>
      value instanceof Map ? [...(value as Map<unknown, unknown>)].sort() : value,
    );
  return text(a) === text(b);
}
