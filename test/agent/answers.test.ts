import test from 'ava';
import fc from 'fast-check';

import { followedOvsVersion, vswitchdAnswers } from '../../agent/vswitch/answers.js';
import { installedMarks } from '../../agent/vswitch/installed-marks.js';
import { readVifInterfaces } from '../../agent/vswitch/interfaces.js';
import { attachEndName } from '../../agent/vswitch/internal-devices.js';
import { assignOfports } from '../../agent/vswitch/ofports.js';
import { readTopology } from '../../agent/vswitch/topology.js';
import { FakeDatabase } from './support/fake-database.js';
import { FakeDevices, makeLink } from './support/fake-devices.js';

function database(): FakeDatabase {
  const made = new FakeDatabase();
  made.init({ 'system-id': 'hv1' });
  made.addBridge('br-int');
  return made;
}

/** Writes the answers, and checks that then there is none left. */
async function answer(
  t: { deepEqual(a: unknown, b: unknown): unknown },
  rows: FakeDatabase,
  devices: FakeDevices,
) {
  const compute = () => {
    const topology = readTopology(rows.tables);
    const vifs = readVifInterfaces(topology, 'br-int', devices.links);
    const errors = vifs.flatMap(({ name, error }) => (error === undefined ? [] : [[name, error] as const]));
    return vswitchdAnswers(topology, devices.links, new Map(errors));
  };
  await rows.transact(compute());
  t.deepEqual(compute(), []);
}

test('a device and a missing one, as ovs-vswitchd answers them', async (t) => {
  const rows = database();
  const devices = new FakeDevices();
  devices.add('tap1', 5, { mtu: 1442, adminUp: true, operUp: false });
  rows.plug('tap1', 'lp1');
  rows.plug('tap3', 'lp3');
  await answer(t, rows, devices);
  const { ofport, ifindex, mac_in_use, admin_state, link_state, mtu, error } = rows.interface('tap1');
  t.deepEqual(
    { ofport, ifindex, mac_in_use, admin_state, link_state, mtu, error },
    {
      ofport: 1,
      ifindex: 5,
      mac_in_use: makeLink('tap1', 5).mac,
      admin_state: 'up',
      link_state: 'down',
      mtu: 1442,
      error: undefined,
    },
  );
  t.is(rows.interface('tap3').error, 'could not open network device tap3 (No such device)');
  t.is(rows.interface('tap3').ofport, -1);
});

test('the root row: what is empty is filled in, what is there stays, cur_cfg follows next_cfg', async (t) => {
  const rows = database();
  rows.setRoot({ next_cfg: 7, ovs_version: '3.1.0' });
  await answer(t, rows, new FakeDevices());
  t.is(rows.root.cur_cfg, 7);
  t.is(rows.root.ovs_version, '3.1.0');
  t.deepEqual(rows.root.iface_types, ['internal', 'system']);
  t.deepEqual(rows.root.datapath_types, ['system']);
  const empty = database();
  await answer(t, empty, new FakeDevices());
  t.is(empty.root.ovs_version, followedOvsVersion);
});

test('what an ovs-vswitchd before us could do is replaced by what is done now', async (t) => {
  const rows = database();
  rows.setRoot({
    next_cfg: 7,
    cur_cfg: 7,
    ovs_version: '3.1.0',
    datapath_types: ['netdev', 'system'],
    iface_types: ['dpdkvhostuser', 'geneve', 'internal', 'system'],
  });
  await answer(t, rows, new FakeDevices());
  t.deepEqual(rows.root.iface_types, ['internal', 'system']);
  t.deepEqual(rows.root.datapath_types, ['system']);
  rows.setRoot({ iface_types: ['system', 'internal'] });
  await answer(t, rows, new FakeDevices());
  t.deepEqual(rows.root.iface_types, ['system', 'internal'], 'the order says nothing');
});

test('cur_cfg is written last', (t) => {
  const rows = database();
  rows.plug('tap1', 'lp1');
  const operations = vswitchdAnswers(readTopology(rows.tables), new Map(), new Map());
  t.is(operations.at(-1)?.op, 'update');
  t.true(JSON.stringify(operations.at(-1)).includes('cur_cfg'));
  t.true(operations.length > 1);
});

test('the bridge’s own interface needs no device', async (t) => {
  const rows = database();
  rows.addBridge('br-ex', { hwaddr: '02:00:00:00:00:aa' });
  const devices = new FakeDevices();
  devices.add('br-int', 3);
  await answer(t, rows, devices);
  t.is(rows.interface('br-int').ofport, 65534);
  t.is(rows.interface('br-int').ifindex, 3);
  t.is(rows.interface('br-ex').ofport, 65534);
  t.is(rows.interface('br-ex').error, undefined);
  t.is(rows.interface('br-ex').mac_in_use, '02:00:00:00:00:aa');
});

test('interfaces of other bridges are answered, too; numbers are per bridge', async (t) => {
  const rows = database();
  rows.addBridge('br-ex');
  const devices = new FakeDevices();
  devices.add('tap1', 5);
  devices.add('eth0', 2);
  rows.plug('tap1', 'lp1');
  rows.addPort('br-ex', 'eth0');
  await answer(t, rows, devices);
  t.is(rows.interface('tap1').ofport, 1);
  t.is(rows.interface('eth0').ofport, 1);
});

