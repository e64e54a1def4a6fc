import test from 'ava';

import type { PortCounters } from '../../agent/data-plane.js';
import { PortMetrics, type PortMetricSources } from '../../agent/port-metrics.js';
import { dropReasons } from '../../generated/bpf/layouts.js';
import { parseMetrics, type Sample } from '../../testbed/metrics.js';
import { plugPorts } from '../support/node-with-ports.js';

/** Every counter of a slot is the slot's number, that of every drop reason, too. */
function countSlots(slots: readonly number[]): ReadonlyMap<number, PortCounters> {
  return new Map(
    slots.map((slot) => {
      const count = BigInt(slot);
      const drops = dropReasons.map(() => count);
      const traffic = { receivedPackets: count, receivedBytes: count, sentPackets: count, sentBytes: count };
      return [slot, { ...traffic, drops }];
    }),
  );
}

function nameOf(slot: number): string {
  return `lp${String(slot).padStart(3, '0')}`;
}

function names(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => nameOf(index + 1));
}

function scrape(sources: Partial<PortMetricSources>): readonly Sample[] {
  const metrics = new PortMetrics({ readCounters: countSlots, reconciler: () => undefined, ...sources });
  return parseMetrics(Array.from(metrics.lines()).join(''));
}

test('every port has what its slot has counted, in whatever order the ports are', (t) => {
  const { intent, plugged } = plugPorts(names(300));
  const reads: (readonly number[])[] = [];
  const readCounters = (slots: readonly number[]) => {
    reads.push(slots);
    return countSlots(slots);
  };
  const samples = scrape({ readCounters, reconciler: () => ({ intent, plugged: plugged.toReversed() }) });
  const received = samples.filter(({ name }) => name === 'iovn_agent_port_received_bytes_total');
  t.is(received.length, 300);
  for (const { labels, value } of received) t.is(labels['port'], nameOf(value));
  t.deepEqual(
    reads.map((slots) => [slots[0], slots.at(-1)]),
    [
      [0, 127],
      [128, 255],
      [256, 300],
    ],
  );
});

test('the number of series is bounded by ports and reasons, whatever was plugged before', (t) => {
  for (const count of [0, 3, 200, 5]) {
    const samples = scrape({ reconciler: () => plugPorts(names(count)) });
    const reasons = dropReasons.length;
    t.is(samples.length, count * (4 + reasons), `${count} ports; slot 0 has dropped nothing`);
    const ports = new Set(samples.map(({ labels }) => labels['port']));
    t.is(ports.size, count, 'a port that is gone has no series');
  }
});

test('nothing that a packet holds becomes a label', (t) => {
  const samples = scrape({ reconciler: () => plugPorts(['lp1', 'lp2']) });
  const known = new Map([
    ['port', new Set(['lp1', 'lp2'])],
    ['switch', new Set(['blue'])],
    ['interface', new Set(['tap1', 'tap2'])],
    ['reason', new Set(dropReasons.map(({ name }) => name))],
  ]);
  t.true(samples.length > 0);
  for (const { labels } of samples)
    for (const [name, value] of Object.entries(labels))
      t.true(known.get(name)?.has(value), `${name}=${value}`);
});

test('drops without a port, before anything is known and after', (t) => {
  const samples = scrape({
    readCounters: (slots) =>
      new Map(slots.flatMap((slot) => [...countSlots([7]).values()].map((each) => [slot, each]))),
  });
  t.is(samples.length, dropReasons.length);
  for (const { name, value } of samples)
    t.deepEqual([name, value], ['iovn_agent_dropped_packets_without_port_total', 7]);
});

test('a slot that gets another port, or none, in the middle of a scrape counts for nobody', (t) => {
  const before = plugPorts(['lp1', 'lp2', 'lp3']);
  const after = plugPorts(['lp1', 'new']);
  let views = 0;
  const samples = scrape({ reconciler: () => (views++ === 0 ? before : after) });
  t.deepEqual([...new Set(samples.map(({ labels }) => labels['port']))], ['lp1']);
});

test('names with quotes are escaped', (t) => {
  const samples = scrape({ reconciler: () => plugPorts(['a"b\\c']) });
  t.is(samples[0]?.labels['port'], 'a\\"b\\\\c');
});

test('counters keep all their 64 bits', (t) => {
  const readCounters = (slots: readonly number[]) =>
    new Map([...countSlots(slots)].map(([slot, each]) => [slot, { ...each, receivedBytes: 2n ** 63n + 1n }]));
  const metrics = new PortMetrics({ readCounters, reconciler: () => plugPorts(['lp1']) });
  t.true(Array.from(metrics.lines()).some((line) => line.endsWith('} 9223372036854775809\n')));
});
