import test from 'ava';
import fc from 'fast-check';

import { FdbKeeper } from '../../agent/fdb/fdb-keeper.js';
import {
  datapathPart,
  decideMac,
  type FdbContext,
  fdbPortId,
  type FdbRow,
} from '../../agent/fdb/fdb-plan.js';
import type { FdbEntry } from '../../agent/fdb/fdb-table.js';
import { batchSize, Sightings } from '../../agent/fdb/sightings.js';
import { applyUpdate, emptyIntent, type Intent } from '../../agent/intent.js';
import { hexKey, type PluggedPort } from '../../agent/modules/io-module.js';
import { silentLogger } from '../../common/log.js';
import { v1 } from '../../common/proto.js';
import { encodeMacKey } from '../../generated/bpf/layouts.js';
import type { Resource } from '../../generated/proto/iovn/v1/Resource.js';
import { FakeLearnedOutlet, FakeLearningPlane } from './support/fake-learning-plane.js';
import { eventually } from './support/eventually.js';
import { makeUpdate, portResource } from './support/intents.js';

const datapathKey = 7;
const second = 1_000_000_000n;
const startNs = 1000n * second;

function macOf(n: number): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, n >> 8, n & 255);
}

function keyOf(n: number): string {
  return hexKey(encodeMacKey({ datapathKey, mac: macOf(n) }));
}

const datapath = datapathPart(keyOf(0));

function fdbResource(n: number, portKey: number): Resource {
  const body = v1.FdbEntry.serialize({ switch: 'sw', mac: macOf(n), port_key: portKey });
  return { id: { kind: 'FdbEntry', name: `sw/${n}` }, body };
}

function switchWith(ageSeconds: number): Resource {
  const body = v1.Switch.serialize({
    name: 'sw',
    datapath_key: datapathKey,
    fdb_age_threshold_seconds: ageSeconds,
  });
  return { id: { kind: 'Switch', name: 'sw' }, body };
}

/** Ports with key 1 and 2 are here, in slots 11 and 12, and learn; port 3 is here and does not; the others are elsewhere. */
function contextAt(nowNs: bigint, ageLimitNs?: bigint): FdbContext {
  return {
    ports: new Map([
      [fdbPortId(datapath, 1), { slot: 11, learns: true }],
      [fdbPortId(datapath, 2), { slot: 12, learns: true }],
      [fdbPortId(datapath, 3), { slot: 13, learns: false }],
    ]),
    ageLimitsNs: new Map(ageLimitNs === undefined ? [] : [[datapath, ageLimitNs]]),
    nowNs,
  };
}

function entry(portKey: number, slot: number, seenNs: bigint): FdbEntry {
  return { portKey, slot, seenNs };
}

const decisions: readonly {
  readonly title: string;
  readonly entry: FdbEntry | undefined;
  readonly row: FdbRow | undefined;
  readonly ageLimitNs?: bigint;
  readonly kernel: unknown;
  readonly isNews?: boolean;
}[] = [
  { title: 'nothing of nothing', entry: undefined, row: undefined, kernel: { kind: 'keep' } },
  {
    title: 'seen here, not in the database: news',
    entry: entry(1, 11, startNs),
    row: undefined,
    kernel: { kind: 'keep' },
    isNews: true,
  },
  {
    title: 'seen here on the port that the database has: in use',
    entry: entry(1, 11, startNs),
    row: { portKey: 1, sinceNs: startNs + second },
    kernel: { kind: 'keep' },
    isNews: false,
  },
  {
    title: 'its port has another slot now',
    entry: entry(1, 12, startNs),
    row: undefined,
    kernel: { kind: 'write', entry: entry(1, 11, startNs) },
    isNews: true,
  },
  {
    title: 'seen here after the database spoke of another port: a move',
    entry: entry(1, 11, startNs),
    row: { portKey: 9, sinceNs: startNs - second },
    kernel: { kind: 'keep' },
    isNews: true,
  },
  {
    title: 'seen here before the database spoke of another port: it has moved away',
    entry: entry(1, 11, startNs - second),
    row: { portKey: 9, sinceNs: startNs },
    kernel: { kind: 'write', entry: entry(9, 0, 0n) },
  },
  {
    title: 'a row for a port that is here',
    entry: undefined,
    row: { portKey: 3, sinceNs: startNs },
    kernel: { kind: 'write', entry: entry(3, 13, 0n) },
  },
  {
    title: 'left by a port that is not here any more',
    entry: entry(8, 14, startNs),
    row: undefined,
    kernel: { kind: 'remove' },
  },
  {
    title: 'left by a port that does not learn any more',
    entry: entry(3, 13, startNs),
    row: undefined,
    kernel: { kind: 'remove' },
  },
  {
    title: 'unused for longer than MACs live',
    entry: entry(1, 11, startNs - 10n * second),
    row: undefined,
    ageLimitNs: 10n * second,
    kernel: { kind: 'remove' },
  },
];

