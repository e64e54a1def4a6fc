import test from 'ava';
import fc from 'fast-check';

import type { DataPlane } from '../../agent/data-plane.js';
import { computeDesired } from '../../agent/desired.js';
import type { Intent } from '../../agent/intent.js';
import { KernelState } from '../../agent/kernel-state.js';
import { findLocalPorts, type SlotKey } from '../../agent/local-ports.js';
import { type KernelTarget, limitAttachments, type Operation, plan } from '../../agent/plan.js';
import { assignSlots } from '../../agent/slots.js';
import type { VifInterface } from '../../agent/vswitch/interfaces.js';
import { type Ifindex, macBytes, parseMac } from '../../common/addresses.js';
import {
  decodeDestination,
  decodeMember,
  decodeMemberKey,
  decodePort,
  encodeMacKey,
  encodeMemberKey,
  portFlags,
} from '../../generated/bpf/layouts.js';
import { FakeDataPlane } from './support/fake-data-plane.js';
import { makeLink } from './support/fake-devices.js';
import {
  chassisName,
  makeIntent,
  portResource,
  portSecurityEntry,
  switchResource,
} from './support/intents.js';
import { vif } from './support/vif.js';

/** One state of the world: which ports there are, where and how. */
interface World {
  readonly intent: Intent;
  readonly interfaces: readonly VifInterface[];
}

const portArbitrary = fc.record({
  key: fc.integer({ min: 1, max: 5 }),
  sw: fc.constantFrom('sw0', 'sw1'),
  here: fc.boolean(),
  enabled: fc.boolean(),
  secured: fc.constantFrom([], ['02:00:00:00:00:01'], ['02:00:00:00:00:01 10.0.0.0/24 10.0.0.9/24 fd00::1']),
  groups: fc.subarray([32768, 32769]),
  ifindex: fc.integer({ min: 1, max: 6 }),
  plugged: fc.boolean(),
});

const worlds: fc.Arbitrary<World> = fc
  .uniqueArray(portArbitrary, { selector: ({ sw, key }) => `${sw}/${key}`, maxLength: 6 })
  .map((ports) => {
    const name = ({ sw, key }: { sw: string; key: number }): string => `${sw}-${key}`;
    const intent = makeIntent(
      switchResource('sw0', 1),
      switchResource('sw1', 2),
      ...ports.map((port) =>
        portResource(name(port), port.key, {
          switch: port.sw,
          chassis: port.here ? chassisName : 'elsewhere',
          enabled: port.enabled,
          multicast_groups: port.groups,
          port_security: port.secured.map(portSecurityEntry),
        }),
      ),
    );
    const taken = new Set<number>();
    const interfaces = ports.flatMap((port) => {
      if (!port.plugged || taken.has(port.ifindex)) return [];
      taken.add(port.ifindex);
      return [vif(name(port), port.ifindex)];
    });
    return { intent, interfaces };
  });

function targetOf({ intent, interfaces }: World, previous: ReadonlyMap<SlotKey, number>) {
  const localPorts = findLocalPorts(intent, interfaces, chassisName);
  const { slots } = assignSlots(
    previous,
    localPorts.map(({ key }) => key),
    64,
  );
  return { slots, desired: computeDesired(intent, interfaces, localPorts, slots) };
}

/** Each entry or attachment by itself. */
function singleSteps(operations: readonly Operation[]): readonly Operation[] {
  return operations.flatMap((operation): readonly Operation[] => {
    if (operation.kind === 'write') {
      return [...operation.entries].map((entry) => ({ ...operation, entries: new Map([entry]) }));
    }
    return operation.kind === 'delete'
      ? operation.keys.map((key) => ({ ...operation, keys: [key] }))
      : [operation];
  });
}

