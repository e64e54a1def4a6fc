import type { Uuid } from '../common/addresses.js';
import type { Atom, AtomicType, Column, TableSpec } from './columns.js';
import type { Json } from './json.js';
import { isJsonArray } from './json.js';

/** What can be written to a column or compared with it: an atom, a set as an array, a map, or undefined for the empty set. */
export type Writable = Atom | readonly Atom[] | ReadonlyMap<Atom, Atom> | undefined;

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
  if (value instanceof Map) {
    const valueType = column?.value ?? 'string';
    return ['map', [...value].map(([k, v]: [Atom, Atom]) => [encodeAtom(key, k), encodeAtom(valueType, v)])];
  }
  if (typeof value === 'object') {
    return ['set', [...(value as readonly Atom[])].map((atom) => encodeAtom(key, atom))];
  }
  return encodeAtom(key, value);
}

function encodeAtom(type: AtomicType, atom: Atom): Json {
  if (type !== 'uuid' || typeof atom !== 'string') return atom;
  return atom.startsWith('@') ? ['named-uuid', atom.slice(1)] : ['uuid', atom];
}

/** The elements of an <atom> or <set>. */
export function elementsOf(value: Json): readonly Json[] {
  return isJsonArray(value) && value[0] === 'set' && isJsonArray(value[1]) ? value[1] : [value];
}
