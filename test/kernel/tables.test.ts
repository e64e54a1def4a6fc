import { macBytes } from '../../common/addresses.js';
import {
  decodePort,
  encodeAllowedAddress,
  encodeAllowedPrefixKey,
  encodeDestination,
  encodeInterfaceKey,
  encodeMacKey,
  encodePort,
} from '../../generated/bpf/layouts.js';
import test from 'ava';

import { encodeUint32, verdicts } from '../bpf/harness.js';
import { ethernet, icmp, ipv4, mac } from '../support/packets.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { hex, makeBpffsDir, open } from './support.js';
import { plainPort } from '../support/plain-port.js';

enterPrivateNamespaces();

function destinationKey(number: number): string {
  const address = Uint8Array.of(2, 0, 0, 0, number >> 8, number & 0xff);
  return hex(encodeMacKey({ datapathKey: 1, mac: address }));
}

function destinations(from: number, to: number): Map<string, Uint8Array> {
  const numbers = Array.from({ length: to - from }, (_, index) => from + index);
  return new Map(numbers.map((n) => [destinationKey(n), encodeDestination({ portKey: n, slot: 0 })]));
}

test('a hash gives back the 10,000 entries that were written, and loses those that are deleted', (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir() });
  const entries = destinations(0, 10_000);
  t.deepEqual(plane.writeEntries('destinations', entries), []);
  t.deepEqual(
    new Map(Array.from(plane.readTable('destinations')).sort()),
    new Map(Array.from(entries).sort()),
  );
  const keys = Array.from(entries.keys());
  t.deepEqual(plane.deleteEntries('destinations', keys.slice(1)), []);
  t.deepEqual(Array.from(plane.readTable('destinations').keys()), keys.slice(0, 1));
});

test('deleting what is not there is no failure and does not stop the rest', (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir() });
  plane.writeEntries('destinations', destinations(0, 3));
  t.deepEqual(plane.deleteEntries('destinations', [9, 0, 8, 2, 7].map(destinationKey)), []);
  t.deepEqual(Array.from(plane.readTable('destinations').keys()), [destinationKey(1)]);
});

test('a full hash refuses just what does not fit', (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir(), mapSizes: { destinations: 100 } });
  const failures = plane.writeEntries('destinations', destinations(0, 110));
  t.deepEqual(plane.readTable('destinations').size, 100);
  t.deepEqual(
    failures.map(({ key, code }) => ({ key, code })),
    Array.from({ length: 10 }, (_, index) => ({
      key: destinationKey(100 + index),
      code: 'map_full' as const,
    })),
  );
  t.regex(failures[0]?.message ?? '', /destinations.*100/);
  const changed = new Map([
    [destinationKey(200), encodeDestination({ portKey: 1, slot: 0 })],
    [destinationKey(5), encodeDestination({ portKey: 999, slot: 3 })],
  ]);
  t.deepEqual(
    plane.writeEntries('destinations', changed).map(({ key }) => key),
    [destinationKey(200)],
  );
  t.deepEqual(
    plane.readTable('destinations').get(destinationKey(5)),
    encodeDestination({ portKey: 999, slot: 3 }),
  );
});

test('a trie is written, read, filled and emptied', (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir(), mapSizes: { allowed_prefixes: 4 } });
  const key = (last: number): string =>
    hex(
      encodeAllowedPrefixKey({
        prefixLength: 96 + 32,
        address: {
          slot: 1,
          mac: macBytes(mac('02:00:00:00:00:01')),
          family: 4,
          address: Uint8Array.of(10, 0, 0, last, ...new Uint8Array(12)),
        },
      }),
    );
  const value = encodeAllowedAddress({ flags: 3 });
  const entries = new Map([1, 2, 3, 4, 5, 6].map((last) => [key(last), value]));
  const failures = plane.writeEntries('allowed_prefixes', entries);
  t.deepEqual(
    failures.map(({ code }) => code),
    ['map_full', 'map_full'],
  );
  t.deepEqual(new Set(plane.readTable('allowed_prefixes').keys()), new Set([1, 2, 3, 4].map(key)));
  t.deepEqual(plane.deleteEntries('allowed_prefixes', [6, 1, 2, 3].map(key)), []);
  t.deepEqual(Array.from(plane.readTable('allowed_prefixes')), [[key(4), value]]);
});

test('a slot of an array is absent while it is all zero', (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir(), maxPorts: 16 });
  t.is(plane.slotCount, 16);
  t.is(plane.readTable('ports').size, 0);
  const port = {
    ...plainPort,
    datapathKey: 1,
    portKey: 2,
    ifindex: 3,
    flags: 1,
  };
  const key = hex(encodeUint32(15));
  t.deepEqual(plane.writeEntries('ports', new Map([[key, encodePort(port)]])), []);
  t.deepEqual(
    Array.from(plane.readTable('ports'), ([name, value]) => [name, decodePort(value)]),
    [[key, port]],
  );
  t.is(plane.capacity('ports'), 16);
  t.deepEqual(plane.deleteEntries('ports', [key]), []);
  t.is(plane.readTable('ports').size, 0);
  const [failure] = plane.writeEntries('ports', new Map([[hex(encodeUint32(16)), encodePort(port)]]));
  t.is(failure?.code, 'map_full');
});

test('a key or value of a wrong size is a broken invariant', (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir() });
  const value = encodeDestination({ portKey: 1, slot: 1 });
  t.throws(() => plane.writeEntries('destinations', new Map([['00', value]])), { instanceOf: RangeError });
  t.throws(() => plane.writeEntries('destinations', new Map([['zz'.repeat(12), value]])), {
    instanceOf: RangeError,
  });
  t.throws(() => plane.writeEntries('destinations', new Map([[destinationKey(1), value.subarray(1)]])), {
    instanceOf: RangeError,
  });
});

test('counters are read per slot over all CPUs, and reset one slot at a time', (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir(), maxPorts: 16 });
  const ifindex = createDevice('count');
  for (const slot of [3, 15]) {
    const port = encodePort({
      ...plainPort,
      datapathKey: 1,
      portKey: slot,
      ifindex,
      flags: 0,
    });
    plane.writeEntries('ports', new Map([[hex(encodeUint32(slot)), port]]));
    const from = hex(encodeInterfaceKey({ ifindex, vlanId: 0 }));
    plane.writeEntries('ports_by_interface', new Map([[from, encodeUint32(slot)]]));
    const addresses = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' };
    const packet = ethernet(addresses, ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, icmp()));
    for (let i = 0; i < slot; i++) t.is(plane.testRun(packet, { ifindex }).verdict, verdicts.drop);
  }
  const read = (): (readonly [number, bigint | undefined, bigint | undefined])[] =>
    Array.from(plane.readCounters([15, 0, 3]), ([slot, { receivedPackets, drops }]) => [
      slot,
      receivedPackets,
      Array.from(drops).reduce((a, b) => a + b, 0n),
    ]);
  t.deepEqual(read(), [
    [15, 15n, 15n],
    [0, 0n, 0n],
    [3, 3n, 3n],
  ]);
  plane.resetCounters(15);
  t.deepEqual(read(), [
    [15, 0n, 0n],
    [0, 0n, 0n],
    [3, 3n, 3n],
  ]);
  t.is(plane.readCounters([]).size, 0);
  t.throws(() => plane.readCounters([16]), { instanceOf: RangeError });
});
