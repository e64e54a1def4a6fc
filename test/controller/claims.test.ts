import test from 'ava';
import fc from 'fast-check';

import type { Uuid } from '../../common/addresses.js';
import {
  type ClaimInput,
  decideClaim,
  type Eligibility,
  eligibility,
  type Holder,
  type Plug,
} from '../../controller/claims.js';
import { type PortBinding, southboundTables } from '../../controller/southbound.js';
import { MemoryDatabase } from './support/memory-database.js';

const uuid = (name: string) => name as Uuid;

/** A free VIF; what the row does not say is as the database would have it. */
const blank = (() => {
  const sb = new MemoryDatabase('OVN_Southbound', southboundTables);
  const row = { logical_port: 'lp1', datapath: uuid('dp'), tunnel_key: 1, up: false };
  const found = sb.tables.portBinding.get(sb.put('portBinding', row, uuid('pb')));
  if (found === undefined) throw new Error('no row');
  return found;
})();

function binding(more: Partial<PortBinding> = {}): PortBinding {
  return { ...blank, ...more };
}

function plug(node: string, more: Partial<Plug> = {}): Plug {
  return {
    node,
    hostname: `${node}.example`,
    chassis: uuid(`c-${node}`),
    interface: 'tap0',
    ifaceIdVer: '',
    encap: undefined,
    installedBinding: '',
    activatedBinding: '',
    order: 1,
    spent: false,
    ...more,
  };
}

function decide(more: Partial<ClaimInput>) {
  const nobody = { plugs: [], holder: { kind: 'nobody' }, ours: new Map() } as const;
  return decideClaim({ binding: binding(), ...nobody, hasAdditional: true, ...more });
}

function winner(more: Partial<ClaimInput>): string | undefined {
  const { main } = decide(more);
  return main.kind === 'plug' ? main.plug.node : undefined;
}

const held = (node: string, reported = true): Holder => ({ kind: 'node', node, reported });
const boundTo = (node: string) => binding({ chassis: uuid(`c-${node}`) });

const eligibilities: readonly (readonly [string, Partial<PortBinding>, Eligibility])[] = [
  ['no request', {}, 'main'],
  ['an empty request', { options: new Map([['requested-chassis', '']]) }, 'main'],
  ['the name', { options: new Map([['requested-chassis', 'a']]) }, 'main'],
  ['the host name', { options: new Map([['requested-chassis', 'a.example']]) }, 'main'],
  ['another', { options: new Map([['requested-chassis', 'b']]) }, 'no'],
  ['second in the list', { options: new Map([['requested-chassis', 'b,a']]) }, 'additional'],
  ['first in the list', { options: new Map([['requested-chassis', 'a,b']]) }, 'main'],
  [
    "northd's column",
    { requested_chassis: uuid('c-a'), options: new Map([['requested-chassis', 'x']]) },
    'main',
  ],
  ["northd's other column", { requested_additional_chassis: [uuid('c-a')] }, 'additional'],
];
for (const [what, row, expected] of eligibilities) {
  test(`requested-chassis: ${what} → ${expected}`, (t) => {
    t.is(eligibility(binding(row), plug('a')), expected);
  });
}

test('who wins', (t) => {
  const a = plug('a', { order: 1 });
  const b = plug('b', { order: 2 });
  t.is(winner({ plugs: [a] }), 'a', 'a free port is taken');
  t.is(winner({ plugs: [a, b] }), 'b', 'the later of two');
  t.is(winner({ plugs: [b, a] }), 'b', 'in any order');
  t.is(winner({ plugs: [a, b], holder: held('a'), binding: boundTo('a') }), 'b', 'a later plug takes over');
  t.is(winner({ plugs: [a, b], holder: held('b'), binding: boundTo('b') }), 'b', 'an earlier one does not');
  const spent = plug('b', { order: 2, spent: true });
  t.is(winner({ plugs: [a, spent], holder: held('a'), binding: boundTo('a') }), 'a', 'nor one that has lost');
  t.is(winner({ plugs: [spent] }), 'b', 'unless the port is free');
  t.is(winner({ plugs: [b], holder: held('a', false), binding: boundTo('a') }), 'b', 'from a silent node');
  const undated = plug('b', { order: 0 });
  t.is(winner({ plugs: [undated], holder: held('a', false), binding: boundTo('a') }), undefined);
  const elsewhere: Holder = { kind: 'elsewhere', name: 'v', mayReturn: true };
  t.is(winner({ plugs: [undated], holder: elsewhere, binding: boundTo('v') }), undefined);
  t.is(winner({ plugs: [undated], holder: { ...elsewhere, mayReturn: false }, binding: boundTo('v') }), 'b');
  t.is(winner({ plugs: [b], holder: elsewhere, binding: boundTo('v') }), 'b');
  const requested = binding({ chassis: uuid('c-v'), options: new Map([['requested-chassis', 'b']]) });
  t.is(winner({ plugs: [undated], holder: elsewhere, binding: requested }), 'b', 'the operator has said who');
});