for (const { title, entry: before, row, ageLimitNs, kernel, isNews } of decisions) {
  test(`decides: ${title}`, (t) => {
    const decided = decideMac(keyOf(0), before, row, contextAt(startNs, ageLimitNs));
    t.deepEqual(decided.kernel as unknown, kernel);
    t.is(decided.sighting?.isNews, isNews);
  });
}

test('news are told at once, again while they have no effect, and less and less often', (t) => {
  const sightings = new Sightings();
  const outlet = new FakeLearnedOutlet();
  const seen = [{ key: keyOf(1), entry: entry(1, 11, startNs), isNews: true }];
  const times: number[] = [];
  sightings.add(keyOf(1), 1, startNs);
  for (let seconds = 0; seconds <= 200; seconds++) {
    const nowNs = startNs + BigInt(seconds) * second;
    sightings.consider(seen, new Map(), nowNs);
    sightings.finish();
    sightings.flush(outlet, nowNs);
    if (outlet.take().length > 0) times.push(seconds);
  }
  t.deepEqual(times, [0, 10, 30, 70, 150]);
});

test('use of a known MAC is told every quarter of the threshold, as long as it is used', (t) => {
  const sightings = new Sightings();
  const outlet = new FakeLearnedOutlet();
  const limits = new Map([[datapath, 40n * second]]);
  const times: number[] = [];
  for (let seconds = 0; seconds <= 60; seconds++) {
    const nowNs = startNs + BigInt(seconds) * second;
    const seenNs = seconds < 25 ? nowNs : startNs + 24n * second;
    sightings.consider([{ key: keyOf(1), entry: entry(1, 11, seenNs), isNews: false }], limits, nowNs);
    sightings.finish();
    sightings.flush(outlet, nowNs);
    if (outlet.take().length > 0) times.push(seconds);
  }
  t.deepEqual(times, [0, 10, 20, 30], 'the last one for what was seen at 24');
  sightings.consider([{ key: keyOf(1), entry: entry(1, 11, startNs), isNews: false }], new Map(), startNs);
  sightings.finish();
  t.is(sightings.waiting, 0, 'never where nothing ages');
});

test('batches are bounded, and wait while nobody takes them', (t) => {
  const sightings = new Sightings();
  const outlet = new FakeLearnedOutlet();
  outlet.open = false;
  for (let n = 0; n < batchSize + 10; n++) sightings.add(keyOf(n), 1, startNs);
  sightings.add(keyOf(0), 2, startNs);
  t.true(sightings.flush(outlet, startNs));
  outlet.open = true;
  t.true(sightings.flush(outlet, startNs));
  t.false(sightings.flush(outlet, startNs));
  t.deepEqual(
    outlet.batches.map(({ length }) => length),
    [batchSize, 10],
  );
  t.is(outlet.batches[0]?.[0]?.port_key, 2, 'merged');
  for (let n = 0; n < 100_000; n++) sightings.add(keyOf(n % 65_536), n >> 16, startNs);
  t.true(sightings.waiting <= 16_384);
});