test('a type that is not served is an error, not silence', async (t) => {
  const rows = database();
  rows.addPort('br-int', 'vx0', { type: 'vxlan' });
  await answer(t, rows, new FakeDevices());
  t.is(
    rows.interface('vx0').error,
    'could not open network device vx0 (interface type vxlan is not supported)',
  );
  t.is(rows.interface('vx0').ofport, -1);
});

test('an interface of type internal whose name is somebody else’s device', async (t) => {
  const rows = database();
  const devices = new FakeDevices();
  devices.add('eth0', 2);
  rows.addPort('br-int', 'eth0', { type: 'internal' });
  await answer(t, rows, devices);
  t.is(rows.interface('eth0').error, 'could not open network device eth0 (File exists)');
});

test('an interface of type internal is its user’s end', async (t) => {
  const rows = database();
  const devices = new FakeDevices();
  devices.add('int0', 20, { kind: 'veth', operUp: false });
  devices.add(attachEndName('int0'), 21, { kind: 'veth' });
  rows.addPort('br-int', 'int0', { type: 'internal' });
  await answer(t, rows, devices);
  t.is(rows.interface('int0').ifindex, 20);
  t.is(rows.interface('int0').link_state, 'down');
  devices.remove('int0');
  await answer(t, rows, devices);
  t.is(rows.interface('int0').ifindex, 20);
  t.is(rows.interface('int0').error, undefined);
});

test('an attach end has a name that the kernel takes and that depends on the interface only', (t) => {
  t.true(attachEndName('a-very-long-interface-name').length <= 15);
  t.is(attachEndName('x'), attachEndName('x'));
  t.not(attachEndName('x'), attachEndName('y'));
});

test('ofport requests come before what is there, and what is there before what is free', (t) => {
  const rows = database();
  rows.addPort('br-int', 'a', { ofport: 5 });
  rows.addPort('br-int', 'b', { ofport_request: 5 });
  rows.addPort('br-int', 'c', { ofport_request: 5 });
  rows.addPort('br-int', 'd', { ofport: 1 });
  rows.addPort('br-int', 'e', { ofport: 70_000 });
  rows.addPort('br-int', 'f', { ofport: -1 });
  rows.addPort('br-int', 'g', { ofport: 9 });
  const [bridge] = readTopology(rows.tables).bridges;
  t.truthy(bridge);
  if (!bridge) return;
  const ofports = assignOfports(bridge, ({ name }) => name !== 'g');
  t.deepEqual([...ofports].sort(), [
    ['a', 2],
    ['b', 5],
    ['br-int', 65534],
    ['c', 3],
    ['d', 1],
    ['e', 4],
    ['f', 6],
    ['g', -1],
  ]);
});

test('property: ofports are unique and stay', (t) => {
  const ports = fc.uniqueArray(
    fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      ofport: fc.option(fc.integer({ min: -1, max: 5 }), { nil: undefined }),
      ofport_request: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
    }),
    { selector: ({ name }) => name },
  );
  fc.assert(
    fc.property(ports, (list) => {
      const rows = database();
      for (const { name, ...values } of list) rows.addPort('br-int', name, values);
      const assign = () => {
        const [bridge] = readTopology(rows.tables).bridges;
        return bridge ? assignOfports(bridge, () => true) : new Map<string, number>();
      };
      const first = assign();
      t.is(new Set(first.values()).size, list.length + 1);
      for (const [name, ofport] of first) rows.setInterface(name, { ofport });
      t.deepEqual([...assign()].sort(), [...first].sort());
    }),
  );
});

test('of several interfaces with one iface-id the first usable by name has it', (t) => {
  const rows = database();
  const devices = new FakeDevices();
  devices.add('tap2', 2);
  devices.add('tap3', 3);
  for (const name of ['tap3', 'tap2', 'tap1']) rows.plug(name, 'lp1');
  rows.plug('tap9', '');
  rows.addPort('br-int', 'other');
  const vifs = readVifInterfaces(readTopology(rows.tables), 'br-int', devices.links);
  t.deepEqual(
    vifs.map(({ name, error }) => [name, error]),
    [
      ['tap1', 'could not open network device tap1 (No such device)'],
      ['tap2', undefined],
      ['tap3', 'iface-id lp1 is already used by tap2'],
    ],
  );
  t.deepEqual(readVifInterfaces(readTopology(rows.tables), 'br-other', devices.links), []);
});

test('ovn-installed is set, renewed and removed key by key', async (t) => {
  const rows = database();
  rows.plug('tap1', 'lp1');
  rows.plug('tap2', 'lp2');
  rows.setInterface('tap2', {
    external_ids: new Map([
      ['iface-id', 'lp2'],
      ['ovn-installed', 'true'],
      ['ovn-installed-ts', '1'],
      ['vm-id', 'x'],
    ]),
  });
  await rows.transact(installedMarks(rows.tables.interface, new Set(['tap1']), 1234));
  t.deepEqual(
    [...rows.interface('tap1').external_ids],
    [
      ['iface-id', 'lp1'],
      ['ovn-installed', 'true'],
      ['ovn-installed-ts', '1234'],
    ],
  );
  t.deepEqual(
    [...rows.interface('tap2').external_ids],
    [
      ['iface-id', 'lp2'],
      ['vm-id', 'x'],
    ],
  );
  t.deepEqual(installedMarks(rows.tables.interface, new Set(['tap1']), 9999), []);
});
