import test from 'ava';
import fc from 'fast-check';

import type { Uuid } from '../../common/addresses.js';
import {
  activatedWith,
  activationStrategies,
  awaitingChassis,
  unknownStrategies,
} from '../../controller/activation.js';
import { decideClaim, type Holder, type Plug } from '../../controller/claims.js';
import { type PortBinding, southboundTables } from '../../controller/southbound.js';
import { eventually, Harness } from './support/harness.js';
import { MemoryDatabase } from './support/memory-database.js';
import type { PortIds } from './support/world.js';

const options = (of: Readonly<Record<string, string>>) => ({ options: new Map(Object.entries(of)) });

const waits: readonly (readonly [strategy: string, activated: string, string])[] = [
  ['', '', ''],
  ['rarp', '', 'b c'],
  ['rarp', 'b', 'c'],
  ['rarp', 'x,b,c', ''],
  ['garp,na', '', 'b c'],
  ['no such', '', ''],
  ['no such,rarp', 'c', 'b'],
];
for (const [strategy, activated, expected] of waits) {
  test(`activation-strategy=${strategy}, activated on ${activated}: ${expected} wait`, (t) => {
    const row = options({ 'activation-strategy': strategy, 'additional-chassis-activated': activated });
    t.is(awaitingChassis(row, ['b', 'c']).join(' '), expected);
  });
}

test('strategies, known and unknown', (t) => {
  const row = options({ 'activation-strategy': 'garp,,rarp,foo,rarp' });
  t.deepEqual(activationStrategies(row), ['garp', 'rarp']);
  t.deepEqual(unknownStrategies(row), ['foo']);
});

test('an activated chassis is added to those that are', (t) => {
  t.is(activatedWith(options({}), ['b']), 'b');
  t.is(activatedWith(options({ 'additional-chassis-activated': 'c,a' }), ['b', 'a']), 'c,a,b');
});

const uuid = (name: string) => name as Uuid;
const nodes = ['a', 'b', 'c'] as const;
const ours = new Map<Uuid, string>(nodes.map((node) => [uuid(node), node]));

const blank = (() => {
  const sb = new MemoryDatabase('OVN_Southbound', southboundTables);
  const row = { logical_port: 'lp1', datapath: uuid('dp'), tunnel_key: 1, up: false };
  const found = sb.tables.portBinding.get(sb.put('portBinding', row, uuid('pb')));
  if (found === undefined) throw new Error('no row');
  return found;
})();

function plug(node: string, order: number): Plug {
  return {
    node,
    hostname: `${node}.example`,
    chassis: uuid(node),
    interface: 'tap0',
    ifaceIdVer: '',
    encap: undefined,
    installedBinding: '',
    activatedBinding: '',
    order,
    spent: false,
  };
}

type Event = { readonly plug: string } | { readonly pull: string } | { readonly request: readonly string[] };

/** The binding after the events, each decision written before the next event. */
function play(events: readonly Event[], hasAdditional = true): PortBinding {
  const plugs = new Map<string, Plug>();
  let row: PortBinding = blank;
  events.forEach((event, index) => {
    if ('plug' in event) plugs.set(event.plug, plug(event.plug, index + 1));
    else if ('pull' in event) plugs.delete(event.pull);
    else row = { ...row, ...options({ 'requested-chassis': event.request.join(',') }) };
    const holder: Holder =
      row.chassis === undefined ? { kind: 'nobody' } : { kind: 'node', node: row.chassis, reported: true };
    const decision = decideClaim({ binding: row, plugs: [...plugs.values()], holder, ours, hasAdditional });
    const { main, additional, removeAdditional } = decision;
    const kept = row.additional_chassis.filter((each) => !removeAdditional.includes(each));
    const added = additional.flatMap(({ chassis }) => chassis ?? []);
    row = {
      ...row,
      chassis: main.kind === 'plug' ? main.plug.chassis : main.kind === 'release' ? undefined : row.chassis,
      additional_chassis: [...new Set([...kept, ...added])].sort(),
    };
  });
  return row;
}

const events = fc.array(
  fc.oneof(
    fc.record({ plug: fc.constantFrom(...nodes) }),
    fc.record({ pull: fc.constantFrom(...nodes) }),
    fc.record({
      request: fc.array(fc.constantFrom(...nodes, 'b.example', 'nowhere'), { minLength: 1, maxLength: 4 }),
    }),
  ),
  { maxLength: 20, size: 'max' },
);

