import type { Uuid } from '../common/addresses.js';

/** A column's scalar types (RFC 7047 §3.1 <atomic-type>). Integers are JavaScript numbers: OVN's stay below 2^53. */
export type Atom = string | number | boolean;

export type AtomicType = 'string' | 'integer' | 'real' | 'boolean' | 'uuid';

/**
 * How one column is read: its shape here decides the TypeScript type of the field. `V` exists for the compiler only.
 * A column that the connected server's schema lacks reads as `missing`.
 */
export interface Column<V> {
  readonly kind: 'scalar' | 'optional' | 'set' | 'map';
  readonly key: AtomicType;
  readonly value?: AtomicType;
  readonly missing: V;
}

interface AtomOf {
  string: string;
  integer: number;
  real: number;
  boolean: boolean;
  uuid: Uuid;
}

const emptyAtoms = { string: '', integer: 0, real: 0, boolean: false, uuid: '' } as AtomOf;

/** Exactly one value. */
export function scalar<T extends AtomicType>(key: T): Column<AtomOf[T]> {
  return { kind: 'scalar', key, missing: emptyAtoms[key] };
}

/** At most one value; `undefined` is OVSDB's empty set. */
export function optional<T extends AtomicType>(key: T): Column<AtomOf[T] | undefined> {
  return { kind: 'optional', key, missing: undefined };
}

/** Any number of values, in the order in which the server sent them. */
export function set<T extends AtomicType>(key: T): Column<readonly AtomOf[T][]> {
  return { kind: 'set', key, missing: [] };
}

/** Keys to values. */
export function map<K extends AtomicType, V extends AtomicType>(
  key: K,
  value: V,
): Column<ReadonlyMap<AtomOf[K], AtomOf[V]>> {
  return { kind: 'map', key, value, missing: new Map() };
}

export type Columns = Readonly<Record<string, Column<unknown>>>;

/** A table, as far as a client is interested in it. */
export interface TableSpec<C extends Columns = Columns> {
  readonly name: string;
  readonly columns: C;
}

export function table<const C extends Columns>(name: string, columns: C): TableSpec<C> {
  return { name, columns };
}

/** One row: immutable, replaced as a whole when any of its columns changes. */
export type Row<T extends TableSpec> = { readonly _uuid: Uuid } & {
  readonly [K in keyof T['columns']]: T['columns'][K] extends Column<infer V> ? V : never;
};

/** The columns to write, for insert and update. A Map, array, undefined or scalar as in `Row`. */
export type RowValues<T extends TableSpec> = Partial<Omit<Row<T>, '_uuid'>>;