function contentsOf(target: KernelTarget): unknown {
  const plane = new FakeDataPlane();
  for (const [table, entries] of target.tables) plane.writeEntries(table, entries);
  for (const ifindex of target.attachments) plane.attach(ifindex);
  return plane.contents();
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The slots that a packet to a group reaches, or 'broken' when an entry is missing on the way. */
function walk(plane: DataPlane, datapathKey: number, groupKey: number): readonly number[] | 'broken' {
  const entries = plane.readTable('multicast_members');
  const reached: number[] = [];
  let slot = 0;
  for (let step = 0; step < 100; step++) {
    const value = entries.get(hex(encodeMemberKey({ datapathKey, groupKey, slot })));
    if (value === undefined) return step === 0 ? [] : 'broken';
    slot = decodeMember(value).nextSlot;
    if (slot === 0) return reached;
    reached.push(slot);
  }
  return 'broken';
}

function groupsOf(plane: DataPlane): readonly (readonly [number, number])[] {
  const keys = [...plane.readTable('multicast_members').keys()].map((key) =>
    decodeMemberKey(Buffer.from(key, 'hex')),
  );
  return keys.map(({ datapathKey, groupKey }) => [datapathKey, groupKey]);
}

/** `walk` where a list that is broken reaches nobody. */
function membersOf(plane: DataPlane, datapathKey: number, groupKey: number): readonly number[] {
  const reached = walk(plane, datapathKey, groupKey);
  return reached === 'broken' ? [] : reached;
}

/** What must hold between any two steps: nothing leads to a slot whose port is not there, no list is broken. */
function danglingReferences(plane: DataPlane): readonly string[] {
  const slots = new Set(
    [...plane.readTable('ports').keys()].map((key) => Buffer.from(key, 'hex').readUInt32LE()),
  );
  const destinations = [...plane.readTable('destinations').values()].map(
    (value) => decodeDestination(value).slot,
  );
  const members = groupsOf(plane).flatMap(([datapathKey, groupKey]) => {
    const reached = walk(plane, datapathKey, groupKey);
    return reached === 'broken' ? [-1] : reached;
  });
  const byInterface = [...plane.readTable('ports_by_interface').values()].map((value) =>
    Buffer.from(value).readUInt32LE(),
  );
  return [...destinations.filter((slot) => slot !== 0), ...members, ...byInterface]
    .filter((slot) => !slots.has(slot))
    .map((slot) => `slot ${slot}`);
}

/** A port that asks for port security never stands there without any entry of it. */
function unsecuredPorts(plane: DataPlane): number {
  const secured = new Set(
    [...plane.readTable('allowed_macs').keys()].map((key) => Buffer.from(key, 'hex').readUInt32LE()),
  );
  return [...plane.readTable('ports')].filter(
    ([key, value]) =>
      (decodePort(value).flags & portFlags.PORT_SECURITY) !== 0 &&
      !secured.has(Buffer.from(key, 'hex').readUInt32LE()),
  ).length;
}

test('property: a plan reaches what is desired, and from there nothing is left to do', (t) => {
  fc.assert(
    fc.property(worlds, worlds, (from, to) => {
      const plane = new FakeDataPlane();
      const kernel = new KernelState(plane);
      const first = targetOf(from, new Map());
      kernel.apply(plan(first.desired, kernel));
      t.deepEqual(plane.contents(), contentsOf(first.desired));
      t.deepEqual(plan(first.desired, kernel), []);
      const second = targetOf(to, first.slots);
      kernel.apply(plan(second.desired, kernel));
      t.deepEqual(plane.contents(), contentsOf(second.desired));
      t.deepEqual(plan(second.desired, kernel), []);
      t.deepEqual(plan(second.desired, new KernelState(plane)), []);
    }),
  );
});

test('property: between any two steps nothing leads nowhere, and who is in a group before and after is reached', (t) => {
  fc.assert(
    fc.property(worlds, worlds, (from, to) => {
      const plane = new FakeDataPlane();
      const kernel = new KernelState(plane);
      const first = targetOf(from, new Map());
      kernel.apply(plan(first.desired, kernel));
      const second = targetOf(to, first.slots);
      const after = new FakeDataPlane();
      for (const [table, entries] of second.desired.tables) after.writeEntries(table, entries);
      const stays = groupsOf(plane).map(([datapathKey, groupKey]) => {
        const wanted = new Set(membersOf(after, datapathKey, groupKey));
        const members = membersOf(plane, datapathKey, groupKey).filter((slot) => wanted.has(slot));
        return { datapathKey, groupKey, members };
      });
      for (const step of singleSteps(plan(second.desired, kernel))) {
        kernel.apply([step]);
        t.deepEqual(danglingReferences(plane), []);
        t.is(unsecuredPorts(plane), 0);
        for (const { datapathKey, groupKey, members } of stays) {
          const reached = membersOf(plane, datapathKey, groupKey);
          t.true(members.every((slot) => reached.includes(slot)));
        }
      }
    }),
  );
});

test('property: the same world and slots give the same tables whatever was there before, in any order', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const { slots, desired } = targetOf(world, new Map());
      const shuffled: World = {
        intent: {
          ...world.intent,
          ports: new Map([...world.intent.ports].reverse()),
          switches: new Map([...world.intent.switches].reverse()),
        },
        interfaces: [...world.interfaces].reverse(),
      };
      const localPorts = findLocalPorts(shuffled.intent, shuffled.interfaces, chassisName);
      const again = computeDesired(shuffled.intent, shuffled.interfaces, localPorts, slots);
      t.deepEqual(contentsOf(again), contentsOf(desired));
      t.deepEqual(again.problems, desired.problems);
    }),
  );
});

test('a new tap is attached after its entries, and what is attached but not intact is attached again', (t) => {
  const plane = new FakeDataPlane();
  const kernel = new KernelState(plane);
  const world = {
    intent: makeIntent(switchResource('sw0', 1), portResource('lp1', 1)),
    interfaces: [vif('lp1', 5)],
  };
  const { desired } = targetOf(world, new Map());
  kernel.apply(plan(desired, kernel));
  t.is(plane.changes.at(-1), 'attach 5');
  plane.attached.set(makeLink('tap5', 5).ifindex, false);
  t.deepEqual(plan(desired, new KernelState(plane)), [
    { kind: 'attach', ifindex: makeLink('tap5', 5).ifindex },
  ]);
  const mac = parseMac('02:00:00:00:00:01');
  t.true(
    mac !== undefined &&
      plane.table('destinations').has(hex(encodeMacKey({ datapathKey: 1, mac: macBytes(mac) }))),
  );
});

test('a portion of a plan keeps everything but the attachments beyond the limit', (t) => {
  const attach = (ifindex: number): Operation => ({ kind: 'attach', ifindex: ifindex as Ifindex });
  const write: Operation = { kind: 'write', table: 'ports', entries: new Map() };
  const detach: Operation = { kind: 'detach', ifindex: 9 as Ifindex };
  const whole = [write, attach(1), attach(2), attach(3), detach];
  t.deepEqual(limitAttachments(whole, 2), {
    operations: [write, attach(1), attach(2), detach],
    postponed: new Set([3 as Ifindex]),
  });
  t.deepEqual(limitAttachments(whole, 3), { operations: whole, postponed: new Set() });
});
