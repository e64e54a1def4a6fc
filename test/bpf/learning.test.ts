import test, { type ExecutionContext } from 'ava';

import { macBytes, parseMac } from '../../common/addresses.js';
import type { FdbEntries } from '../../agent/fdb/fdb-table.js';
import { KernelFdb } from '../../agent/libbpf/kernel-fdb.js';
import { constants, decodeMacKey, encodeMacKey, portFlags } from '../../generated/bpf/layouts.js';
import { ethernet, icmp, ipv4, mac } from '../support/packets.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { BpfHarness, verdicts } from './harness.js';
import { plainPort } from '../support/plain-port.js';

enterPrivateNamespaces();

const datapathKey = 7;
const { PORT_ENABLED, PORT_LEARNS, PORT_SECURITY } = portFlags;

const configured = '02:00:00:00:00:01';
const hidden = '02:00:00:00:00:aa';
const other = '02:00:00:00:00:bb';

function frame(source: string, destination: string): Uint8Array {
  return ethernet({ source, destination }, ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, icmp()));
}

/** Three ports of one switch in slots 1 to 3, with port keys 11 to 13; all take unknown addresses, and learn. */
function openSwitch(t: ExecutionContext, name: string, sizes: Readonly<Record<string, number>> = {}) {
  const harness = new BpfHarness(undefined, 64, sizes);
  t.teardown(() => harness.close());
  const devices = [1, 2, 3].map((slot) => createDevice(`${name}${slot}`));
  const setFlags = (slot: number, flags: number): void => {
    const ifindex = devices[slot - 1] ?? 0;
    harness.put('ports', slot, {
      ...plainPort,
      datapathKey,
      portKey: 10 + slot,
      ifindex,
      flags,
    });
    harness.put('ports_by_interface', { ifindex, vlanId: 0 }, slot);
  };
  for (const slot of [1, 2, 3]) setFlags(slot, PORT_ENABLED | PORT_LEARNS);
  harness.putGroup(datapathKey, constants.MULTICAST_UNKNOWN, [1, 2, 3]);
  harness.putGroup(datapathKey, constants.MULTICAST_FLOOD, [1, 2, 3]);
  const fdb = new KernelFdb(harness.descriptors);
  const send = (slot: number, packet: Uint8Array) => harness.run(packet, { ifindex: devices[slot - 1] ?? 0 });
  const sent = (slot: number): number => Number(harness.counters(slot).sentPackets);
  return { harness, fdb, send, sent, setFlags };
}

function key(text: string, datapath = datapathKey): string {
  return Buffer.from(encodeMacKey({ datapathKey: datapath, mac: macBytes(mac(text)) })).toString('hex');
}

/** The whole map. */
function readAll(fdb: KernelFdb): FdbEntries {
  return new Map([...fdb.chunks()].flatMap((chunk) => [...chunk]));
}

/** What is in the map, MAC by MAC: `port key/slot`. */
function learned(fdb: KernelFdb): Record<string, string> {
  return Object.fromEntries(
    [...readAll(fdb)].map(([name, { portKey, slot }]) => {
      const bytes = decodeMacKey(Buffer.from(name, 'hex')).mac;
      return [
        Buffer.from(bytes)
          .toString('hex')
          .replace(/..(?=.)/g, '$&:'),
        `${portKey}/${slot}`,
      ];
    }),
  );
}

test('a MAC is learnt from the first frame, and frames to it go to its port alone', (t) => {
  const { fdb, send, sent, harness } = openSwitch(t, 'lrn');
  t.is(send(1, frame(other, hidden)).verdict, verdicts.drop, 'the original of a flooded frame ends');
  t.deepEqual([sent(2), sent(3)], [1, 1], 'flooded while nobody has it');
  send(2, frame(hidden, other));
  t.deepEqual(learned(fdb), { [other]: '11/1', [hidden]: '12/2' });
  t.deepEqual([sent(1), sent(3)], [1, 1], 'the answer is not flooded');
  t.is(send(1, frame(other, hidden)).verdict, verdicts.redirect);
  t.deepEqual([sent(2), sent(3)], [2, 1]);
  t.deepEqual(harness.drops(1), {});
  t.deepEqual(fdb.counters(), { learned: 2n, moved: 0n, lostEvents: 0n });
});

test('a move is followed, at once and with the next frame', (t) => {
  const { fdb, send, sent } = openSwitch(t, 'mov');
  send(2, frame(hidden, other));
  send(3, frame(hidden, other));
  t.deepEqual(learned(fdb), { [hidden]: '13/3' });
  t.is(fdb.counters().moved, 1n);
  const before = [sent(2), sent(3)];
  send(1, frame(other, hidden));
  t.deepEqual([sent(2), sent(3)], [before[0] ?? 0, (before[1] ?? 0) + 1]);
});

test('what is configured beats what is learnt', (t) => {
  const { harness, fdb, send, sent } = openSwitch(t, 'sta');
  harness.put('destinations', { datapathKey, mac: macBytes(mac(configured)) }, { portKey: 11, slot: 1 });
  send(3, frame(configured, other));
  t.is(learned(fdb)[configured], '13/3', 'as in OVN it is learnt all the same');
  const before = [sent(1), sent(3)];
  send(2, frame(hidden, configured));
  t.deepEqual([sent(1), sent(3)], [(before[0] ?? 0) + 1, before[1] ?? 0]);
});