/** A keeper with ports 1 and 2 plugged in and learning, and a clock that stands still unless told. */
function createKeeper(plane = new FakeLearningPlane(), ageSeconds = 0) {
  const outlet = new FakeLearnedOutlet();
  const clock = { nowNs: startNs };
  const keeper = new FdbKeeper({
    plane,
    outlet,
    nowNs: () => clock.nowNs,
    reviewIntervalMs: 3_600_000,
    log: silentLogger,
  });
  let intent: Intent = applyUpdate(
    emptyIntent,
    makeUpdate([
      switchWith(ageSeconds),
      ...[1, 2].map((key) => portResource(`lp${key}`, key, { switch: 'sw', learns_macs: true })),
    ]),
  );
  const plugged = (slots: Readonly<Record<string, number>>): PluggedPort[] =>
    Object.entries(slots).flatMap(([name, slot]) => {
      const port = intent.ports.get(name);
      return port === undefined ? [] : [{ port, datapathKey, slot } as PluggedPort];
    });
  return {
    plane,
    outlet,
    clock,
    keeper,
    apply: (slots: Readonly<Record<string, number>> = { lp1: 11, lp2: 12 }) =>
      keeper.apply(intent, plugged(slots)),
    setRow: (n: number, portKey: number | undefined): void => {
      const changed = portKey === undefined ? [] : [fdbResource(n, portKey)];
      const removed = portKey === undefined ? [{ kind: 'FdbEntry', name: `sw/${n}` }] : [];
      intent = applyUpdate(intent, makeUpdate(changed, { removed, snapshot: false }));
    },
  };
}

test('where MACs age soon, one in use is told soon, whatever the pause between reviews', async (t) => {
  const { plane, outlet, keeper, apply, setRow, clock } = createKeeper(new FakeLearningPlane(), 4);
  setRow(1, 1);
  apply();
  const abort = new AbortController();
  const running = keeper.run(abort.signal);
  plane.entries.set(keyOf(1), entry(1, 11, clock.nowNs));
  await eventually(
    () => outlet.batches.length > 0,
    () => 'the MAC is told',
  );
  t.deepEqual(outlet.take(), ['020000000001 on 7/1']);
  abort.abort();
  await running;
});

test('rows are written and removed MAC by MAC, without reading the whole map', (t) => {
  const { plane, setRow, apply } = createKeeper();
  apply();
  const { reads } = plane;
  setRow(1, 9);
  setRow(2, 1);
  apply();
  t.deepEqual(plane.entries.get(keyOf(1)), entry(9, 0, 0n));
  t.deepEqual(plane.entries.get(keyOf(2)), entry(1, 11, 0n));
  setRow(1, undefined);
  setRow(2, 2);
  apply();
  t.false(plane.entries.has(keyOf(1)));
  t.deepEqual(plane.entries.get(keyOf(2)), entry(2, 12, 0n));
  t.is(plane.reads, reads);
});

test('an event is told at once; one for a port that does not learn, or that the database knows, is not', async (t) => {
  const { plane, outlet, keeper, apply, clock } = createKeeper();
  apply();
  const abort = new AbortController();
  const running = keeper.run(abort.signal);
  plane.see(keyOf(1), entry(1, 11, clock.nowNs));
  t.deepEqual(outlet.take(), ['020000000001 on 7/1']);
  abort.abort();
  await running;

  const other = createKeeper();
  other.setRow(3, 1);
  other.apply();
  const stop = new AbortController();
  const runningOther = other.keeper.run(stop.signal);
  other.plane.entries.delete(keyOf(3));
  other.plane.see(keyOf(3), entry(1, 11, startNs));
  other.plane.see(keyOf(4), entry(9, 0, startNs));
  t.deepEqual(other.outlet.take(), []);
  stop.abort();
  await runningOther;
});

