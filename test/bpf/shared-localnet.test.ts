import test, { type ExecutionContext } from 'ava';

import { macBytes } from '../../common/addresses.js';
import { constants, portFlags } from '../../generated/bpf/layouts.js';
import { broadcast, ethernet, icmp, ipv4, mac, tagged } from '../support/packets.js';
import { enterPrivateNamespaces, runSync } from '../support/private-namespace.js';
import { openTap, type Tap } from '../support/tap.js';
import { BpfHarness, verdicts } from './harness.js';
import { ip4Of, macOf } from './switch.js';

/* Switches 1, 2 and 3 with a VM each, whose localnet ports share an uplink and a VLAN. All devices are TAPs. */

enterPrivateNamespaces();
runSync('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');

const { MULTICAST_FLOOD, MULTICAST_UNKNOWN } = constants;
const { PORT_ENABLED, PORT_LOCALNET, PORT_LEARNS, PORT_VLAN_PASSTHRU } = portFlags;
const switches = [1, 2, 3] as const;
type Switch = (typeof switches)[number];
const outside = '02:66:00:00:00:01';
const localnetOf = (number: number): number => 10 + number;
const vmKey = 1;
const localnetKey = 2;

interface Options {
  readonly vlanId?: number;
  readonly passthru?: readonly Switch[];
}

interface Shared {
  readonly harness: BpfHarness;
  readonly uplink: Tap;
  readonly vms: Readonly<Record<Switch, Tap>>;
}

let opened = 0;

function open(t: ExecutionContext, { vlanId = 0, passthru = [] }: Options = {}): Shared {
  opened += 1;
  const harness = new BpfHarness();
  const tap = (name: string): Tap => {
    const device = openTap(`${name}x${opened}`);
    t.teardown(() => device.close());
    return device;
  };
  const uplink = tap('up');
  const vms = { 1: tap('a'), 2: tap('b'), 3: tap('c') };
  for (const number of switches) {
    const flags = PORT_ENABLED | (passthru.includes(number) ? PORT_VLAN_PASSTHRU : 0);
    const localnetSlot = localnetOf(number);
    const { ifindex } = vms[number];
    const port = { datapathKey: number, localnetSlot, flags };
    harness.put('ports', number, { ...port, portKey: vmKey, ifindex, vlanId: 0, sharers: 0, nextSharer: 0 });
    harness.put('ports_by_interface', { ifindex, vlanId: 0 }, number);
    harness.put('ports', localnetSlot, {
      ...port,
      flags: flags | PORT_LOCALNET | PORT_LEARNS,
      portKey: localnetKey,
      ifindex: uplink.ifindex,
      vlanId,
      sharers: switches.length - 1,
      nextSharer: localnetOf((number % switches.length) + 1),
    });
    const key = { datapathKey: number, mac: macBytes(mac(macOf(number))) };
    harness.put('destinations', key, { portKey: vmKey, slot: number });
    harness.putGroup(number, MULTICAST_FLOOD, [number, localnetSlot]);
    harness.putGroup(number, MULTICAST_UNKNOWN, [localnetSlot]);
    harness.attach(ifindex);
  }
  harness.put('ports_by_interface', { ifindex: uplink.ifindex, vlanId }, localnetOf(1));
  harness.attach(uplink.ifindex, 'uplink_ingress');
  t.teardown(() => harness.close());
  return { harness, uplink, vms };
}

