import test from 'ava';

import { attachEndName } from '../../agent/vswitch/internal-devices.js';
import { decodePort } from '../../generated/bpf/layouts.js';
import { eventually } from './support/eventually.js';
import type { FakeDataPlane } from './support/fake-data-plane.js';
import { makeUpdate, portResource, switchResource } from './support/intents.js';
import { nodeIds, Rig } from './support/rig.js';
import { parseMac } from '../../common/addresses.js';

const sw0 = switchResource('sw0', 1);

function rig(t: { teardown(action: () => Promise<void>): void }): Rig {
  const made = new Rig().start();
  t.teardown(() => made.close());
  return made;
}

function ports(plane: FakeDataPlane): readonly number[] {
  return [...plane.table('ports').values()].map((value) => decodePort(value).ifindex);
}

test('cur_cfg follows once the interfaces have been handed to the controller, also without any intent', async (t) => {
  const r = rig(t);
  r.devices.add('tap1', 5);
  const before = r.outlet.log.length;
  r.database.plug('tap1', 'lp1');
  await r.settled();
  t.is(r.outlet.log[before], 'interfaces tap1:');
  t.is(r.database.interface('tap1').ofport, 1);
  t.deepEqual([...r.plane.attached.keys()].map(Number), [5], 'attached before anybody says what it is');
});

test('where ovs-vswitchd runs its columns are left alone, ovn-installed is not', async (t) => {
  const r = new Rig();
  t.teardown(() => r.close());
  r.database.vswitchdLock.set(false);
  r.start();
  r.devices.add('tap1', 5);
  r.database.plug('tap1', 'lp1', { ofport: 17 });
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await eventually(() => r.installed('tap1') === 'true');
  t.deepEqual([...new Set(r.database.writes)], ['Interface.external_ids', 'Bridge.external_ids']);
  t.is(r.database.root.cur_cfg, 0);
  r.database.vswitchdLock.set(true);
  await r.settled();
  t.is(r.database.interface('tap1').ofport, 17);
  t.is(r.database.interface('tap1').ifindex, 5);
});

test('a quiet node writes nothing', async (t) => {
  const r = rig(t);
  r.devices.add('tap1', 5);
  r.database.plug('tap1', 'lp1');
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await r.settled();
  await eventually(() => r.installed('tap1') === 'true');
  const { length: transactions } = r.database.transactions;
  const { length: changes } = r.plane.changes;
  for (let round = 0; round < 5; round++) {
    r.database.notify();
    r.update(makeUpdate([sw0, portResource('lp1', 1)]));
    await r.settled();
  }
  t.is(r.database.transactions.length, transactions);
  t.is(r.plane.changes.length, changes);
});

test('an interface of type internal gets its device, keeps it in another namespace, and loses it with its row', async (t) => {
  const r = rig(t);
  const attachEnd = attachEndName('ovnmeta');
  r.database.plug('ovnmeta', 'lp1', { type: 'internal', mac: '02:00:00:00:00:77' });
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await eventually(() => r.installed('ovnmeta') === 'true');
  t.deepEqual(r.devices.created, [`ovnmeta ${attachEnd}`]);
  t.true(r.devices.links.get(attachEnd)?.adminUp);
  t.is(r.devices.links.get('ovnmeta')?.mac, parseMac('02:00:00:00:00:77'));
  t.deepEqual(ports(r.plane), [r.devices.links.get(attachEnd)?.ifindex]);
  const { ifindex } = r.database.interface('ovnmeta');
  t.is(ifindex, r.devices.links.get('ovnmeta')?.ifindex);
  r.devices.remove('ovnmeta');
  await r.settled();
  t.is(r.installed('ovnmeta'), 'true');
  t.is(r.database.interface('ovnmeta').ifindex, ifindex);
  t.is(r.devices.created.length, 1);
  r.database.delPort('ovnmeta');
  await eventually(() => !r.devices.links.has(attachEnd));
});

test('a database that is away: the kernel is served all the same', async (t) => {
  const r = rig(t);
  r.devices.add('tap1', 5);
  r.database.plug('tap1', 'lp1');
  await r.settled();
  r.database.setConnected(false);
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await eventually(() => r.outlet.answers.length === 1);
  t.deepEqual(ports(r.plane), [5]);
  t.is(r.installed('tap1'), undefined);
  r.database.setConnected(true);
  await eventually(() => r.installed('tap1') === 'true');
});

test('the integration bridge is made where it is missing, under the name that is configured', async (t) => {
  const r = rig(t);
  r.database.setExternalIds({ ...nodeIds, 'ovn-bridge': 'br-ovn' });
  await eventually(() => [...r.database.tables.bridge].some(({ name }) => name === 'br-ovn'));
  const bridge = [...r.database.tables.bridge].find(({ name }) => name === 'br-ovn');
  t.is(bridge?.fail_mode, 'secure');
  t.true(r.database.root.bridges.some((uuid) => uuid === bridge?._uuid));
  await eventually(() => r.database.interface('br-ovn').ofport === 65534);
});

test('the integration bridge says how far the kernel has come, with the other marks there left alone', async (t) => {
  const r = rig(t);
  const bridge = () => [...r.database.tables.bridge].find(({ name }) => name === 'br-int');
  const mark = (key: string) => bridge()?.external_ids.get(key);
  await r.settled();
  t.is(mark('ovn-nb-cfg'), undefined, 'nothing is known yet');
  const row = bridge();
  if (row) r.database.tables.bridge.rows.set(row._uuid, { ...row, external_ids: new Map([['k', 'v']]) });
  r.update({ ...makeUpdate([sw0]), nb_cfg: '7' });
  await r.settled();
  t.is(mark('ovn-nb-cfg'), '7');
  t.is(mark('ovn-nb-cfg-ts'), '1700000000000');
  t.is(mark('ovn-startup-ts'), '1700000000000');
  t.is(mark('k'), 'v');
  const writes = r.database.writes.length;
  r.update({ ...makeUpdate([], { snapshot: false }), nb_cfg: '7' });
  await r.settled();
  t.is(r.database.writes.length, writes, 'nothing new');
  r.update({ ...makeUpdate([], { snapshot: false }), nb_cfg: '8' });
  await r.settled();
  t.is(mark('ovn-nb-cfg'), '8');
});
