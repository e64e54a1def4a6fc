import test from 'ava';
import fc from 'fast-check';
import { Registry } from 'prom-client';

import type { TableEntries, TableName } from '../../agent/data-plane.js';
import { fitGroups } from '../../agent/group-room.js';
import { addCollectedMetrics } from '../../agent/metrics.js';
import type { PortInput } from '../../generated/proto/iovn/v1/Port.js';
import {
  decodeMember,
  decodeMemberKey,
  encodeMember,
  encodeMemberKey,
  encodeInterfaceKey,
} from '../../generated/bpf/layouts.js';
import { eventually } from './support/eventually.js';
import { FakeDataPlane } from './support/fake-data-plane.js';
import {
  chassisResource,
  makeUpdate,
  portResource,
  portSecurityEntry,
  switchResource,
} from './support/intents.js';
import { Rig } from './support/rig.js';

const sw0 = switchResource('sw0', 1);
const driftMs = 5;

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function keyOf(datapathKey: number, groupKey: number, slot: number): string {
  return hex(encodeMemberKey({ datapathKey, groupKey, slot }));
}

/** The slots that a packet to each group reaches, as the program goes from entry to entry. */
function reached(entries: TableEntries): Record<string, readonly number[]> {
  const heads = [...entries.keys()]
    .map((key) => decodeMemberKey(Buffer.from(key, 'hex')))
    .filter(({ slot }) => slot === 0);
  return Object.fromEntries(
    heads.map(({ datapathKey, groupKey }) => {
      const found: number[] = [];
      for (let slot = 0; ; ) {
        const value = entries.get(keyOf(datapathKey, groupKey, slot));
        if (value === undefined) throw new Error(`the list breaks off at ${slot}`);
        slot = decodeMember(value).nextSlot;
        if (slot === 0) break;
        found.push(slot);
      }
      return [`${datapathKey}/${groupKey}`, found];
    }),
  );
}

/** As the module makes them. */
function lists(groups: ReadonlyMap<number, readonly number[]>): Map<string, Uint8Array> {
  return new Map(
    [...groups].flatMap(([group, slots]) =>
      slots.length === 0
        ? []
        : [0, ...slots].map(
            (slot, index) => [keyOf(1, group, slot), encodeMember({ nextSlot: slots[index] ?? 0 })] as const,
          ),
    ),
  );
}

const groups = fc
  .array(fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }), { maxLength: 4 })
  .map((each) => new Map(each.map((slots, index) => [index + 1, slots.sort((a, b) => a - b)] as const)));

test('property: lists that do not fit are whole without those who are left out, and who was there stays', (t) => {
  fc.assert(
    fc.property(groups, groups, fc.nat({ max: 24 }), (before, after, more) => {
      const [actual, desired] = [lists(before), lists(after)];
      const capacity = actual.size + more;
      const fitted = fitGroups(desired, { actual, capacity, refused: new Set() });
      const added = [...fitted.entries.keys()].filter((key) => !actual.has(key)).length;
      t.true(added <= more, 'no write is refused');
      const walks = reached(fitted.entries);
      const leftOut = new Set(fitted.leftOut);
      for (const [group, slots] of after) {
        const expected = slots.filter((slot) => !leftOut.has(keyOf(1, group, slot)));
        t.deepEqual(walks[`1/${group}`] ?? [], expected);
        for (const slot of slots) if (before.get(group)?.includes(slot)) t.true(expected.includes(slot));
      }
      if (leftOut.size > 0) t.true(more - added < 2, 'the room is used');
      else t.deepEqual(fitted.entries, desired);
    }),
    { numRuns: 500 },
  );
});

/** What port n has, with its own entry or entries in `table`. */
function partsFor(table: TableName, number: number): PortInput {
  const mac = `02:00:00:00:00:0${number}`;
  const address = `10.0.0.${number}`;
  switch (table) {
    case 'neighbours':
      return {
        neighbours: [
          { address: Uint8Array.of(10, 0, 0, number), mac: Buffer.from(`02000000000${number}`, 'hex') },
        ],
      };
    case 'allowed_macs':
      return { port_security: [portSecurityEntry(mac)] };
    case 'allowed_addresses':
      return { port_security: [portSecurityEntry(`${mac} ${address}`)] };
    case 'allowed_prefixes':
      return { port_security: [portSecurityEntry(`${mac} ${address.replace(/\d+$/, '0')}/24`)] };
    default:
      return {};
  }
}

async function metricsOf(r: Rig): Promise<readonly string[]> {
  const registry = new Registry();
  addCollectedMetrics(registry, {
    reconciler: () => r.reconciler.view,
  });
  return (await registry.metrics()).split('\n');
}

