import test from 'ava';

import type { PortCounters } from '../../agent/data-plane.js';
import { decidingColumn, directionAt } from '../../agent/drops/drop-decision.js';
import { DropHistory } from '../../agent/drops/drop-history.js';
import type { DropSample } from '../../agent/drops/drop-source.js';
import type { Place } from '../../agent/inspect/places.js';
import { dropReason, type DropReason, dropReasons } from '../../generated/bpf/layouts.js';
import { makeIntent, portResource, switchResource } from './support/intents.js';
import { makeLink } from './support/fake-devices.js';

const { DROP_PORT_SECURITY_MAC, DROP_HAIRPIN, DROP_NO_LOGICAL_PORT } = dropReason;

function placeOf(name: string, slot: number, binding = `binding of ${name}`): Place {
  const intent = makeIntent(
    switchResource('sw0', 1),
    portResource(name, slot, { binding, nb_uuid: `uuid of ${name}` }),
  );
  const [port] = intent.ports.values();
  if (port === undefined) throw new Error('no port in the intent');
  const device = makeLink(`tap${slot}`, 100 + slot);
  const plugged = {
    port,
    datapathKey: 1,
    key: `1/${slot}` as const,
    interfaceName: device.name,
    device,
    vlanId: 0,
    vlanPassthru: false,
    slot,
  };
  return { plugged, owner: [...intent.switches.values()][0] };
}

function counters(drops: Readonly<Partial<Record<DropReason, bigint>>>): PortCounters {
  const zero = { receivedPackets: 0n, receivedBytes: 0n, sentPackets: 0n, sentBytes: 0n };
  return { ...zero, drops: dropReasons.map(({ number }) => drops[number as DropReason] ?? 0n) };
}

function sampleAt(slot: number, reason: DropReason, ifindex = 100 + slot): DropSample {
  return { slot, reason, ifindex, length: 60, head: Uint8Array.of(1, 2, 3) };
}

/** A node with these ports, at a time that the test sets. */
function rig(places: readonly Place[], maximumRecords?: number) {
  const node = { places, counters: new Map<number, PortCounters>(), nowMs: 1000 };
  const history = new DropHistory({
    places: {
      all: () => node.places,
      bySlot: (slot) => node.places.find(({ plugged }) => plugged.slot === slot),
      interfaceName: (ifindex) => `tap${ifindex - 100}`,
    },
    readCounters: (slots) =>
      new Map(slots.flatMap((slot) => [[slot, node.counters.get(slot) ?? counters({})] as const])),
    now: () => node.nowMs,
    ...(maximumRecords === undefined ? {} : { maximumRecords }),
  });
  return { node, history };
}

test('a drop is listed with its count, its times, its last packet and the row that decided', (t) => {
  const { node, history } = rig([placeOf('lp1', 1)]);
  history.take(sampleAt(1, DROP_PORT_SECURITY_MAC));
  node.nowMs = 61_000;
  history.take(sampleAt(1, DROP_PORT_SECURITY_MAC));
  node.counters.set(1, counters({ [DROP_PORT_SECURITY_MAC]: 7000n }));
  const [drop, ...others] = history.list('');
  t.deepEqual(others, []);
  t.like(drop, {
    port: 'lp1',
    switch: 'sw0',
    interface: 'tap1',
    direction: 'from port',
    reason: 'port_security_mac',
    packets: '7000',
    first_seen: 1,
    last_seen: 61,
    packet: '[the rest was not taken along], length 60',
    row_table: 'Logical_Switch_Port',
    row_uuid: 'uuid of lp1',
    row_name: 'lp1',
    row_column: 'port_security',
  });
});

test('what was counted before this agent came has no times', (t) => {
  const { node, history } = rig([placeOf('lp1', 1)]);
  node.counters.set(1, counters({ [DROP_HAIRPIN]: 1n }));
  t.like(history.list('lp1')[0], {
    reason: 'hairpin',
    packets: '1',
    first_seen: 0,
    packet: '',
    direction: '',
  });
});

test('the newest comes first, other ports are left out when one is asked for, and slot 0 belongs to none', (t) => {
  const { node, history } = rig([placeOf('lp1', 1), placeOf('lp2', 2)]);
  for (const [slot, reason] of [
    [1, DROP_HAIRPIN],
    [0, DROP_NO_LOGICAL_PORT],
    [2, DROP_HAIRPIN],
  ] as const) {
    node.nowMs += 1000;
    history.take(sampleAt(slot, reason));
    node.counters.set(slot, counters({ [reason]: 1n }));
  }
  const ports = (asked: string) => history.list(asked).map(({ port }) => port);
  t.deepEqual(ports(''), ['lp2', '', 'lp1']);
  t.deepEqual(ports('lp1'), ['lp1']);
  t.deepEqual(ports('lp3'), []);
  t.like(history.list('')[1], { reason: 'no_logical_port', interface: 'tap0', row_table: undefined });
});

test('a port that is made anew under its name begins anew', (t) => {
  const { node, history } = rig([placeOf('lp1', 1)]);
  history.take(sampleAt(1, DROP_HAIRPIN));
  node.places = [placeOf('lp1', 1, 'another binding')];
  node.counters.set(1, counters({ [DROP_HAIRPIN]: 1n }));
  t.is(history.list('lp1')[0]?.first_seen, 0);
});

test('it is bounded: what was quiet for longest is forgotten', (t) => {
  const { node, history } = rig([placeOf('lp1', 1), placeOf('lp2', 2), placeOf('lp3', 3)], 2);
  for (const slot of [1, 2, 3]) node.counters.set(slot, counters({ [DROP_HAIRPIN]: 1n }));
  for (const slot of [1, 2, 1, 3]) {
    node.nowMs += 1000;
    history.take(sampleAt(slot, DROP_HAIRPIN));
  }
  t.is(history.size, 2);
  t.deepEqual(
    history.list('').map(({ port, last_seen: lastSeen }) => [port, lastSeen]),
    [
      ['lp3', 5],
      ['lp1', 4],
      ['lp2', 0],
    ],
  );
});

test('a sample is described as the list would, if it was taken in', (t) => {
  const { history } = rig([placeOf('lp1', 1)]);
  const sample = sampleAt(1, DROP_HAIRPIN);
  t.is(history.describe(sample), undefined);
  history.take(sample);
  t.like(history.describe(sample), { port: 'lp1', reason: 'hairpin', row_table: 'Logical_Switch' });
});

test('the way of a packet: the receiver’s own stages, or where it came in', (t) => {
  t.is(directionAt({ name: 'egress_port_security_mac' }, 5, 5), 'to port');
  t.is(directionAt({ name: 'malformed_ip4' }, 5, 5), 'from port');
  t.is(directionAt({ name: 'malformed_ip4' }, 5, 6), 'to port');
  t.is(directionAt({ name: 'malformed_ip4' }, 5, undefined), '');
});

test('every reason that a row can change names it', (t) => {
  const without = dropReasons.filter((reason) => decidingColumn(reason) === undefined);
  const elsewhere = /^(frame_too_short|no_logical_port|multicast_|delivery_failed|tunnel_)/;
  t.deepEqual(
    without.filter(({ name }) => !elsewhere.test(name)),
    [],
  );
  t.deepEqual(decidingColumn({ name: 'egress_port_disabled' }), {
    table: 'Logical_Switch_Port',
    column: 'enabled',
  });
});
