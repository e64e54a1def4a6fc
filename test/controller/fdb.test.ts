import test from 'ava';
import fc from 'fast-check';

import { macBytes, parseMac, type Uuid } from '../../common/addresses.js';
import { v1 } from '../../common/proto.js';
import {
  checkReport,
  FdbWishes,
  maximumRowsPerDatapath,
  maximumWishesPerNode,
  planWish,
} from '../../controller/fdb-learning.js';
import { FdbStore } from '../../controller/fdb-store.js';
import { learnsMacs } from '../../controller/learns-macs.js';
import { Model, nothingDirty } from '../../controller/model.js';
import type { LearnedMacInput } from '../../generated/proto/iovn/v1/LearnedMac.js';
import { eventually, Harness } from './support/harness.js';
import { type PortIds, type PortWish, type SwitchIds, World } from './support/world.js';

const learnt = '02:00:00:00:00:aa';

function bytes(text: string): Buffer {
  const mac = parseMac(text);
  if (mac === undefined) throw new Error(text);
  return Buffer.from(macBytes(mac));
}

function keysOf(world: World, sw: SwitchIds, port: PortIds): { datapath_key: number; port_key: number } {
  return {
    datapath_key: world.sb.tables.datapathBinding.get(sw.datapath)?.tunnel_key ?? 0,
    port_key: world.binding(port)?.tunnel_key ?? 0,
  };
}

function rows(world: World) {
  return [...world.sb.tables.fdb];
}

/** Two nodes with a port each on one switch; both ports learn. */
async function started(t: { teardown(stop: () => void): void }, wish: PortWish = { addresses: ['unknown'] }) {
  const harness = await Harness.start();
  t.teardown(() => harness.stop());
  const { world } = harness;
  const sw0 = world.addSwitch('sw0');
  const lp1 = world.addPort(sw0, 'lp1', wish);
  const lp2 = world.addPort(sw0, 'lp2', { addresses: ['unknown'] });
  const agents = [harness.agent('hv1'), harness.agent('hv2', { ip: '192.0.2.2' })] as const;
  agents[0].plug('lp1');
  agents[1].plug('lp2');
  await eventually('both ports', () => world.chassisOf(lp1) === 'hv1' && world.chassisOf(lp2) === 'hv2');
  const report = (agent: 0 | 1, ...macs: LearnedMacInput[]) => agents[agent].send({ learned: { macs } });
  return { harness, world, sw0, lp1, lp2, agents, report };
}

async function metric({ metrics }: Harness, line: RegExp): Promise<number> {
  return Number(line.exec(await metrics.registry.metrics())?.[1] ?? 0);
}

test('what a node learns becomes a row, and goes to every node of the switch', async (t) => {
  const { harness, world, sw0, lp1, agents, report } = await started(t);
  const keys = keysOf(world, sw0, lp1);
  report(0, { ...keys, mac: bytes(learnt), age_seconds: 2 });
  await eventually('the row', () => rows(world).length === 1);
  const [row] = rows(world);
  t.like(row, { mac: learnt, dp_key: keys.datapath_key, port_key: keys.port_key });
  const age = Date.now() - (row?.timestamp ?? 0);
  t.true(age >= 2000 && age < 12_000, `age ${age}`);
  const name = `FdbEntry/${sw0.datapath}/${learnt}`;
  for (const agent of agents) await eventually('the resource', () => agent.held.has(name));
  const body = v1.FdbEntry.deserialize(agents[1].held.get(name) ?? Buffer.alloc(0));
  t.deepEqual([body.switch, body.port_key], [sw0.datapath, keys.port_key]);
  t.is(await metric(harness, /^iovn_controller_fdb_writes_total\{kind="learned"\} (\d+)$/m), 1);
  await eventually('nothing waits', () => harness.controller.fdbWaiting === 0);
  t.deepEqual(
    harness.inspector.fdb('sw0').entries?.map(({ mac, port, node }) => ({ mac, port, node })),
    [{ mac: learnt, port: 'lp1', node: 'hv1' }],
  );
});