test('who is refused, and why', (t) => {
  const code = (more: Partial<PortBinding>, one = plug('a')) =>
    decide({ binding: binding(more), plugs: [one] }).refusals.get('a')?.code;
  t.is(code({ type: 'localnet' }), 'not_a_vif');
  t.is(code({ parent_port: 'lp0' }), 'not_a_vif');
  t.is(code({}, plug('a', { chassis: undefined })), 'no_chassis');
  t.is(code({ options: new Map([['requested-chassis', 'b']]) }), 'requested_elsewhere');
  t.is(code({ options: new Map([['iface-id-ver', '2']]) }), 'iface_id_ver');
  t.is(code({ options: new Map([['iface-id-ver', '2']]) }, plug('a', { ifaceIdVer: '2' })), undefined);
  const both = decide({ plugs: [plug('a', { order: 1 }), plug('b', { order: 2 })] });
  t.is(both.refusals.get('a')?.code, 'claimed_elsewhere');
  t.is(both.refusals.get('b'), undefined);
});

test('when a request is taken back the port stays where it was requested', (t) => {
  const requested = binding({ chassis: uuid('c-a'), options: new Map([['requested-chassis', 'a']]) });
  const plugs = [plug('a', { order: 1 }), plug('b', { order: 2 })];
  const { spent } = decide({ binding: requested, plugs, holder: held('a') });
  t.deepEqual(spent, ['a', 'b']);
  const after = plugs.map((each) => ({ ...each, spent: spent.includes(each.node) }));
  t.is(winner({ binding: boundTo('a'), plugs: after, holder: held('a') }), 'a');
});

test('a port without any plug is released by its own node only', (t) => {
  const ours = new Map([[uuid('c-a'), 'a']]);
  t.is(decide({ binding: boundTo('a'), holder: held('a'), ours }).main.kind, 'release');
  t.is(decide({ binding: boundTo('v'), holder: held('a'), ours }).main.kind, 'keep');
});

test('a port that can not be bound to an interface any more is released, with its interface still there', (t) => {
  const ours = new Map([[uuid('c-a'), 'a']]);
  for (const type of ['localnet', 'localport', 'patch', 'external', 'virtual']) {
    const changed = { plugs: [plug('a')], holder: held('a'), ours };
    t.is(decide({ ...changed, binding: { ...boundTo('a'), type } }).main.kind, 'release', type);
    t.is(decide({ ...changed, binding: { ...boundTo('v'), type } }).main.kind, 'keep', type);
  }
});

const nodes = ['a', 'b', 'c'];
const events = fc.array(
  fc.record({ node: fc.constantFrom(...nodes, 'vanilla'), what: fc.constantFrom('plug', 'pull', 'claim') }),
  { maxLength: 30, size: 'max' },
);

/** Plays the board: decisions are written at once, as the database would take them. */
function play(steps: readonly { readonly node: string; readonly what: string }[]) {
  const plugs = new Map<string, Plug>();
  let row = binding();
  let order = 0;
  let writes = 0;
  const ours = new Map(nodes.map((node) => [uuid(`c-${node}`), node]));
  const settle = (): void => {
    for (let round = 0; round < 10; round += 1) {
      const name = row.chassis?.slice(2);
      const holder: Holder =
        name === undefined
          ? { kind: 'nobody' }
          : nodes.includes(name)
            ? held(name)
            : { kind: 'elsewhere', name, mayReturn: false };
      const decision = decide({ binding: row, plugs: [...plugs.values()], holder, ours });
      for (const node of decision.spent) {
        const one = plugs.get(node);
        if (one !== undefined) plugs.set(node, { ...one, spent: true });
      }
      const { main } = decision;
      const chassis =
        main.kind === 'plug' ? main.plug.chassis : main.kind === 'release' ? undefined : row.chassis;
      if (chassis === row.chassis) return;
      row = { ...row, chassis };
      writes += 1;
    }
    throw new Error('it goes on for ever');
  };
  for (const { node, what } of steps) {
    if (node === 'vanilla') row = { ...row, chassis: what === 'pull' ? undefined : uuid('c-vanilla') };
    else if (what === 'pull') plugs.delete(node);
    else plugs.set(node, plug(node, { order: (order += 1) }));
    settle();
  }
  return { plugs, row, writes };
}

test('whatever happens, it comes to rest, each event costs two writes at most, and a plugged port is bound', (t) => {
  fc.assert(
    fc.property(events, (steps) => {
      const { plugs, row, writes } = play(steps);
      t.true(writes <= steps.length * 2);
      if (plugs.size > 0) t.not(row.chassis, undefined);
      if (row.chassis !== undefined && row.chassis !== 'c-vanilla') t.true(plugs.has(row.chassis.slice(2)));
    }),
  );
});

test('without a vanilla chassis, the latest plug has the port', (t) => {
  fc.assert(
    fc.property(events, (steps) => {
      const own = steps.filter(({ node }) => node !== 'vanilla');
      const { plugs, row } = play(own);
      const latest = [...plugs.values()].sort((x, y) => y.order - x.order)[0];
      if (latest !== undefined && own.at(-1)?.what !== 'pull') t.is(row.chassis, latest.chassis);
    }),
  );
});
