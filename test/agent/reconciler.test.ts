import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';

import { decodePort, encodePort } from '../../generated/bpf/layouts.js';
import { eventually } from './support/eventually.js';
import { FakeDataPlane } from './support/fake-data-plane.js';
import { makeUpdate, portResource, switchResource } from './support/intents.js';
import { nodeIds, Rig } from './support/rig.js';
import { plainPort } from '../support/plain-port.js';

const sw0 = switchResource('sw0', 1);
const missingTap = 'could not open network device tap1 (No such device)';

function rig(
  t: { teardown(action: () => Promise<void>): void },
  plane?: FakeDataPlane,
  driftMs?: number,
): Rig {
  const made = new Rig(plane, driftMs).start();
  t.teardown(() => made.close());
  return made;
}

/** A node on which lp1 is bound and in the kernel, behind tap1 with index 5. */
async function rigWithPort(t: ExecutionContext): Promise<Rig> {
  const r = rig(t);
  r.devices.add('tap1', 5);
  r.database.plug('tap1', 'lp1');
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await r.settled();
  return r;
}

function ports(plane: FakeDataPlane): readonly number[] {
  return [...plane.table('ports').values()].map((value) => decodePort(value).ifindex);
}

test('a tap whose port is bound here is programmed, attached, marked and reported', async (t) => {
  const r = await rigWithPort(t);
  t.deepEqual(ports(r.plane), [5]);
  t.deepEqual([...r.plane.attached.keys()].map(Number), [5]);
  t.is(r.installed('tap1'), 'true');
  t.is(r.database.interface('tap1').external_ids.get('ovn-installed-ts'), '1700000000000');
  t.is(r.database.interface('tap1').external_ids.get('iface-id'), 'lp1');
  t.is(r.reported('tap1')?.installed_binding, 'binding-lp1');
  t.deepEqual(r.outlet.answers.at(-1)?.errors, []);
  t.is(r.portUpSeconds.length, 1);
  t.true(r.plane.changes.includes('retire'));
});

type Event = (r: Rig) => void;

const scenarios: Record<string, readonly Event[]> = {
  'device, row, switch and port': [
    (r) => r.devices.add('tap1', 5),
    (r) => r.database.plug('tap1', 'lp1'),
    (r) => r.update(makeUpdate([sw0], { snapshot: false })),
    (r) => r.update(makeUpdate([portResource('lp1', 1)], { snapshot: false })),
  ],
  'the same iface-id on two taps': [
    (r) => r.devices.add('tap1', 5),
    (r) => r.devices.add('tap2', 6),
    (r) => r.database.plug('tap1', 'lp1'),
    (r) => r.database.plug('tap2', 'lp1'),
    (r) => r.update(makeUpdate([sw0, portResource('lp1', 1)], { snapshot: false })),
  ],
  'a port that is bound elsewhere': [
    (r) => r.devices.add('tap1', 5),
    (r) => r.database.plug('tap1', 'lp1'),
    (r) => r.update(makeUpdate([sw0, portResource('lp1', 1, { chassis: 'other' })], { snapshot: false })),
    (r) => r.update(makeUpdate([portResource('lp2', 2, { chassis: 'other' })], { snapshot: false })),
  ],
};

for (const [name, events] of Object.entries(scenarios)) {
  test(`property: every order ends in the same state: ${name}`, async (t) => {
    const outcome = async (order: readonly Event[], isPaced: boolean): Promise<unknown> => {
      const r = new Rig().start();
      try {
        for (const event of order) {
          event(r);
          if (isPaced) await r.settled();
        }
        await r.settled();
        const { intent: _intent, ...view } = r.reconciler.view;
        return {
          kernel: r.plane.contents(),
          reported: r.outlet.interfaces,
          errors: r.outlet.answers.at(-1)?.errors,
          rows: [...r.database.tables.interface]
            .map(({ name: row, error, ifindex, external_ids }) => ({
              row,
              error,
              ifindex,
              ids: [...external_ids].sort(),
            }))
            .sort((a, b) => (a.row < b.row ? -1 : 1)),
          plugged: view.plugged.map(({ key, slot }) => `${key} ${slot}`),
        };
      } finally {
        await r.close();
      }
    };
    const expected = await outcome(events, false);
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray([...events], { minLength: events.length }),
        fc.boolean(),
        async (order, isPaced) => {
          t.deepEqual(await outcome(order, isPaced), expected);
        },
      ),
      { numRuns: 40 },
    );
  });
}