test('a move changes the row; saying the same again writes nothing', async (t) => {
  const { harness, world, sw0, lp1, lp2, report } = await started(t);
  report(0, { ...keysOf(world, sw0, lp1), mac: bytes(learnt) });
  await eventually('the row', () => rows(world).length === 1);
  const uuid = rows(world)[0]?._uuid;
  harness.skewMs = 1000;
  report(1, { ...keysOf(world, sw0, lp2), mac: bytes(learnt) });
  await eventually('the move', () => rows(world)[0]?.port_key === world.binding(lp2)?.tunnel_key);
  t.is(rows(world)[0]?._uuid, uuid);
  await eventually('nothing waits', () => harness.controller.fdbWaiting === 0);
  const { length } = world.sb.committed;
  harness.skewMs = 1_000_000;
  report(1, { ...keysOf(world, sw0, lp2), mac: bytes(learnt) });
  report(0, { ...keysOf(world, sw0, lp1), mac: bytes(learnt), age_seconds: 5000 });
  report(1, { ...keysOf(world, sw0, lp2), mac: bytes('02:00:00:00:00:ab') });
  await eventually('the one after them', () => rows(world).length === 2);
  t.is(world.sb.committed.length, length + 1);
});

test('rows of others reach the nodes, a changed time does not, and a removal does', async (t) => {
  const { world, sw0, lp2, agents } = await started(t);
  const { datapath_key, port_key } = keysOf(world, sw0, lp2);
  const uuid = world.sb.put('fdb', {
    mac: learnt.toUpperCase(),
    dp_key: datapath_key,
    port_key,
    timestamp: 1,
  });
  const name = `FdbEntry/${sw0.datapath}/${learnt}`;
  await eventually('the resource', () => agents[0].held.has(name));
  const { length } = agents[0].updates;
  world.sb.put('fdb', { timestamp: 2 }, uuid);
  world.setNbCfg(9);
  await eventually('the next update', () => agents[0].updates.at(-1)?.nb_cfg === '9');
  t.deepEqual(
    agents[0].updates.slice(length).flatMap(({ changed }) => changed),
    [],
  );
  world.sb.remove('fdb', uuid);
  await eventually('the removal', () => !agents[0].held.has(name));
});

test('a MAC in use keeps its row from ageing, at most every half threshold', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  const lp1 = world.addPort(sw0, 'lp1', { addresses: ['unknown'] });
  const { datapath_key: datapathKey, port_key: portKey } = keysOf(world, sw0, lp1);
  const mac = parseMac(learnt);
  if (mac === undefined) throw new Error(learnt);
  world.sb.put('fdb', { mac, dp_key: datapathKey, port_key: portKey, timestamp: 100_000 });
  const plan = (seenMs: number, hasTimestamp = true) => {
    const model = new Model(world.nb.tables, world.sb.tables);
    return planWish(model, { datapathKey, mac, portKey, node: 'hv1', seenMs }, hasTimestamp)?.kind;
  };
  t.is(plan(10_000_000), undefined, 'nothing ages here');
  const ids = world.sb.tables.datapathBinding.get(sw0.datapath)?.external_ids ?? new Map<string, string>();
  const external_ids = new Map([...ids, ['fdb_age_threshold', '60']]);
  world.sb.put('datapathBinding', { external_ids }, sw0.datapath);
  t.is(plan(129_000), undefined);
  t.is(plan(130_000), 'refreshed');
  t.is(plan(130_000, false), undefined, 'an older schema has no time');
});