test('what no event told is found by a review', (t) => {
  const { plane, outlet, keeper, apply } = createKeeper();
  apply();
  plane.deaf = true;
  plane.see(keyOf(1), entry(1, 11, startNs));
  keeper.review();
  t.deepEqual(outlet.take(), ['020000000001 on 7/1']);
});

test('what a port has taught goes when it leaves, moves with its slot, and stays over a restart of the agent', (t) => {
  const { plane, apply } = createKeeper();
  apply();
  plane.see(keyOf(1), entry(1, 11, startNs));
  plane.see(keyOf(2), entry(2, 12, startNs));
  createKeeper(plane).apply();
  t.is(plane.entries.size, 2, 'another agent leaves it there');
  apply({ lp1: 14 });
  t.deepEqual([...plane.entries], [[keyOf(1), entry(1, 14, startNs)]]);
});

test('rows that do not fit are left out of a full map; evictions are counted, removals are not', (t) => {
  const { plane, keeper, setRow, apply } = createKeeper(new FakeLearningPlane(64));
  apply();
  for (let n = 0; n < 64; n++) plane.see(keyOf(n), entry(1, 11, startNs));
  setRow(100, 9);
  apply();
  t.true(plane.entries.has(keyOf(100)), 'a new row is written in any case');
  plane.evict(keyOf(100));
  for (let n = 0; n < 5; n++) plane.evict(keyOf(n));
  const { changes } = plane;
  keeper.review();
  t.is(plane.changes, changes, 'but not again and again');
  t.is(keeper.statistics().evicted, 6n);
  t.is(keeper.statistics().entries, 59);
  setRow(6, 1);
  apply();
  setRow(6, undefined);
  apply();
  keeper.review();
  t.is(keeper.statistics().evicted, 6n);
});

type Step =
  | { readonly kind: 'row'; readonly n: number; readonly portKey: number | undefined }
  | { readonly kind: 'see'; readonly n: number; readonly portKey: 1 | 2 }
  | { readonly kind: 'pass'; readonly seconds: number }
  | { readonly kind: 'plug'; readonly slots: Readonly<Record<string, number>> };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('row' as const),
    n: fc.nat(3),
    portKey: fc.constantFrom(undefined, 1, 2, 9),
  }),
  fc.record({
    kind: fc.constant('see' as const),
    n: fc.nat(3),
    portKey: fc.constantFrom(1 as const, 2 as const),
  }),
  fc.record({ kind: fc.constant('pass' as const), seconds: fc.integer({ min: 1, max: 5 }) }),
  fc.record({
    kind: fc.constant('plug' as const),
    slots: fc.constantFrom({ lp1: 11, lp2: 12 }, { lp1: 12, lp2: 11 }, { lp2: 12 }, {}),
  }),
);

test('after any sequence of events the map is what a review of everything makes of it', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { plane, keeper, clock, setRow, apply } = createKeeper();
      let slots: Readonly<Record<string, number>> = { lp1: 11, lp2: 12 };
      apply(slots);
      for (const each of steps) {
        if (each.kind === 'row') setRow(each.n, each.portKey);
        if (each.kind === 'pass') clock.nowNs += BigInt(each.seconds) * second;
        if (each.kind === 'plug') slots = each.slots;
        if (each.kind === 'see') {
          clock.nowNs += 1n;
          const slot = slots[`lp${each.portKey}`];
          if (slot !== undefined) plane.see(keyOf(each.n), entry(each.portKey, slot, clock.nowNs));
        }
        apply(slots);
      }
      const { changes } = plane;
      const before = [...plane.entries].sort();
      keeper.review();
      t.deepEqual([...plane.entries].sort(), before);
      t.is(plane.changes, changes);
      for (const { portKey, slot } of plane.entries.values()) {
        t.is(slot, slots[`lp${portKey}`] ?? 0, 'no entry leads to a slot that its port does not have');
      }
    }),
  );
});