test('a tap that vanishes and returns', async (t) => {
  const r = await rigWithPort(t);
  r.devices.remove('tap1');
  await eventually(() => r.database.interface('tap1').error === missingTap);
  t.is(r.database.interface('tap1').ofport, -1);
  t.is(r.database.interface('tap1').ifindex, undefined);
  t.is(r.installed('tap1'), undefined);
  t.deepEqual(ports(r.plane), []);
  t.is(r.plane.attached.size, 0);
  t.deepEqual([r.reported('tap1')?.error, r.reported('tap1')?.installed_binding], [missingTap, '']);
  r.devices.add('tap1', 9);
  await eventually(() => r.installed('tap1') === 'true');
  t.deepEqual(ports(r.plane), [9]);
  t.is(r.database.interface('tap1').error, undefined);
  t.is(r.database.interface('tap1').ofport, 1);
  t.is(r.portUpSeconds.length, 2);
});

test('a device that is renamed to what the row says', async (t) => {
  const r = rig(t);
  r.devices.add('eth7', 5);
  r.database.plug('tap1', 'lp1');
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await r.settled();
  t.is(r.plane.attached.size, 0);
  r.devices.remove('eth7');
  r.devices.add('tap1', 5);
  await eventually(() => r.installed('tap1') === 'true');
  t.deepEqual(ports(r.plane), [5]);
});

test('an iface-id that changes on a plugged tap', async (t) => {
  const r = rig(t);
  r.devices.add('tap1', 5);
  r.database.plug('tap1', 'lp1');
  r.update(makeUpdate([sw0, portResource('lp1', 1), portResource('lp2', 2)]));
  await r.settled();
  r.database.setInterface('tap1', {
    external_ids: new Map([...r.database.interface('tap1').external_ids, ['iface-id', 'lp2']]),
  });
  await eventually(() => r.reported('tap1')?.installed_binding === 'binding-lp2');
  t.deepEqual(
    [...r.plane.table('ports').values()].map((value) => decodePort(value).portKey),
    [2],
  );
  t.false(
    r.outlet.log.some(
      (line) =>
        line === 'interfaces tap1:binding-lp1' &&
        r.outlet.log.indexOf(line) > r.outlet.log.indexOf('interfaces tap1:binding-lp2'),
    ),
  );
});

test('two taps with one iface-id: the loser is told who has it, and gets it when the winner goes', async (t) => {
  const r = rig(t);
  r.devices.add('tap2', 6);
  r.database.plug('tap2', 'lp1');
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await r.settled();
  t.is(r.installed('tap2'), 'true');
  r.devices.add('tap1', 5);
  r.database.plug('tap1', 'lp1');
  await eventually(() => r.installed('tap1') === 'true');
  t.is(r.installed('tap2'), undefined);
  t.is(r.database.interface('tap2').error, 'iface-id lp1 is already used by tap1');
  t.is(r.reported('tap2')?.error, 'iface-id lp1 is already used by tap1');
  t.deepEqual(
    [...r.plane.attached.keys()].map(Number).sort(),
    [5, 6],
    'the loser may not reach the host either',
  );
  r.devices.remove('tap1');
  await eventually(() => r.installed('tap2') === 'true');
  t.is(r.database.interface('tap2').error, undefined);
});

test('nothing is removed before the intent is known', async (t) => {
  const plane = new FakeDataPlane();
  const value = encodePort({
    ...plainPort,
    datapathKey: 1,
    portKey: 1,
    ifindex: 5,
    flags: 1,
  });
  plane.table('ports').set('03000000', value);
  plane.table('ports_by_interface').set('0500000000000000', Uint8Array.of(3, 0, 0, 0));
  plane.attach(5 as never);
  plane.attached.set(7 as never, false);
  plane.changes.length = 0;
  const r = rig(t, plane);
  r.database.plug('tap1', 'lp1', {});
  r.database.setInterface('tap1', {
    external_ids: new Map([
      ['iface-id', 'lp1'],
      ['ovn-installed', 'true'],
    ]),
  });
  await r.settled();
  t.deepEqual(plane.changes, []);
  t.is(r.installed('tap1'), 'true');
  r.devices.add('tap1', 5);
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await r.settled();
  t.deepEqual([...plane.table('ports').keys()], ['03000000'], 'the port keeps its slot');
  t.deepEqual(plane.resetSlots, [], 'and its counters');
  t.false(plane.attached.has(7 as never));
});

test('an older program stays on a tap until its port is in the new tables', async (t) => {
  const plane = new FakeDataPlane();
  plane.attached.set(5 as never, false);
  const r = rig(t, plane);
  r.devices.add('tap1', 5);
  r.database.plug('tap1', 'lp1');
  await r.settled();
  t.false(plane.attached.get(5 as never));
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await r.settled();
  t.true(plane.attached.get(5 as never));
  t.deepEqual(plane.changes.slice(-2), ['attach 5', 'retire']);
});

