import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { type DataPlane, programNames } from '../../agent/data-plane.js';
import { macBytes } from '../../common/addresses.js';
import {
  encodeDestination,
  encodeInterfaceKey,
  encodeMacKey,
  encodePort,
  portFlags,
} from '../../generated/bpf/layouts.js';
import { waitFor } from '../../testbed/wait.js';
import { encodeUint32 } from '../bpf/harness.js';
import { broadcast, ethernet, mac, raw } from '../support/packets.js';
import {
  createDevice,
  createGuest,
  enterPrivateNamespaces,
  type Guest,
} from '../support/private-namespace.js';
import { hex, makeBpffsDir, modes, open } from './support.js';
import { plainPort } from '../support/plain-port.js';

enterPrivateNamespaces();

const datapathKey = 1;

/** Two guests that know each other's MAC. */
function createGuests(t: ExecutionContext, name: string): readonly [Guest, Guest] {
  const [macA, macB] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b'];
  const guests = [
    createGuest({ name: `${name}a`, mac: macA, address: '10.0.0.1/24', neighbours: { '10.0.0.2': macB } }),
    createGuest({ name: `${name}b`, mac: macB, address: '10.0.0.2/24', neighbours: { '10.0.0.1': macA } }),
  ] as const;
  t.teardown(() => guests.forEach((guest) => guest.stop()));
  return guests;
}

/** What a switch with the two guests on it is in tables. */
function fill(plane: DataPlane, guests: readonly Guest[], moreFlags = 0): void {
  guests.forEach((guest, index) => {
    const slot = index + 1;
    const key = hex(encodeUint32(slot));
    const { ifindex } = guest;
    const port = {
      ...plainPort,
      datapathKey,
      portKey: slot,
      ifindex,
      flags: portFlags.PORT_ENABLED | moreFlags,
    };
    const destination = { datapathKey, mac: macBytes(mac(guest.mac)) };
    plane.writeEntries('ports', new Map([[key, encodePort(port)]]));
    const from = hex(encodeInterfaceKey({ ifindex, vlanId: 0 }));
    plane.writeEntries('ports_by_interface', new Map([[from, encodeUint32(slot)]]));
    plane.writeEntries(
      'destinations',
      new Map([[hex(encodeMacKey(destination)), encodeDestination({ portKey: slot, slot })]]),
    );
  });
}

/** A ping of the second guest every 2 ms. `stop` ends it and returns how many were sent and answered. */
async function startPing(t: ExecutionContext, [from]: readonly [Guest, Guest]) {
  const [program = '', ...args] = from.command(['ping', '-n', '-i', '0.002', '10.0.0.2']);
  const ping = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => ping.kill());
  let output = '';
  ping.stdout.on('data', (data: Buffer) => (output += data.toString()));
  const answers = (): number => output.match(/bytes from/g)?.length ?? 0;
  await waitFor('the first answers', () => answers() > 20);
  return {
    /** Waits until this many more have been answered. */
    async more(count: number): Promise<void> {
      const goal = answers() + count;
      await waitFor('more answers', () => answers() >= goal);
    },
    async stop(): Promise<{ sent: number; received: number }> {
      ping.kill('SIGINT');
      await once(ping, 'close');
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(output) ?? [];
      return { sent: Number(sent), received: Number(received) };
    },
  };
}