test('a node may only say what its own learning ports see', async (t) => {
  const { harness, world, sw0, lp1, lp2, agents, report } = await started(t);
  const quiet = world.addPort(sw0, 'quiet', { addresses: [learnt] });
  agents[0].plug('quiet');
  await eventually('the port', () => world.chassisOf(quiet) === 'hv1');
  const own = keysOf(world, sw0, lp1);
  const mac = bytes(learnt);
  report(
    0,
    { ...keysOf(world, sw0, lp2), mac },
    { ...keysOf(world, sw0, quiet), mac },
    { ...own, port_key: 9999, mac },
    { ...own, datapath_key: 9999, mac },
    { ...own, mac: Buffer.from([1, 2, 3]) },
    { ...own, mac: bytes('03:00:00:00:00:01') },
    { ...own, mac: bytes('02:00:00:00:00:01') },
  );
  await eventually('the one that it may', () => rows(world).length === 1);
  t.is(rows(world)[0]?.mac, '02:00:00:00:00:01');
  const text = await harness.metrics.registry.metrics();
  for (const [code, count] of [
    ['not_bound_here', 1],
    ['does_not_learn', 1],
    ['unknown_port', 1],
    ['unknown_datapath', 1],
    ['invalid_mac', 2],
  ] as const) {
    t.regex(text, new RegExp(`iovn_controller_fdb_refused_total\\{code="${code}"\\} ${count}$`, 'm'));
  }
});

