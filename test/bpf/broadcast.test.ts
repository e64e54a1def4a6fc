import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import type { Ifindex } from '../../common/addresses.js';
import { constants, portFlags } from '../../generated/bpf/layouts.js';
import { broadcast, ethernet, icmp, ipv4, tagged } from '../support/packets.js';
import { enterPrivateNamespaces, runSync } from '../support/private-namespace.js';
import { openTap, type Tap } from '../support/tap.js';
import { waitFor } from '../../testbed/wait.js';
import { BpfHarness } from './harness.js';
import { plainPort } from '../support/plain-port.js';

/* More members than one program run serves, and than the 1,000 packets that a CPU queues for veths. */

enterPrivateNamespaces();
runSync('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');

const memberCount = 1100;
const datapathKey = 7;
const senderSlot = 1;
const firstSlot = 2;
const { MULTICAST_FLOOD, MULTICAST_UNKNOWN } = constants;

function frameTo(destination: string): Uint8Array {
  return ethernet(
    { source: '02:00:00:00:00:01', destination },
    ipv4({ source: '10.0.0.1', destination: '10.0.255.255' }, icmp()),
  );
}

interface Member {
  readonly ifindex: Ifindex;
  readonly vlanId: number;
}

/** A switch whose first port is `sender`, with the others as further members of a group. */
function openSwitch(
  t: ExecutionContext,
  groupKey: number,
  sender: Member,
  members: readonly Member[],
): BpfHarness {
  const harness = new BpfHarness(undefined, 2048);
  t.teardown(() => harness.close());
  const ports = [sender, ...members];
  ports.forEach(({ ifindex, vlanId }, index) => {
    const slot = senderSlot + index;
    const flags = portFlags.PORT_ENABLED;
    harness.put('ports', slot, {
      ...plainPort,
      datapathKey,
      portKey: slot,
      ifindex,
      flags,
      vlanId,
    });
    harness.put('ports_by_interface', { ifindex, vlanId }, slot);
  });
  harness.putGroup(
    datapathKey,
    groupKey,
    ports.map((_, index) => senderSlot + index),
  );
  harness.attach(sender.ifindex);
  return harness;
}

function openTaps(t: ExecutionContext, prefix: string, count: number): readonly Tap[] {
  const taps = Array.from({ length: count }, (_, number) => openTap(`${prefix}${number}`));
  t.teardown(() => taps.forEach((tap) => tap.close()));
  return taps;
}

function sentTo(harness: BpfHarness): readonly number[] {
  const slots = Array.from({ length: memberCount }, (_, index) => firstSlot + index);
  const counters = harness.countersOf(slots);
  return slots.map((slot) => Number(counters.get(slot)?.sentPackets ?? 0n));
}

/** Each of the members gets the frame once, and nothing else happens. */
async function checkAll(t: ExecutionContext, harness: BpfHarness): Promise<void> {
  const total = (): number => sentTo(harness).reduce((a, b) => a + b, 0);
  await waitFor('the last copy', () => total() >= memberCount);
  t.true(sentTo(harness).every((count) => count === 1));
  t.is(harness.counters(senderSlot).receivedPackets, 1n);
  t.deepEqual(harness.drops(senderSlot), {});
}

const cases = {
  broadcast: { groupKey: MULTICAST_FLOOD, vlanId: 0, frame: frameTo(broadcast) },
  'unknown address from a nested port': {
    groupKey: MULTICAST_UNKNOWN,
    vlanId: 9,
    frame: frameTo('02:00:00:00:99:99'),
  },
};

for (const [name, { groupKey, vlanId, frame }] of Object.entries(cases)) {
  test.serial(`${memberCount} nested ports behind four TAPs get a frame once: ${name}`, async (t) => {
    const perTap = memberCount / 4;
    const [from, ...taps] = openTaps(t, `n${vlanId}x`, 5);
    if (from === undefined) throw new Error('five were opened');
    const members = taps.flatMap(({ ifindex }) =>
      Array.from({ length: perTap }, (_, index) => ({ ifindex, vlanId: index + 1 })),
    );
    const harness = openSwitch(t, groupKey, { ifindex: from.ifindex, vlanId }, members);
    from.send(vlanId === 0 ? frame : tagged(frame, { tci: vlanId }));
    await checkAll(t, harness);
    for (const tap of taps) {
      for (let vlan = 1; vlan <= perTap; vlan++) {
        t.deepEqual(await tap.receive(), tagged(frame, { tci: vlan }), `VLAN ${vlan}`);
      }
    }
  });
}

interface LinkStatistics {
  readonly ifname: string;
  readonly ifindex: Ifindex;
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
  return commands.map((_, number) => {
    const ifindex = outer.get(`out${number}`);
    if (ifindex === undefined) throw new Error(`no out${number}`);
    return { ifindex, vlanId: 0 };
  });
}

test.serial(`${memberCount} veths get a broadcast once`, async (t) => {
  const members = createVeths(t);
  const [from] = openTaps(t, 'veths', 1);
  if (from === undefined) throw new Error('one was opened');
  const harness = openSwitch(t, MULTICAST_FLOOD, { ifindex: from.ifindex, vlanId: 0 }, members);
  from.send(frameTo(broadcast));
  await checkAll(t, harness);
  const received = statistics('in').map(({ stats64 }) => stats64.rx.packets);
  t.is(received.length, memberCount);
  t.true(received.every((count) => count === 1));
});
