import test, { type ExecutionContext } from 'ava';

import type { FdbEntries, FdbEntry, MacEvent } from '../../agent/fdb/fdb-table.js';
import type { KernelFdb } from '../../agent/libbpf/kernel-fdb.js';
import type { KernelDataPlane } from '../../agent/libbpf/kernel-data-plane.js';
import { encodeInterfaceKey, encodeMacKey, encodePort, portFlags } from '../../generated/bpf/layouts.js';
import { waitFor } from '../../testbed/wait.js';
import { encodeUint32 } from '../bpf/harness.js';
import { ethernet, icmp, ipv4 } from '../support/packets.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { hex, makeBpffsDir, open } from './support.js';
import { plainPort } from '../support/plain-port.js';

enterPrivateNamespaces();

const datapathKey = 5;
const portKey = 21;

/** Puts a port that learns behind a device. Returns how to send a frame from the MAC with this number. */
function learningPort(plane: KernelDataPlane, device: string): (n: number) => void {
  const ifindex = createDevice(device);
  const flags = portFlags.PORT_ENABLED | portFlags.PORT_LEARNS;
  const port = encodePort({
    ...plainPort,
    datapathKey,
    portKey,
    ifindex,
    flags,
  });
  plane.writeEntries('ports', new Map([[hex(encodeUint32(1)), port]]));
  const from = hex(encodeInterfaceKey({ ifindex, vlanId: 0 }));
  plane.writeEntries('ports_by_interface', new Map([[from, encodeUint32(1)]]));
  return (n) => {
    const ip = ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, icmp());
    plane.testRun(ethernet({ source: macText(n), destination: '02:00:00:00:ff:ff' }, ip), { ifindex });
  };
}

function macText(n: number): string {
  const tail = n.toString(16).padStart(6, '0').match(/../g) ?? [];
  return ['02', '00', '00', ...tail].join(':');
}

function key(n: number): string {
  const mac = Buffer.from(macText(n).replaceAll(':', ''), 'hex');
  return hex(encodeMacKey({ datapathKey, mac }));
}

/** The whole map. */
function readAll(fdb: KernelFdb): FdbEntries {
  return new Map([...fdb.chunks()].flatMap((chunk) => [...chunk]));
}

function sorted(entries: FdbEntries): readonly (readonly [string, FdbEntry])[] {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Watches until the test ends. */
function watch(t: ExecutionContext, plane: KernelDataPlane) {
  const events: MacEvent[] = [];
  const abort = new AbortController();
  const ended = plane.watchEvents((event) => events.push(event), abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort();
    await ended;
  };
  t.teardown(stop);
  return { events, stop };
}

test('events arrive as they happen, in order, also those from before the watch', async (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir() });
  const send = learningPort(plane, 'lev');
  send(1);
  const { events } = watch(t, plane);
  await waitFor('the event from before', () => events.length === 1);
  send(2);
  send(2);
  send(3);
  await waitFor('the others', () => events.length === 3);
  t.deepEqual(
    events.map((event) => ({ ...event, mac: String(event.mac) })),
    [1, 2, 3].map((n) => ({ datapathKey, portKey, mac: macText(n) })),
  );
});

test('thousands of events at once do not hold up the event loop', async (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir() });
  const send = learningPort(plane, 'lmn');
  const count = 5000;
  for (let n = 0; n < count; n++) send(n);
  const { events } = watch(t, plane);
  let turns = 0;
  const counter = setInterval(() => turns++, 1);
  await waitFor('all events', () => events.length === count);
  clearInterval(counter);
  t.true(turns >= 4, 'the loop turned in between');
  t.is(plane.fdb.counters().lostEvents, 0n);
});

test('a watch ends at once when it is told to, and does not keep the loop alive longer', async (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir() });
  const { stop } = watch(t, plane);
  await new Promise((resolve) => setImmediate(resolve));
  const startMs = performance.now();
  await stop();
  t.true(performance.now() - startMs < 500);
});

test('a restarted agent finds what was learnt, and a new generation takes it over', (t) => {
  const bpffsDir = makeBpffsDir();
  const first = open(t, { bpffsDir });
  const send = learningPort(first, 'lup');
  for (let n = 0; n < 100; n++) send(n);
  const learned = sorted(readAll(first.fdb));
  t.is(learned.length, 100);
  first.close();

  const again = open(t, { bpffsDir });
  t.true(again.adopted);
  t.deepEqual(sorted(readAll(again.fdb)), learned);
  again.close();

  const next = open(t, { bpffsDir, mapSizes: { fdb: 2048 } });
  t.false(next.adopted);
  t.is(next.fdb.capacity, 2048);
  t.deepEqual(sorted(readAll(next.fdb)), learned);
  next.destroy();
});

test('entries are looked up, written and removed one by one', (t) => {
  const { fdb } = open(t, { bpffsDir: makeBpffsDir() });
  const entry = { portKey: 7, slot: 3, seenNs: 2n ** 40n };
  fdb.write(
    new Map([
      [key(1), entry],
      [key(2), { ...entry, slot: 4 }],
    ]),
  );
  t.deepEqual(fdb.lookup([key(1), key(9)]), new Map([[key(1), entry]]));
  fdb.remove([key(1), key(9)]);
  t.deepEqual([...readAll(fdb).keys()], [key(2)]);
});