test('a port that can not be written is reported by name, others go on, and it heals', async (t) => {
  const plane = new FakeDataPlane();
  plane.refuse = (table, key) =>
    table === 'destinations' && key.includes('020000000001') ? 'map_full' : undefined;
  const r = rig(t, plane);
  r.devices.add('tap1', 5);
  r.devices.add('tap2', 6);
  r.database.plug('tap1', 'lp1');
  r.database.plug('tap2', 'lp2');
  r.update(makeUpdate([sw0, portResource('lp1', 1), portResource('lp2', 2)]));
  await r.settled();
  t.deepEqual(r.outlet.answers.at(-1)?.errors, [
    { id: { kind: 'Port', name: 'lp1' }, code: 'map_full', message: 'map destinations: refused: map_full' },
  ]);
  t.is(r.reported('tap1')?.install_error, 'map destinations: refused: map_full');
  t.is(r.installed('tap1'), undefined);
  t.is(r.installed('tap2'), 'true');
  plane.refuse = () => undefined;
  r.database.notify();
  await eventually(() => r.installed('tap1') === 'true');
  await eventually(() => r.outlet.answers.at(-1)?.errors?.length === 0);
});

test('an interface that can not be attached', async (t) => {
  const plane = new FakeDataPlane();
  plane.refuseAttach = (ifindex) => ifindex === 5;
  const r = rig(t, plane);
  r.devices.add('tap1', 5);
  r.database.plug('tap1', 'lp1');
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await r.settled();
  t.is(r.outlet.answers.at(-1)?.errors?.[0]?.code, 'kernel_error');
  t.is(r.reported('tap1')?.install_error, 'cannot attach to 5');
  t.is(r.installed('tap1'), undefined);
  t.false(plane.changes.includes('retire'));
});

test('a node without room says so, and serves the next port when there is room', async (t) => {
  const r = rig(t, new FakeDataPlane(2));
  r.devices.add('tap1', 5);
  r.devices.add('tap2', 6);
  r.database.plug('tap1', 'lp1');
  r.database.plug('tap2', 'lp2');
  r.update(makeUpdate([sw0, portResource('lp1', 1), portResource('lp2', 2)]));
  await r.settled();
  t.deepEqual(
    r.outlet.answers.at(-1)?.errors?.map(({ id, code }) => [id?.name, code]),
    [['lp2', 'map_full']],
  );
  r.database.delPort('tap1');
  await eventually(() => r.installed('tap2') === 'true');
});

test('two ports of a switch with one MAC: the lower port key has it, the other one is reported', async (t) => {
  const r = rig(t);
  const same = { macs: [Buffer.from('020000000009', 'hex')] };
  r.update(makeUpdate([sw0, portResource('lp2', 2, same), portResource('lp1', 1, same)]));
  await r.settled();
  t.deepEqual(r.outlet.answers.at(-1)?.errors, [
    {
      id: { kind: 'Port', name: 'lp2' },
      code: 'duplicate_mac',
      message: '02:00:00:00:00:09 is already an address of lp1 of the same switch',
    },
  ]);
});

test('drift is repaired and counted', async (t) => {
  const r = rig(t, new FakeDataPlane(), 5);
  r.devices.add('tap1', 5);
  r.database.plug('tap1', 'lp1');
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await r.settled();
  const good = r.plane.contents();
  r.plane.table('destinations').clear();
  r.plane.table('allowed_macs').set('ff'.repeat(12), Uint8Array.of(1, 0, 0, 0));
  r.plane.attached.clear();
  await eventually(() => JSON.stringify(r.plane.contents()) === JSON.stringify(good));
  await eventually(() => r.outlet.status?.drift_repaired === 3);
  t.is(r.reconciler.view.driftRepaired, 3);
});

test('a missing system-id: nothing is removed, and it works as soon as it is there', async (t) => {
  const r = await rigWithPort(t);
  r.database.setExternalIds({});
  await eventually(() => r.outlet.chassis === undefined);
  t.regex(r.reconciler.view.config?.problem ?? '', /system-id/);
  t.deepEqual(ports(r.plane), [5]);
  t.is(r.installed('tap1'), 'true');
  r.database.setExternalIds({ ...nodeIds, 'system-id': 'hv2' });
  await eventually(() => r.outlet.chassis?.name === 'hv2');
  await eventually(() => r.plane.table('ports').size === 0);
});
