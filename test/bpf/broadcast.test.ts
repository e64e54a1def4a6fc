import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { constants, portFlags } from '../../generated/bpf/layouts.js';
import { broadcast, ethernet, icmp, ipv4, tagged } from '../support/packets.js';
import { createDevice, enterPrivateNamespaces, runSync } from '../support/private-namespace.js';
import { openTap } from '../support/tap.js';
import { BpfHarness } from './harness.js';

/* More members than OVN's own tests have, and than the 1,000 packets that a CPU queues for veths. */

enterPrivateNamespaces();
runSync('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');

const memberCount = 1100;
const datapathKey = 7;
const senderSlot = 1;
const firstSlot = 2;
const frame = ethernet(
  { source: '02:00:00:00:00:01', destination: broadcast },
  ipv4({ source: '10.0.0.1', destination: '10.0.255.255' }, icmp()),
);

interface Member {
  readonly ifindex: number;
  readonly vlanId: number;
}

/** A switch whose first port sends, with the others as members of its flood group. */
function openSwitch(t: ExecutionContext, members: readonly Member[]): BpfHarness {
  const harness = new BpfHarness(undefined, 2048);
  t.teardown(() => harness.close());
  const ports = [{ ifindex: createDevice('sender'), vlanId: 0 }, ...members];
  ports.forEach(({ ifindex, vlanId }, index) => {
    const slot = senderSlot + index;
    const flags = portFlags.PORT_ENABLED;
    harness.put('ports', slot, { datapathKey, portKey: slot, ifindex, flags, vlanId });
    harness.put('ports_by_interface', { ifindex, vlanId }, slot);
  });
  harness.putGroup(
    datapathKey,
    constants.MULTICAST_FLOOD,
    ports.map((_, index) => senderSlot + index),
  );
  harness.run(frame, { ifindex: ports[0]?.ifindex ?? 0 });
  runSync('ip', 'link', 'delete', 'sender');
  return harness;
}

function sentTo(harness: BpfHarness): readonly number[] {
  const slots = Array.from({ length: memberCount }, (_, index) => firstSlot + index);
  const counters = harness.countersOf(slots);
  return slots.map((slot) => Number(counters.get(slot)?.sentPackets ?? 0n));
}

test.serial(`${memberCount} nested ports behind four TAPs: each gets the broadcast once`, async (t) => {
  const perTap = memberCount / 4;
  const taps = [0, 1, 2, 3].map((number) => openTap(`flood${number}`));
  t.teardown(() => taps.forEach((tap) => tap.close()));
  const members = taps.flatMap(({ ifindex }) =>
    Array.from({ length: perTap }, (_, index) => ({ ifindex, vlanId: index + 1 })),
  );
  const harness = openSwitch(t, members);
  t.deepEqual(
    sentTo(harness),
    members.map(() => 1),
  );
  t.deepEqual(harness.drops(senderSlot), {});
  for (const tap of taps) {
    for (let vlanId = 1; vlanId <= perTap; vlanId++) {
      t.deepEqual(await tap.receive(), tagged(frame, { tci: vlanId }), `VLAN ${vlanId}`);
    }
  }
});

interface LinkStatistics {
  readonly ifname: string;
  readonly ifindex: number;
  readonly stats64: { readonly rx: { readonly packets: number } };
}

/** Interfaces of this namespace whose names begin with `prefix`. */
function statistics(prefix: string): readonly LinkStatistics[] {
  const links = JSON.parse(runSync('ip', '-s', '-json', 'link', 'show')) as readonly LinkStatistics[];
  return links.filter(({ ifname }) => ifname.startsWith(prefix));
}

function createVeths(t: ExecutionContext): readonly Member[] {
  const folder = mkdtempSync(path.join(tmpdir(), 'iovn-broadcast-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const commands = Array.from({ length: memberCount }, (_, number) => [
    `link add out${number} up type veth peer name in${number}`,
    `link set in${number} up`,
  ]);
  const file = path.join(folder, 'batch');
  writeFileSync(file, commands.flat().join('\n'));
  runSync('ip', '-batch', file);
  const outer = new Map(statistics('out').map(({ ifname, ifindex }) => [ifname, ifindex]));
  return Array.from(commands, (_, number) => ({ ifindex: outer.get(`out${number}`) ?? 0, vlanId: 0 }));
}

test.serial(`${memberCount} veths: each gets the broadcast once, or is counted as not reached`, (t) => {
  const members = createVeths(t);
  const harness = openSwitch(t, members);
  const received = new Map(statistics('in').map(({ ifname, stats64 }) => [ifname, stats64.rx.packets]));
  const sent = sentTo(harness);
  t.deepEqual(
    members.map((_, number) => received.get(`in${number}`)),
    sent,
    'what is counted as sent has arrived',
  );
  const lost = sent.flatMap((count, index) => (count === 0 ? [firstSlot + index] : []));
  t.log(`${memberCount - lost.length} reached, ${lost.length} refused by their veth`);
  t.true(lost.length <= memberCount - 1000);
  for (const slot of lost) t.deepEqual(harness.drops(slot), { delivery_failed: 1 });
  t.deepEqual(harness.drops(senderSlot), {});
});