test('a MAC is not learnt on another switch', (t) => {
  const { harness, fdb, send, sent } = openSwitch(t, 'dps');
  fdb.write(new Map([[key(hidden, 8), { portKey: 12, slot: 2, seenNs: 1n }]]));
  send(1, frame(other, hidden));
  t.deepEqual([sent(2), sent(3)], [1, 1], 'flooded: only the other switch knows it');
  t.deepEqual(harness.drops(1), {});
});

test('nothing is learnt from a port that does not take unknown addresses, or has port security', (t) => {
  const { harness, fdb, send, setFlags } = openSwitch(t, 'sec');
  setFlags(1, PORT_ENABLED);
  send(1, frame(hidden, other));
  setFlags(1, PORT_ENABLED | PORT_SECURITY);
  harness.put('allowed_macs', { slot: 1, mac: macBytes(mac(hidden)) }, { flags: 1 });
  send(1, frame(hidden, other));
  t.deepEqual(learned(fdb), {});
  t.is(fdb.counters().learned, 0n);
});

test('nothing is learnt from a frame that is dropped before the switch', (t) => {
  const { fdb, send, setFlags } = openSwitch(t, 'dis');
  setFlags(1, PORT_LEARNS);
  send(1, frame(hidden, other));
  send(2, frame('03:00:00:00:00:01', other));
  t.deepEqual(learned(fdb), {});
});

test('a frame to a MAC that was learnt on the port that sends it is dropped', (t) => {
  const { harness, send, sent } = openSwitch(t, 'hai');
  send(1, frame(hidden, other));
  const before = [sent(1), sent(2), sent(3)];
  t.is(send(1, frame(other, hidden)).verdict, verdicts.drop);
  t.deepEqual(harness.drops(1), { hairpin: 1 });
  t.deepEqual([sent(1), sent(2), sent(3)], before);
});

test('a MAC behind a port that is not plugged in here is dropped, one whose slot has another port is flooded', (t) => {
  const { harness, fdb, send, sent } = openSwitch(t, 'rem');
  fdb.write(new Map([[key(hidden), { portKey: 99, slot: 0, seenNs: 0n }]]));
  send(1, frame(other, hidden));
  t.deepEqual(harness.drops(1), { destination_not_plugged: 1 });
  fdb.write(new Map([[key(hidden), { portKey: 99, slot: 2, seenNs: 0n }]]));
  send(1, frame(other, hidden));
  t.deepEqual([sent(2), sent(3)], [1, 1]);
});

test('a port that another node told of gets its slot with the first frame, without news', (t) => {
  const { fdb, send } = openSwitch(t, 'slo');
  fdb.write(new Map([[key(hidden), { portKey: 12, slot: 0, seenNs: 0n }]]));
  send(2, frame(hidden, other));
  t.is(learned(fdb)[hidden], '12/2');
  t.deepEqual(fdb.counters(), { learned: 0n, moved: 0n, lostEvents: 0n });
});

test('the time of an entry is written when it is older than a second, and not for every frame', (t) => {
  const { fdb, send } = openSwitch(t, 'tim');
  const now = process.hrtime.bigint();
  const seenAfter = (seenNs: bigint): bigint => {
    fdb.write(new Map([[key(hidden), { portKey: 12, slot: 2, seenNs }]]));
    send(2, frame(hidden, other));
    return fdb.lookup([key(hidden)]).get(key(hidden))?.seenNs ?? 0n;
  };
  t.is(seenAfter(now), now);
  const old = now - 2_000_000_000n;
  const renewed = seenAfter(old);
  t.true(renewed > old + 1_900_000_000n && renewed <= process.hrtime.bigint());
});

test('a full map gives up the oldest and keeps flooding', (t) => {
  const capacity = 1024;
  const { harness, fdb, send, sent } = openSwitch(t, 'ful', { fdb: capacity });
  t.is(fdb.capacity, capacity);
  const nth = (n: number): string =>
    `02:01:00:00:${Math.floor(n / 256).toString(16)}:${(n % 256).toString(16)}`;
  const count = 3 * capacity;
  for (let n = 0; n < count; n++) send(2, frame(padMac(nth(n)), other));
  const entries = learned(fdb);
  t.true(Object.keys(entries).length <= capacity);
  t.true(Object.keys(entries).length > capacity / 2);
  t.is(entries[padMac(nth(count - 1))], '12/2', 'the newest is there');
  t.is(entries[padMac(nth(0))], undefined, 'the oldest is not');
  t.is(fdb.counters().learned, BigInt(count));
  const before = [sent(2), sent(3)];
  send(1, frame(other, padMac(nth(0))));
  t.deepEqual([sent(2), sent(3)], [(before[0] ?? 0) + 1, (before[1] ?? 0) + 1], 'flooded');
  t.deepEqual(harness.drops(1), {});
});

test('a full ring buffer loses the event and not the MAC', (t) => {
  const { fdb, send } = openSwitch(t, 'rin');
  const records = Math.ceil((256 * 1024) / 32) + 1;
  for (let n = 0; n < records; n++) {
    send(
      2,
      frame(padMac(`02:02:0:${n >> 16}:${((n >> 8) & 255).toString(16)}:${(n & 255).toString(16)}`), other),
    );
  }
  const { learned: count, lostEvents } = fdb.counters();
  t.is(count, BigInt(records));
  t.true(lostEvents >= 1n);
  t.is(readAll(fdb).size, records);
});

function padMac(text: string): string {
  const padded = text
    .split(':')
    .map((octet) => octet.padStart(2, '0'))
    .join(':');
  if (parseMac(padded) === undefined) throw new Error(padded);
  return padded;
}