test('where a port is depends on the request and on who has it plugged, and not on the way there', (t) => {
  fc.assert(
    fc.property(events, (all) => {
      const steps: readonly Event[] = [{ request: ['b', 'a'] }, ...all];
      const row = play(steps);
      const request = steps.flatMap((step) => ('request' in step ? [step.request] : [])).at(-1) ?? [];
      const plugged = nodes.filter((node) => {
        const last = steps.findLast(
          (step) => ('plug' in step && step.plug === node) || ('pull' in step && step.pull === node),
        );
        return last !== undefined && 'plug' in last;
      });
      const [first, ...rest] = request.map((name) => name.replace('.example', ''));
      const main = plugged.find((node) => node === first);
      t.is(row.chassis, main === undefined ? undefined : uuid(main));
      const additional = plugged.filter((node) => node !== first && rest.includes(node));
      t.deepEqual(row.additional_chassis, additional.map(uuid));
    }),
  );
});

const moves: readonly (readonly [string, readonly Event[], string | undefined, string])[] = [
  ['the list names main and additional', [{ request: ['a', 'b'] }], 'a', 'b'],
  ['the same chassis twice is main only', [{ request: ['a', 'a'] }], 'a', ''],
  ['by host name', [{ request: ['a.example', 'b.example'] }], 'a', 'b'],
  ['unknown names are left out', [{ request: ['a', 'nowhere', 'c'] }], 'a', 'c'],
  ['nobody is main while the first is unknown', [{ request: ['nowhere', 'b'] }], undefined, 'b'],
  ['the migration ends', [{ request: ['a', 'b'] }, { request: ['b'] }], 'b', ''],
  ['the migration is given up', [{ request: ['a', 'b'] }, { request: ['a'] }], 'a', ''],
  ['the two change places', [{ request: ['a', 'b'] }, { request: ['b', 'a'] }], 'b', 'a'],
  ['the source loses its tap', [{ request: ['a', 'b'] }, { pull: 'a' }], undefined, 'b'],
  ['the target loses its tap', [{ request: ['a', 'b'] }, { pull: 'b' }], 'a', ''],
];
for (const [what, then, chassis, additional] of moves) {
  test(`moves: ${what}`, (t) => {
    const row = play([...nodes.map((node) => ({ plug: node })), ...then]);
    t.is(row.chassis, chassis === undefined ? undefined : uuid(chassis));
    t.is(row.additional_chassis.join(' '), additional);
  });
}

test('a database that has no place for additional chassis gets none', (t) => {
  const row = play([{ plug: 'a' }, { plug: 'b' }, { request: ['a', 'b'] }], false);
  t.deepEqual([row.chassis, row.additional_chassis], [uuid('a'), []]);
});

async function migrating(
  t: { teardown(stop: () => void): void },
  more: Readonly<Record<string, string>> = {},
) {
  const harness = await Harness.start();
  t.teardown(() => harness.stop());
  const { world } = harness;
  const request = { 'requested-chassis': 'hv1,hv2', ...more };
  const lp1 = world.addPort(world.addSwitch('sw0'), 'lp1', { options: request });
  const one = harness.agent('hv1', { ip: '192.0.2.1' });
  const two = harness.agent('hv2', { ip: '192.0.2.2' });
  one.plug('lp1');
  two.plug('lp1', { encap_ip: '192.0.2.2' });
  await eventually('both', () => world.chassisOf(lp1) === 'hv1' && additionalOf(harness, lp1) === 'hv2');
  await eventually('up', () => world.binding(lp1)?.up === true);
  return { harness, world, lp1, one, two };
}

function additionalOf({ controller, world }: Harness, port: PortIds): string {
  const row = world.binding(port);
  return row === undefined ? '' : controller.model.additionalChassisNames(row).join(',');
}

test('the port is in the intent of both, and does not go down when the migration ends', async (t) => {
  const { harness, world, lp1, one, two } = await migrating(t);
  for (const agent of [one, two]) {
    await eventually('intent', () => agent.port('lp1')?.additional_chassis.length === 1);
    t.like(agent.port('lp1'), { chassis: 'hv1', additional_chassis: ['hv2'], awaiting_chassis: [] });
  }
  world.setNbCfg(5);
  await eventually('acknowledged', () => world.chassisPrivate('hv2')?.nb_cfg === 5);
  const states = new Set<string>();
  world.sb.onUpdate(() => states.add(`${world.chassisOf(lp1) ?? ''} ${String(world.binding(lp1)?.up)}`));
  world.sb.put('portBinding', { options: new Map([['requested-chassis', 'hv2']]) }, lp1.binding);
  await eventually('moved', () => world.chassisOf(lp1) === 'hv2' && additionalOf(harness, lp1) === '');
  world.setNbCfg(6);
  await eventually('acknowledged', () => world.chassisPrivate('hv1')?.nb_cfg === 6);
  t.deepEqual([...states], ['hv1 true', 'hv2 true']);
  t.deepEqual(world.binding(lp1)?.additional_encap, []);
  t.is(harness.controller.board.refusal('lp1', 'hv1')?.code, 'requested_elsewhere');
});