function frame(source: string, destination: string, sequence = 1): Uint8Array {
  const addresses = { source: ip4Of(1), destination: ip4Of(2) };
  return ethernet({ source, destination }, ipv4(addresses, icmp(Uint8Array.of(sequence))));
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** What each VM gets before the broadcast from outside with which it ends, by switch, and what leaves by the uplink. */
async function received(
  { harness, uplink, vms }: Shared,
  vlanId = 0,
): Promise<Readonly<Record<Switch | 'wire', readonly string[]>>> {
  const last = frame(outside, broadcast, 99);
  uplink.send(vlanId === 0 ? last : tagged(last, { tci: vlanId }));
  const until = async (tap: Tap): Promise<readonly string[]> => {
    const frames: string[] = [];
    for (let next = hex(await tap.receive()); next !== hex(last); next = hex(await tap.receive()))
      frames.push(next);
    return frames;
  };
  const [first, second, third] = [await until(vms[1]), await until(vms[2]), await until(vms[3])];
  const left = switches.reduce((sum, each) => sum + harness.counters(localnetOf(each)).sentPackets, 0n);
  const wire: string[] = [];
  for (let count = 0n; count < left; count++) wire.push(hex(await uplink.receive()));
  return { 1: first, 2: second, 3: third, wire };
}

for (const vlanId of [0, 100]) {
  const onWire = (bytes: Uint8Array): Uint8Array => (vlanId === 0 ? bytes : tagged(bytes, { tci: vlanId }));

  test.serial(
    `a broadcast of a VM reaches the other switches and the wire once (VLAN ${vlanId})`,
    async (t) => {
      for (const from of switches) {
        const shared = open(t, { vlanId });
        const sent = frame(macOf(from), broadcast);
        shared.vms[from].send(sent);
        const expected = { 1: [hex(sent)], 2: [hex(sent)], 3: [hex(sent)], wire: [hex(onWire(sent))] };
        t.deepEqual(await received(shared, vlanId), { ...expected, [from]: [] });
        const counts = switches.map((each) =>
          Number(shared.harness.counters(localnetOf(each)).receivedPackets),
        );
        t.deepEqual(
          counts,
          switches.map((each) => (each === from ? 1 : 2)),
          'what is passed on, and the last one from outside',
        );
        for (const slot of [0, ...switches, ...switches.map(localnetOf)])
          t.deepEqual(shared.harness.drops(slot), {});
      }
    },
  );

  test.serial(`VMs of two switches talk, and each learns the other (VLAN ${vlanId})`, async (t) => {
    const shared = open(t, { vlanId });
    const [there, back] = [frame(macOf(2), macOf(3)), frame(macOf(3), macOf(2), 2)];
    shared.vms[2].send(there);
    t.deepEqual(hex(await shared.vms[3].receive()), hex(there));
    shared.vms[3].send(back);
    t.deepEqual(await received(shared, vlanId), {
      1: [],
      2: [hex(back)],
      3: [],
      wire: [hex(onWire(there)), hex(onWire(back))],
    });
    const slots = [2, 3].map((each) => shared.harness.counters(localnetOf(each)));
    t.deepEqual(
      slots.map(({ sentPackets }) => sentPackets),
      [1n, 1n],
    );
  });

  test.serial(
    `what comes from outside is for all switches, and goes nowhere else (VLAN ${vlanId})`,
    async (t) => {
      for (const to of switches) {
        const shared = open(t, { vlanId });
        const toOne = frame(outside, macOf(to));
        const toAll = frame(outside, broadcast);
        shared.uplink.send(onWire(toOne));
        shared.uplink.send(onWire(toAll));
        const expected = { 1: [hex(toAll)], 2: [hex(toAll)], 3: [hex(toAll)], wire: [] };
        t.deepEqual(await received(shared, vlanId), { ...expected, [to]: [hex(toOne), hex(toAll)] });
      }
    },
  );
}

test.serial('where one switch lets tags pass, only that gets a foreign tag', async (t) => {
  const shared = open(t, { passthru: [2] });
  const foreign = tagged(frame(outside, broadcast), { tci: 7 });
  const priority = tagged(frame(outside, broadcast, 2), { tci: 0xe000 });
  shared.uplink.send(foreign);
  shared.uplink.send(priority);
  const plain = hex(frame(outside, broadcast, 2));
  t.deepEqual(await received(shared), { 1: [plain], 2: [hex(foreign), hex(priority)], 3: [plain], wire: [] });
});

test.serial('switches that are connected twice do not send a frame round for ever', async (t) => {
  const shared = open(t);
  const { harness, uplink } = shared;
  const vlanId = 5;
  for (const number of [1, 2]) {
    const slot = 20 + number;
    harness.put('ports', slot, {
      datapathKey: number,
      portKey: 3,
      ifindex: uplink.ifindex,
      flags: PORT_ENABLED | PORT_LOCALNET,
      vlanId,
      sharers: 1,
      localnetSlot: localnetOf(number),
      nextSharer: 20 + (number % 2) + 1,
    });
    harness.putGroup(number, MULTICAST_FLOOD, [number, localnetOf(number), slot]);
  }
  harness.put('ports_by_interface', { ifindex: uplink.ifindex, vlanId }, 21);
  const sent = frame(macOf(1), broadcast);
  shared.vms[1].send(sent);
  const seen = hex(await shared.vms[2].receive());
  t.is(seen, hex(sent));
  t.is(hex(await shared.vms[2].receive()), seen, 'by each of the two ways');
  t.is(hex(await shared.vms[3].receive()), seen);
  const left = [localnetOf(1), 21, localnetOf(2), 22].map((slot) => harness.counters(slot).sentPackets);
  t.deepEqual(left, [1n, 1n, 1n, 1n]);
});

test.serial('what a switch passes on is not the host’s', (t) => {
  const { harness, uplink } = open(t);
  const mark = 0x6b000000 | (1 << 20) | localnetOf(2);
  const context = { ingressIfindex: uplink.ifindex, ifindex: uplink.ifindex };
  const strange = frame(outside, '02:99:00:00:00:01');
  t.is(harness.run(strange, context, 'uplink_ingress').verdict, verdicts.unspecified);
  t.is(harness.run(strange, { ...context, mark }, 'uplink_ingress').verdict, verdicts.drop);
  const toNobody = { ...context, mark: mark + 40 };
  t.is(harness.run(strange, toNobody, 'uplink_ingress').verdict, verdicts.drop, 'its port has gone');
});
