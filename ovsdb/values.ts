import type { Uuid } from '../common/addresses.js';
import type { Atom, AtomicType, Column, TableSpec } from './columns.js';
import { isJsonArray, type Json } from './json.js';

/** What can be written to a column or compared with it: an atom, a set as an array, a map, or undefined for the empty set. */
export type Writable = Atom | readonly Atom[] | ReadonlyMap<Atom, Atom> | undefined;

/** A column's value inside a row: as `Writable`, in the shape that the column's kind says. */
export type ColumnValue = Writable;

/** Gives one and the same string object for equal strings, so that repeated references are held once. */
export type Intern = (text: string) => string;

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const idPattern = /^[A-Za-z_][A-Za-z0-9_]*$/;
const uuidColumn: Column<Uuid> = { kind: 'scalar', key: 'uuid', missing: '' as Uuid };

/** Reads 8-4-4-4-12 lower-case hexadecimal digits; undefined when it is anything else. */
export function parseUuid(text: string): Uuid | undefined {
  return uuidPattern.test(text) ? (text as Uuid) : undefined;
}

/** A name as a Uuid that no real one equals. Throws RangeError when it is not an RFC 7047 <id>. */
export function encodeNamedUuid(name: string): Uuid {
  if (!idPattern.test(name)) throw new RangeError(`not an OVSDB identifier: ${JSON.stringify(name)}`);
  return `@${name}` as Uuid;
}

/** The column's declaration, `_uuid` included; undefined when the spec does not list it. */
export function columnOf(spec: TableSpec, name: string): Column<unknown> | undefined {
  return name === '_uuid' ? uuidColumn : spec.columns[name];
}

/** A value as it goes over the wire (RFC 7047 §5.1 <value>). Without a column, strings stay strings. */
export function encodeValue(column: Column<unknown> | undefined, value: Writable): Json {
  const key = column?.key ?? 'string';
  if (value === undefined) return ['set', []];
  if (isMap(value)) {
    const valueType = column?.value ?? 'string';
    return ['map', [...value].map(([k, v]) => [encodeAtom(key, k), encodeAtom(valueType, v)])];
  }
  if (isSet(value)) return ['set', value.map((atom) => encodeAtom(key, atom))];
  return encodeAtom(key, value);
}

function encodeAtom(type: AtomicType, atom: Atom): Json {
  if (type !== 'uuid' || typeof atom !== 'string') return atom;
  return atom.startsWith('@') ? ['named-uuid', atom.slice(1)] : ['uuid', atom];
}

/** Reads a wire value into the shape that the column declares; undefined when it does not fit (a value may itself be undefined, hence the wrapper). */
export function decodeValue(
  column: Column<unknown>,
  wire: Json,
  intern: Intern,
): { readonly value: ColumnValue } | undefined {
  if (column.kind === 'map') return decodeMap(column, wire, intern);
  const elements = elementsOf(wire);
  if (column.kind !== 'set' && elements.length > 1) return undefined;
  if (column.kind === 'scalar' && elements.length !== 1) return undefined;
  // map() makes an array of exactly this length; one that grows by push has room for 16 more.
  const atoms = elements.map((element) => decodeAtom(column.key, element, intern));
  if (!allAtoms(atoms)) return undefined;
  return { value: column.kind === 'set' ? atoms : atoms[0] };
}

function allAtoms(atoms: readonly (Atom | undefined)[]): atoms is readonly Atom[] {
  return !atoms.includes(undefined);
}

function decodeMap(
  column: Column<unknown>,
  wire: Json,
  intern: Intern,
): { readonly value: ColumnValue } | undefined {
  if (!isJsonArray(wire) || wire[0] !== 'map' || !isJsonArray(wire[1])) return undefined;
  const entries = new Map<Atom, Atom>();
  for (const pair of wire[1]) {
    if (!isJsonArray(pair) || pair.length !== 2) return undefined;
    const key = decodeAtom(column.key, pair[0], intern);
    const value = decodeAtom(column.value ?? 'string', pair[1], intern);
    if (key === undefined || value === undefined) return undefined;
    entries.set(key, value);
  }
  return { value: entries };
}

function decodeAtom(type: AtomicType, wire: Json | undefined, intern: Intern): Atom | undefined {
  switch (type) {
    case 'string':
      return typeof wire === 'string' ? intern(wire) : undefined;
    case 'integer':
      return Number.isInteger(wire) ? (wire as number) : undefined;
    case 'real':
      return typeof wire === 'number' ? wire : undefined;
    case 'boolean':
      return typeof wire === 'boolean' ? wire : undefined;
    case 'uuid':
      if (!isJsonArray(wire) || wire[0] !== 'uuid' || typeof wire[1] !== 'string') return undefined;
      return uuidPattern.test(wire[1]) ? intern(wire[1]) : undefined;
  }
}

/** The elements of an <atom> or <set>. */
function elementsOf(value: Json): readonly Json[] {
  return isJsonArray(value) && value[0] === 'set' && isJsonArray(value[1]) ? value[1] : [value];
}

/**
 * The value after a `modify` of update2 (ovsdb-server(7) §4.1.14) to a column that may hold several elements: elements
 * or pairs in both are removed, others are added or replace the pair of the same key. The result is in the server's order.
 */
export function applyDifference(before: ColumnValue, difference: ColumnValue): ColumnValue {
  if (isMap(difference)) {
    const after = new Map(isMap(before) ? before : []);
    for (const [key, value] of difference) {
      if (after.get(key) === value) after.delete(key);
      else after.set(key, value);
    }
    return new Map([...after].sort(([a], [b]) => compareAtoms(a, b)));
  }
  const after = new Set(asSet(before));
  for (const atom of asSet(difference)) {
    if (!after.delete(atom)) after.add(atom);
  }
  return [...after].sort(compareAtoms);
}

/** As the server orders elements and keys: numbers by value, strings by their characters, false before true. */
function compareAtoms(a: Atom, b: Atom): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Equal contents; sets and maps in any order. */
export function valuesEqual(a: ColumnValue, b: ColumnValue): boolean {
  if (a === b) return true;
  if (isMap(a)) return isMap(b) && a.size === b.size && everyPair(a, b);
  if (!isSet(a) || !isSet(b) || a.length !== b.length) return false;
  if (a.every((atom, index) => atom === b[index])) return true;
  const elements = new Set(a);
  return elements.size === new Set(b).size && b.every((atom) => elements.has(atom));
}

function everyPair(a: ReadonlyMap<Atom, Atom>, b: ReadonlyMap<Atom, Atom>): boolean {
  for (const [key, value] of a) if (b.get(key) !== value) return false;
  return true;
}

function isMap(value: Writable): value is ReadonlyMap<Atom, Atom> {
  return value instanceof Map;
}

function isSet(value: Writable): value is readonly Atom[] {
  return Array.isArray(value);
}

function asSet(value: ColumnValue): readonly Atom[] {
  if (value === undefined || isMap(value)) return [];
  return isSet(value) ? value : [value];
}