/** Entries for two ports, one too few for three. */
const capacities: readonly (readonly [TableName, number])[] = [
  ['ports', 3],
  ['ports_by_interface', 2],
  ['destinations', 2],
  ['neighbours', 2],
  ['multicast_members', 3],
  ['allowed_macs', 2],
  ['allowed_addresses', 2],
  ['allowed_prefixes', 2],
];

for (const [table, capacity] of capacities) {
  test(`${table} is full: the port is reported, the others are not harmed, it heals without an event`, async (t) => {
    const plane = new FakeDataPlane(table === 'ports' ? capacity : 64);
    if (table !== 'ports') plane.capacities.set(table, capacity);
    const r = new Rig(plane, driftMs).start();
    t.teardown(() => r.close());
    const plug = (number: number): void => {
      r.devices.add(`tap${number}`, 10 + number);
      r.database.plug(`tap${number}`, `lp${number}`);
    };
    const resource = (number: number) => portResource(`lp${number}`, number, partsFor(table, number));
    plug(1);
    plug(3);
    r.update(makeUpdate([sw0, resource(1), resource(3)]));
    await eventually(() => r.installed('tap1') === 'true' && r.installed('tap3') === 'true');
    t.true((await metricsOf(r)).includes(`iovn_agent_map_full{map="${table}"} 0`));
    const before = new Map(plane.table(table));

    plug(2);
    r.update(makeUpdate([resource(2)], { snapshot: false }));
    await eventually(() => (r.outlet.answers.at(-1)?.errors?.length ?? 0) > 0);
    t.deepEqual(
      r.outlet.answers.at(-1)?.errors?.map(({ id, code }) => [id?.name, code]),
      [['lp2', 'map_full']],
    );
    await eventually(() => (r.reported('tap2')?.install_error ?? '') !== '');
    t.is(r.installed('tap2'), undefined);
    t.is(r.installed('tap1'), 'true');
    t.is(r.installed('tap3'), 'true');
    for (const [key, value] of before) t.deepEqual(plane.table(table).get(key), value);
    const metrics = await metricsOf(r);
    t.true(metrics.includes(`iovn_agent_map_full{map="${table}"} 1`));
    t.is(metrics.filter((line) => /^iovn_agent_map_full\{.* 1$/.test(line)).length, 1);
    t.regex(metrics.join('\n'), new RegExp(`iovn_agent_map_refused_writes_total\\{map="${table}"\\} [1-9]`));

    if (table === 'ports') r.database.delPort('tap1');
    else plane.capacities.set(table, capacity + 1);
    await eventually(() => r.installed('tap2') === 'true');
    await eventually(() => r.outlet.answers.at(-1)?.errors?.length === 0);
    t.is(r.reported('tap2')?.install_error, '');
    t.true((await metricsOf(r)).includes(`iovn_agent_map_full{map="${table}"} 0`));
  });
}

test('remote_members is full: the chassis that is left out is named, and the others are reached', async (t) => {
  const plane = new FakeDataPlane();
  plane.capacities.set('remote_members', 3);
  const r = new Rig(plane, driftMs).start();
  t.teardown(() => r.close());
  r.devices.add('eth0', 2);
  r.devices.add('tap1', 11);
  r.database.plug('tap1', 'lp1');
  const others = [2, 3, 4];
  r.update(
    makeUpdate([
      sw0,
      portResource('lp1', 1),
      ...others.map((number) => portResource(`lp${number}`, number, { chassis: `hv${number}` })),
      ...others.map((number) => chassisResource(`hv${number}`, `192.0.2.${number}`)),
    ]),
  );
  await eventually(() => (r.outlet.answers.at(-1)?.errors?.length ?? 0) > 0);
  t.deepEqual(
    r.outlet.answers.at(-1)?.errors?.map(({ id, code }) => [id?.kind, id?.name, code]),
    [['Chassis', 'hv4', 'map_full']],
  );
  t.is(reached(plane.table('remote_members'))['1/32768']?.length, 2);
  plane.capacities.set('remote_members', 4);
  await eventually(() => r.outlet.answers.at(-1)?.errors?.length === 0);
  t.is(reached(plane.table('remote_members'))['1/32768']?.length, 3);
});

/** What each of three other chassis takes of it is one entry; a switch and its local port take one more each. */
const remoteCapacities: readonly (readonly [
  table: TableName,
  capacity: number,
  left: readonly [kind: string, name: string],
])[] = [
  ['tunnel_endpoints', 3, ['Chassis', 'hv4']],
  ['ports_by_key', 4, ['Port', 'lp4']],
];

for (const [table, capacity, left] of remoteCapacities) {
  test(`${table} is full: what is left out is named, and the others are reached`, async (t) => {
    const plane = new FakeDataPlane();
    plane.capacities.set(table, capacity);
    const r = new Rig(plane, driftMs).start();
    t.teardown(() => r.close());
    r.devices.add('eth0', 2);
    r.devices.add('tap1', 11);
    r.database.plug('tap1', 'lp1');
    const remote = (number: number) => [
      portResource(`lp${number}`, number, { chassis: `hv${number}` }),
      chassisResource(`hv${number}`, `192.0.2.${number}`),
    ];
    r.update(makeUpdate([sw0, portResource('lp1', 1), ...remote(2), ...remote(3)]));
    await eventually(() => r.installed('tap1') === 'true');
    await eventually(() => plane.table('tunnels').size === 2);
    t.is(plane.table(table).size, capacity);
    await r.settled();
    const before = new Map(plane.table(table));
    r.update(makeUpdate(remote(4), { snapshot: false }));
    await eventually(() => (r.outlet.answers.at(-1)?.errors?.length ?? 0) > 0);
    t.deepEqual(
      r.outlet.answers.at(-1)?.errors?.map(({ id, code }) => [id?.kind, id?.name, code]),
      [[...left, 'map_full']],
    );
    t.is(r.installed('tap1'), 'true');
    for (const [key, value] of before) t.deepEqual(plane.table(table).get(key), value);
    t.true((await metricsOf(r)).includes(`iovn_agent_map_full{map="${table}"} 1`));
    plane.capacities.set(table, capacity + 1);
    await eventually(() => r.outlet.answers.at(-1)?.errors?.length === 0);
    t.is(plane.table(table).size, capacity + 1);
  });
}

test('what a port leaves is given to the one that waits, in the same go', async (t) => {
  const plane = new FakeDataPlane();
  plane.capacities.set('destinations', 1);
  plane.capacities.set('multicast_members', 2);
  const r = new Rig(plane).start();
  t.teardown(() => r.close());
  for (const number of [1, 2]) {
    r.devices.add(`tap${number}`, 10 + number);
    r.database.plug(`tap${number}`, `lp${number}`);
  }
  r.update(makeUpdate([sw0, portResource('lp1', 1), portResource('lp2', 2)]));
  await r.settled();
  t.deepEqual([r.installed('tap1'), r.installed('tap2')], ['true', undefined]);
  r.update(makeUpdate([sw0, portResource('lp2', 2)]));
  await r.settled();
  t.is(r.installed('tap2'), 'true');
  t.deepEqual(reached(plane.table('multicast_members')), { '1/32768': [2] });
});

test('a tap that comes back under another index, with no room for both', async (t) => {
  const plane = new FakeDataPlane();
  plane.capacities.set('ports_by_interface', 1);
  const r = new Rig(plane).start();
  t.teardown(() => r.close());
  r.devices.add('tap1', 11);
  r.database.plug('tap1', 'lp1');
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await r.settled();
  r.devices.add('tap1', 12);
  const key = hex(encodeInterfaceKey({ ifindex: 12, vlanId: 0 }));
  await eventually(() => plane.table('ports_by_interface').has(key));
  await r.settled();
  t.is(r.installed('tap1'), 'true');
});

test('a member that the kernel refuses for another reason is left out of its list', async (t) => {
  const plane = new FakeDataPlane();
  const r = new Rig(plane).start();
  t.teardown(() => r.close());
  for (const number of [1, 2, 3]) {
    r.devices.add(`tap${number}`, 10 + number);
    r.database.plug(`tap${number}`, `lp${number}`);
  }
  plane.refuse = (table, key) =>
    table === 'multicast_members' && key === keyOf(1, 32768, 2) ? 'kernel_error' : undefined;
  r.update(makeUpdate([sw0, portResource('lp1', 1), portResource('lp2', 2), portResource('lp3', 3)]));
  await r.settled();
  t.deepEqual(reached(plane.table('multicast_members')), { '1/32768': [1, 3] });
  t.deepEqual(
    [1, 2, 3].map((number) => r.installed(`tap${number}`)),
    ['true', undefined, 'true'],
  );
  t.deepEqual(
    r.outlet.answers.at(-1)?.errors?.map(({ id, code }) => [id?.name, code]),
    [['lp2', 'kernel_error']],
  );
  t.is(r.reconciler.view.refusals.full.size, 0);
  plane.refuse = () => undefined;
  r.database.notify();
  await eventually(() => r.installed('tap2') === 'true');
  t.deepEqual(reached(plane.table('multicast_members')), { '1/32768': [1, 2, 3] });
});