test('an additional chassis that has not installed the port holds up nb_cfg, and nothing else', async (t) => {
  const { harness, world, lp1, two } = await migrating(t);
  two.obedient = false;
  two.amend('lp1', { installed_binding: '' });
  world.setNbCfg(5);
  await eventually('the other', () => world.chassisPrivate('hv1')?.nb_cfg === 5);
  two.apply(String(two.generation));
  await eventually('applied', () => harness.controller.nodes.get('hv2')?.nbCfgApplied === 5);
  t.is(world.chassisPrivate('hv2')?.nb_cfg, 0);
  t.true(world.binding(lp1)?.up);
  two.amend('lp1', { install_error: 'no room' });
  await eventually('acknowledged', () => world.chassisPrivate('hv2')?.nb_cfg === 5);
});

test('a port that waits is activated by an additional chassis, and by nobody else', async (t) => {
  const { harness, world, lp1, one, two } = await migrating(t, { 'activation-strategy': 'rarp' });
  await eventually('waits', () => two.port('lp1')?.awaiting_chassis.includes('hv2') === true);
  t.deepEqual(two.port('lp1')?.activated_by, ['rarp']);
  const activated = () => world.binding(lp1)?.options.get('additional-chassis-activated');
  const [status] = harness.inspector.ports('', 'hv2').ports;
  t.like(status, { name: 'lp1', chassis: 'hv1', additional_chassis: ['hv2'], awaiting_chassis: ['hv2'] });
  one.amend('lp1', { activated_binding: lp1.binding });
  two.amend('lp1', { activated_binding: 'another' });
  world.setNbCfg(5);
  await eventually('seen', () => world.chassisPrivate('hv1')?.nb_cfg === 5);
  t.is(activated(), undefined);
  two.amend('lp1', { activated_binding: lp1.binding });
  await eventually('written', () => activated() === 'hv2');
  await eventually('told', () => two.port('lp1')?.awaiting_chassis.length === 0);
  t.is(world.binding(lp1)?.options.get('requested-chassis'), 'hv1,hv2');
});

test('an unknown strategy blocks nothing and is named', async (t) => {
  const { harness, world, lp1, two } = await migrating(t, { 'activation-strategy': 'smoke' });
  world.nb.put('logicalSwitchPort', { options: new Map([['activation-strategy', 'smoke']]) }, lp1.nb);
  await eventually('intent', () => two.port('lp1')?.additional_chassis.length === 1);
  t.deepEqual(two.port('lp1')?.awaiting_chassis, []);
  await eventually('named', () =>
    (harness.inspector.status().invalid ?? []).some(({ value }) => value === 'smoke'),
  );
});

test('a node that is away keeps what it has; one that is back releases what is not wanted any more', async (t) => {
  const { harness, world, lp1, two } = await migrating(t);
  two.close();
  await eventually('gone', () => harness.controller.nodes.get('hv2')?.connected === false);
  world.sb.put('portBinding', { options: new Map([['requested-chassis', 'hv1']]) }, lp1.binding);
  world.setNbCfg(5);
  await eventually('seen', () => world.chassisPrivate('hv1')?.nb_cfg === 5);
  t.is(additionalOf(harness, lp1), 'hv2');
  harness.agent('hv2', { ip: '192.0.2.2' }).plug('lp1');
  await eventually('released', () => additionalOf(harness, lp1) === '');
  t.is(world.chassisOf(lp1), 'hv1');
});

test('a nested port moves with its parent', async (t) => {
  const { harness, world, lp1, two } = await migrating(t);
  const c1 = world.addPort(world.addSwitch('sw1'), 'c1');
  world.sb.put('portBinding', { parent_port: 'lp1', tag: 42 }, c1.binding);
  await eventually('with it', () => world.chassisOf(c1) === 'hv1' && additionalOf(harness, c1) === 'hv2');
  await eventually('sent', () => two.port('c1')?.additional_chassis.includes('hv2') === true);
  world.sb.put('portBinding', { options: new Map([['requested-chassis', 'hv2']]) }, lp1.binding);
  await eventually('after it', () => world.chassisOf(c1) === 'hv2' && additionalOf(harness, c1) === '');
  t.true(world.chassisOf(c1) === world.chassisOf(lp1));
});
