import test from 'ava';
import fc from 'fast-check';

import type { Uuid } from '../../common/addresses.js';
import { map, optional, ProtocolError, scalar, set, table } from '../../ovsdb/index.js';
import type { Json, JsonObject } from '../../ovsdb/json.js';
import { Replica, type TableChanges } from '../../ovsdb/replica.js';
import { RowBatch } from '../../ovsdb/row-batch.js';
import { type AnyRow, RowReader } from '../../ovsdb/row-reader.js';

const thing = table('Thing', {
  name: scalar('string'),
  note: optional('string'),
  tags: set('string'),
  friend: optional('uuid'),
  options: map('string', 'integer'),
});
const one = { min: 1, max: 1 };
const atMostOne = { min: 0, max: 1 };
const many = { min: 0, max: Number.POSITIVE_INFINITY };
const types = new Map([
  ['name', one],
  ['note', atMostOne],
  ['tags', many],
  ['friend', atMostOne],
  ['options', many],
]);
const reader = new RowReader(thing, types, (text) => text);
const readers = new Map([['Thing', reader]]);

/** What the server holds: per row a value for each column. */
interface ServerRow {
  readonly name: string;
  readonly note: string | undefined;
  readonly tags: readonly string[];
  readonly friend: string | undefined;
  readonly options: Readonly<Record<string, number>>;
}
type ServerState = Readonly<Record<string, ServerRow>>;

const uuids = Array.from({ length: 5 }, (_, index) => `00000000-0000-4000-8000-00000000000${index}`);
const word = fc.constantFrom('a', 'b', 'c', 'd');
const rowArbitrary: fc.Arbitrary<ServerRow> = fc.record({
  name: fc.constantFrom('', 'x', 'y'),
  note: fc.option(word, { nil: undefined }),
  tags: fc.uniqueArray(word).map((tags) => tags.sort()),
  friend: fc.option(fc.constantFrom(...uuids), { nil: undefined }),
  options: fc.dictionary(word, fc.integer({ min: 0, max: 2 })),
});
const stateArbitrary: fc.Arbitrary<ServerState> = fc.dictionary(fc.constantFrom(...uuids), rowArbitrary);

const wireUuid = (uuid: string): Json => ['uuid', uuid];
const wireSet = (atoms: readonly Json[]): Json => (atoms.length === 1 ? (atoms[0] ?? null) : ['set', atoms]);
const wireMap = (entries: Readonly<Record<string, number>>): Json => ['map', Object.entries(entries).sort()];
const wireOptional = (atom: Json | undefined): Json => wireSet(atom === undefined ? [] : [atom]);

function wireRow(row: ServerRow): JsonObject {
  return {
    name: row.name,
    note: wireOptional(row.note),
    tags: wireSet(row.tags),
    friend: wireOptional(row.friend === undefined ? undefined : wireUuid(row.friend)),
    options: wireMap(row.options),
  };
}

/** As update2 sends inserted rows: without columns at their default. */
function sparseRow(row: ServerRow): JsonObject {
  const empty = JSON.stringify;
  const defaults = new Set([empty(''), empty(['set', []]), empty(['map', []])]);
  return Object.fromEntries(
    Object.entries(wireRow(row)).filter(([, value]) => !defaults.has(JSON.stringify(value))),
  );
}

/** A `modify` of update2, written from its description in ovsdb-server(7). */
function difference(before: ServerRow, after: ServerRow): JsonObject {
  const full = wireRow(after);
  const old = wireRow(before);
  const changed = Object.keys(full).filter(
    (name) => JSON.stringify(full[name]) !== JSON.stringify(old[name]),
  );
  const values: JsonObject = {
    ...full,
    tags: wireSet([
      ...before.tags.filter((tag) => !after.tags.includes(tag)),
      ...after.tags.filter((tag) => !before.tags.includes(tag)),
    ]),
    options: wireMap({
      ...Object.fromEntries(Object.entries(before.options).filter(([key]) => !(key in after.options))),
      ...Object.fromEntries(
        Object.entries(after.options).filter(([key, value]) => before.options[key] !== value),
      ),
    }),
  };
  return Object.fromEntries(changed.map((name) => [name, values[name] ?? null]));
}

function isSame(a: ServerRow, b: ServerRow): boolean {
  return JSON.stringify(sortKeys(a)) === JSON.stringify(sortKeys(b));
}

function sortKeys(row: ServerRow): unknown {
  return { ...row, options: Object.entries(row.options).sort() };
}

type Format = 'update' | 'update2';

/** The notification between two states. */
function updates(format: Format, before: ServerState, after: ServerState): Json {
  const rows: Record<string, Json> = {};
  for (const uuid of uuids) {
    const [old, fresh] = [before[uuid], after[uuid]];
    if (old !== undefined && fresh !== undefined && isSame(old, fresh)) continue;
    if (fresh !== undefined && old !== undefined) {
      rows[uuid] =
        format === 'update' ? { old: wireRow(old), new: wireRow(fresh) } : { modify: difference(old, fresh) };
    } else if (fresh !== undefined) {
      rows[uuid] = format === 'update' ? { new: wireRow(fresh) } : { insert: sparseRow(fresh) };
    } else if (old !== undefined) {
      rows[uuid] = format === 'update' ? { old: wireRow(old) } : { delete: null };
    }
  }
  return Object.keys(rows).length === 0 ? {} : { Thing: rows };
}