/* One after the other: loading programs holds up whatever else the process does. */
for (const attachMode of modes) {
  test.serial(
    `${attachMode}: closing and adopting again loses no packet, no entry and no count`,
    async (t) => {
      const bpffsDir = makeBpffsDir();
      const guests = createGuests(t, `ad${attachMode}`);
      const first = open(t, { bpffsDir, attachMode });
      t.false(first.adopted);
      fill(first, guests);
      for (const { ifindex } of guests) first.attach(ifindex);
      const ping = await startPing(t, guests);
      const entries = first.readTable('destinations');
      first.close();
      await ping.more(50);
      const second = open(t, { bpffsDir, attachMode });
      t.true(second.adopted);
      t.is(second.generation, first.generation);
      t.deepEqual(second.readTable('destinations'), entries);
      t.deepEqual(
        second.readAttachments().map(({ intact }) => intact),
        [true, true],
      );
      await ping.more(50);
      const { sent, received } = await ping.stop();
      t.true(sent > 100);
      /* The last request may have been answered after the signal. */
      t.true(received >= sent - 1, `${received} of ${sent}`);
      const counters = second.readCounters([1]).get(1);
      t.true((counters?.receivedPackets ?? 0n) >= BigInt(received));
      t.is(second.readAttachments().length, 2);
      second.destroy();
    },
  );

  test.serial(
    `${attachMode}: an upgrade under traffic loses no packet and leaves one generation`,
    async (t) => {
      const bpffsDir = makeBpffsDir();
      const guests = createGuests(t, `up${attachMode}`);
      const old = open(t, { bpffsDir, attachMode });
      fill(old, guests);
      for (const { ifindex } of guests) old.attach(ifindex);
      const leftover = createDevice(`left${attachMode}`);
      old.attach(leftover);
      const ping = await startPing(t, guests);
      old.close();

      const next = open(t, { bpffsDir, attachMode, maxPorts: 128 });
      t.false(next.adopted);
      t.not(next.generation, old.generation);
      t.deepEqual(
        next.readAttachments().map(({ intact }) => intact),
        [false, false, false],
      );
      await ping.more(50);
      fill(next, guests);
      for (const { ifindex } of guests) {
        next.attach(ifindex);
        await ping.more(50);
      }
      next.retireOldGenerations();
      await ping.more(50);
      const { sent, received } = await ping.stop();
      t.true(received >= sent - 1, `${received} of ${sent}`);
      t.deepEqual(
        next.readAttachments(),
        guests.map(({ ifindex }) => ({ ifindex, intact: true })),
      );
      t.deepEqual(
        readdirSync(bpffsDir).sort(),
        [
          next.generation,
          'filters',
          'links',
          'qdiscs',
          ...programNames.filter((name) => name !== 'vif_ingress'),
        ].sort(),
      );
      t.true((next.readCounters([1]).get(1)?.receivedPackets ?? 0n) > 50n);
      next.retireOldGenerations();
      t.is(next.readAttachments().length, 2);
      next.destroy();
    },
  );
}

test.serial('what an interrupted load left is removed, and what an interrupted upgrade left goes on', (t) => {
  const bpffsDir = makeBpffsDir();
  const ifindex = createDevice('cut');
  const old = open(t, { bpffsDir });
  old.attach(ifindex);
  old.close();
  /* Killed while pinning. */
  const half = path.join(bpffsDir, 'incomplete_0123456789abcdef');
  mkdirSync(path.join(half, 'maps'), { recursive: true });
  /* Killed after the new generation was complete, before anything was attached to it. */
  open(t, { bpffsDir, maxPorts: 128 }).close();
  t.false(existsSync(half));
  const next = open(t, { bpffsDir, maxPorts: 128 });
  t.true(next.adopted);
  t.deepEqual(next.readAttachments(), [{ ifindex, intact: false }]);
  next.attach(ifindex);
  next.retireOldGenerations();
  t.deepEqual(next.readAttachments(), [{ ifindex, intact: true }]);
  t.false(existsSync(path.join(bpffsDir, old.generation)));
  next.destroy();
});

test.serial('pins that somebody has damaged are replaced', (t) => {
  const bpffsDir = makeBpffsDir();
  const ifindex = createDevice('damaged');
  const first = open(t, { bpffsDir });
  first.attach(ifindex);
  first.close();
  rmSync(path.join(bpffsDir, first.generation, 'maps', 'ports'));
  const second = open(t, { bpffsDir });
  t.false(second.adopted);
  t.deepEqual(second.readAttachments(), [{ ifindex, intact: false }]);
  second.attach(ifindex);
  t.deepEqual(second.readAttachments(), [{ ifindex, intact: true }]);
  second.destroy();
});

test.serial('a port that a program has activated stays so over a restart, and over an upgrade', (t) => {
  const bpffsDir = makeBpffsDir();
  const guests = createGuests(t, 'active');
  const first = open(t, { bpffsDir });
  fill(first, guests, portFlags.PORT_AWAITS_RARP);
  const rarp = ethernet(
    { source: '02:00:00:00:00:0a', destination: broadcast },
    raw(0x8035, new Uint8Array(28)),
  );
  first.broadcast(guests[0].ifindex, rarp);
  const activated = first.readActivations();
  t.is(activated.length, 1);
  first.close();
  const restarted = open(t, { bpffsDir });
  t.true(restarted.adopted);
  t.deepEqual(restarted.readActivations(), activated);
  restarted.close();
  const upgraded = open(t, { bpffsDir, maxPorts: 128 });
  t.false(upgraded.adopted);
  t.deepEqual(upgraded.readActivations(), activated);
  upgraded.forgetActivations(activated);
  t.deepEqual(upgraded.readActivations(), []);
  upgraded.destroy();
});