test('a node that is flooded with MACs is held back, and nobody else is', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  const model = new Model(world.nb.tables, world.sb.tables);
  const datapathKey = keysOf(world, sw0, { name: '', nb: '' as Uuid, binding: '' as Uuid }).datapath_key;
  const wishes = new FdbWishes();
  const put = (node: string, n: number): string => {
    const text = `02:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
    const mac = parseMac(text);
    if (mac === undefined) throw new Error(text);
    const result = wishes.put(model, { datapathKey, mac, portKey: 1, node, seenMs: 0 });
    return result.ok ? result.name : result.refusal;
  };
  for (let n = 0; n < maximumWishesPerNode; n++) put('hv1', n);
  t.is(put('hv1', maximumWishesPerNode), 'too_many_waiting');
  t.is(put('hv1', 5), `${datapathKey}/02:00:00:00:00:05`, 'the same again takes no more room');
  t.is(put('hv2', maximumWishesPerNode), `${datapathKey}/02:00:00:00:10:00`);
  t.is(wishes.size, maximumWishesPerNode + 1);
  wishes.take(`${datapathKey}/02:00:00:00:00:05`);
  wishes.written(`${datapathKey}/02:00:00:00:00:05`);
  t.not(put('hv1', maximumWishesPerNode + 1), 'too_many_waiting');
});

test('a wish that is replaced while it is written waits on', (t) => {
  const world = new World();
  const model = new Model(world.nb.tables, world.sb.tables);
  const wishes = new FdbWishes();
  const mac = parseMac(learnt);
  if (mac === undefined) throw new Error(learnt);
  const wish = { datapathKey: 1, mac, portKey: 1, node: 'hv1', seenMs: 0 };
  wishes.put(model, wish);
  wishes.take(`1/${learnt}`);
  wishes.put(model, { ...wish, portKey: 2 });
  wishes.written(`1/${learnt}`);
  t.is(wishes.take(`1/${learnt}`)?.portKey, 2);
  wishes.written(`1/${learnt}`);
  t.is(wishes.size, 0);
});

test('a full datapath takes no new rows', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  const lp1 = world.addPort(sw0, 'lp1', { addresses: ['unknown'] });
  const model = new Model(world.nb.tables, world.sb.tables);
  const { datapath_key: datapathKey, port_key: portKey } = keysOf(world, sw0, lp1);
  const full = Object.create(model, {
    fdbCount: { value: () => maximumRowsPerDatapath },
    fdb: { value: () => undefined },
  }) as Model;
  const mac = parseMac(learnt);
  if (mac === undefined) throw new Error(learnt);
  const result = new FdbWishes().put(full, { datapathKey, mac, portKey, node: 'hv1', seenMs: 0 });
  t.deepEqual(result, { ok: false, refusal: 'datapath_full' });
  t.deepEqual(checkReport(model, 'nobody', [], 0), { wishes: [], refused: [] });
});

test('which ports learn', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  const learns = (wish: PortWish): boolean => {
    const { nb } = world.addPort(sw0, `lp${Math.random()}`, wish);
    const row = world.nb.tables.logicalSwitchPort.get(nb);
    return row !== undefined && learnsMacs(row);
  };
  t.true(learns({ addresses: ['unknown'] }));
  t.true(learns({ addresses: ['00:00:00:00:00:01 10.0.0.1', 'unknown'] }));
  t.true(learns({ addresses: ['unknown'], portSecurity: ['nonsense'] }), 'OVN sees no port security there');
  t.false(learns({ addresses: ['unknown'], portSecurity: ['00:00:00:00:00:01'] }));
  t.false(learns({ addresses: ['00:00:00:00:00:01'] }));
  t.false(learns({ addresses: ['unknown'], type: 'localnet' }));
  const options = { localnet_learn_fdb: 'true' };
  t.true(learns({ addresses: ['unknown'], type: 'localnet', options }));
  t.false(learns({ addresses: [], type: 'localnet', options }));
  t.false(learns({ addresses: ['unknown'], type: 'router', options }));
});

const fdbSteps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('put' as const),
      row: fc.nat(4),
      mac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02', 'nonsense'),
      datapath: fc.nat(2),
      port: fc.nat(2),
    }),
    fc.record({ kind: fc.constant('remove' as const), row: fc.nat(4) }),
    fc.record({ kind: fc.constant('datapath' as const), at: fc.nat(1), key: fc.nat(2) }),
    fc.record({ kind: fc.constant('noDatapath' as const), at: fc.nat(1) }),
  ),
  { maxLength: 40 },
);

test('after any sequence of changes the resources are those of a new store', (t) => {
  fc.assert(
    fc.property(fdbSteps, (steps) => {
      const world = new World();
      const { sb } = world;
      const datapaths = ['sw0', 'sw1'].map((name) => world.addSwitch(name).datapath);
      const uuids = new Map<number, Uuid>();
      const model = new Model(world.nb.tables, sb.tables);
      const store = new FdbStore();
      let dirty = nothingDirty();
      for (const { tunnel_key: key } of sb.tables.datapathBinding) dirty.fdb.add(key);
      sb.onUpdate((update) => {
        model.applySouthbound(update, dirty);
        store.recompute(model, dirty.fdb);
        dirty = nothingDirty();
      });
      for (const step of steps) {
        const row = 'row' in step ? uuids.get(step.row) : undefined;
        const datapath = 'at' in step ? datapaths[step.at] : undefined;
        if (step.kind === 'put') {
          const taken = [...sb.tables.fdb].some(
            (each) => each._uuid !== row && each.mac === step.mac && each.dp_key === step.datapath,
          );
          if (taken) continue;
          const values = { mac: step.mac, dp_key: step.datapath, port_key: step.port };
          uuids.set(step.row, sb.put('fdb', values, row));
        } else if (step.kind === 'remove' && row !== undefined) {
          sb.remove('fdb', row);
          uuids.delete(step.row);
        } else if (step.kind === 'datapath' && datapath !== undefined) {
          const isTaken = [...sb.tables.datapathBinding].some((each) => each.tunnel_key === step.key);
          if (!isTaken) sb.put('datapathBinding', { tunnel_key: step.key }, datapath);
        } else if (step.kind === 'noDatapath' && datapath !== undefined) {
          if (sb.tables.datapathBinding.has(datapath)) sb.remove('datapathBinding', datapath);
        }
      }
      const fresh = new FdbStore();
      fresh.recompute(new Model(world.nb.tables, sb.tables), [0, 1, 2, 3, 4]);
      const contents = (of: FdbStore) =>
        datapaths.map((datapath) =>
          [...of.resources(datapath).values()]
            .map(({ key, body }) => `${key} ${Buffer.from(body).toString('hex')}`)
            .sort(),
        );
      t.deepEqual(contents(store), contents(fresh));
      t.is(store.invalid().length, fresh.invalid().length);
    }),
  );
});