function dump(format: Format, state: ServerState): Json {
  const rows = Object.entries(state).map(([uuid, row]) => [
    uuid,
    format === 'update' ? { new: wireRow(row) } : { initial: sparseRow(row) },
  ]);
  return { Thing: Object.fromEntries(rows) as JsonObject };
}

function finish(steps: Generator<undefined, TableChanges>): TableChanges {
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  return step.value;
}

function batchOf(replica: Replica, content: Json): RowBatch {
  const batch = new RowBatch(readers, replica.tables);
  batch.addAll(content);
  return batch;
}

function contents(replica: Replica): ReadonlyMap<Uuid, AnyRow> {
  return new Map(replica.tables.get('Thing')?.rows);
}

function freshLoad(state: ServerState): ReadonlyMap<Uuid, AnyRow> {
  const replica = new Replica(['Thing']);
  finish(replica.load(batchOf(replica, dump('update', state))));
  return contents(replica);
}

function sorted(rows: ReadonlyMap<Uuid, AnyRow>): unknown {
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
}

test('any sequence of updates and reloads equals a fresh load, and the changes lead from old to new', (t) => {
  const step = fc.record({
    state: stateArbitrary,
    reload: fc.boolean(),
    format: fc.constantFrom<Format>('update', 'update2'),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (sequence) => {
      const replica = new Replica(['Thing']);
      let server: ServerState = {};
      for (const { state, reload, format } of sequence) {
        const before = contents(replica);
        const changes = finish(
          reload
            ? replica.load(batchOf(replica, dump(format, state)))
            : replica.apply(batchOf(replica, updates(format, server, state))),
        );
        server = state;
        t.deepEqual(sorted(contents(replica)), sorted(freshLoad(server)));
        const replayed = new Map(before);
        for (const change of changes.get('Thing') ?? []) {
          t.is(change.before, before.get(change.uuid));
          t.notDeepEqual(change.before, change.after);
          if (change.after === undefined) replayed.delete(change.uuid);
          else replayed.set(change.uuid, change.after);
        }
        t.deepEqual(sorted(replayed), sorted(contents(replica)));
      }
    }),
    { numRuns: 500 },
  );
});

test('a reload of the same contents changes nothing and keeps the row objects', (t) => {
  const replica = new Replica(['Thing', 'Other']);
  const state = fc
    .sample(stateArbitrary, { numRuns: 20, seed: 7 })
    .find((sample) => Object.keys(sample).length > 2);
  t.truthy(state);
  finish(replica.load(batchOf(replica, dump('update', state ?? {}))));
  const before = contents(replica);
  const changes = finish(replica.load(batchOf(replica, dump('update2', state ?? {}))));
  t.is(changes.size, 0);
  for (const [uuid, row] of contents(replica)) t.is(row, before.get(uuid) as AnyRow);
});

test('long computations offer to pause and are applied at once at their end', (t) => {
  const replica = new Replica(['Thing']);
  const rows = Object.fromEntries(
    Array.from({ length: 5000 }, (_, index) => [
      `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
      { initial: { name: `n${index}` } },
    ]),
  );
  const steps = replica.load(batchOf(replica, { Thing: rows }));
  t.false(steps.next().done);
  t.is(contents(replica).size, 0);
  finish(steps);
  t.is(contents(replica).size, 5000);
});

const [uuid = ''] = uuids;
const broken: readonly (readonly [string, Json])[] = [
  ['updates that are no object', []],
  ['a table that was not asked for', { Other: { [uuid]: { initial: {} } } }],
  ['rows that are no object', { Thing: 5 }],
  ['a row id that is no uuid', { Thing: { x: { initial: {} } } }],
  ['a row that is no object', { Thing: { [uuid]: 1 } }],
  ['neither inserted nor deleted', { Thing: { [uuid]: { frobbed: {} } } }],
  ['a change of an unknown row', { Thing: { [uuid]: { modify: { name: 'x' } } } }],
  ['a number in a string column', { Thing: { [uuid]: { initial: { name: 5 } } } }],
  ['a set in a scalar column', { Thing: { [uuid]: { initial: { name: ['set', ['a', 'b']] } } } }],
  ['no value in a scalar column', { Thing: { [uuid]: { initial: { name: ['set', []] } } } }],
  ['two values in an optional column', { Thing: { [uuid]: { initial: { note: ['set', ['a', 'b']] } } } }],
  ['a bad uuid', { Thing: { [uuid]: { initial: { friend: ['uuid', 'x'] } } } }],
  ['a set in a map column', { Thing: { [uuid]: { initial: { options: ['set', []] } } } }],
  ['a bad pair in a map', { Thing: { [uuid]: { initial: { options: ['map', [['a']]] } } } }],
  ['a fraction in an integer map', { Thing: { [uuid]: { initial: { options: ['map', [['a', 1.5]]] } } } }],
];
for (const [what, content] of broken) {
  test(`refused: ${what}`, (t) => {
    t.throws(() => batchOf(new Replica(['Thing']), content), { instanceOf: ProtocolError });
  });
}

test('a column that the server lacks reads as missing', (t) => {
  const old = new RowReader(thing, new Map([['name', one]]), (text) => text);
  t.deepEqual(old.columns, ['name']);
  t.like(old.read(uuid as Uuid, { name: 'x' }), { name: 'x', note: undefined, tags: [], options: new Map() });
});

test('a set column that can not be empty defaults to one element', (t) => {
  const atLeastOne = new RowReader(
    table('Thing', { tags: set('string') }),
    new Map([['tags', { min: 1, max: 5 }]]),
    (text) => text,
  );
  t.like(atLeastOne.read(uuid as Uuid, {}), { tags: [''] });
});
