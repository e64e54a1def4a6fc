import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';

import { type Activation, judgeActivations } from '../../agent/activations.js';
import { keyText } from '../../agent/inspect/table-text.js';
import { findLocalPorts } from '../../agent/local-ports.js';
import { activation } from '../../agent/modules/activation.js';
import { noTunnels } from '../../agent/tunnels/tunnels.js';
import type { Ifindex } from '../../common/addresses.js';
import { decodePort, portFlags } from '../../generated/bpf/layouts.js';
import { ip } from '../support/packets.js';
import { FakeDataPlane } from './support/fake-data-plane.js';
import { chassisName, mac, makeIntent, makeUpdate, portResource, switchResource } from './support/intents.js';
import { Rig } from './support/rig.js';
import { vif } from './support/vif.js';

const sw0 = switchResource('sw0', 1);
const waiting = {
  chassis: 'other',
  additional_chassis: [chassisName],
  awaiting_chassis: [chassisName],
  activated_by: ['rarp'],
};
const activationOf = (portKey: number, ifindex: number): Activation => ({
  datapathKey: 1,
  portKey,
  ifindex: ifindex as Ifindex,
});

function judge(activations: readonly Activation[], ...resources: readonly ReturnType<typeof portResource>[]) {
  const found = findLocalPorts(makeIntent(sw0, ...resources), [vif('p1', 5), vif('p2', 6)], chassisName);
  const { ports, over } = judgeActivations(found, activations);
  const texts = ports.map(
    ({ port, role, awaits, activated }) =>
      `${port.name} ${role}${awaits.map((each) => ` ${each}`).join('')}${activated ? ' activated' : ''}`,
  );
  return { ports: texts, over };
}

test('what this node is to a port', (t) => {
  const roles = (parts: Parameters<typeof portResource>[2]) => judge([], portResource('p1', 1, parts)).ports;
  t.deepEqual(roles({}), ['p1 main']);
  t.deepEqual(roles({ chassis: 'other' }), []);
  t.deepEqual(roles({ chassis: 'other', additional_chassis: ['x', chassisName] }), ['p1 additional']);
  t.deepEqual(roles(waiting), ['p1 additional rarp']);
  t.deepEqual(roles({ ...waiting, awaiting_chassis: ['x'] }), ['p1 additional'], 'another waits');
  t.deepEqual(roles({ chassis: '', type: 'localport' }), ['p1 ']);
});

test('an activation counts for its port on its interface', (t) => {
  const port = portResource('p1', 1, waiting);
  t.deepEqual(judge([activationOf(1, 5)], port), { ports: ['p1 additional activated'], over: [] });
  for (const other of [activationOf(1, 9), activationOf(2, 5)]) {
    t.deepEqual(judge([other], port), { ports: ['p1 additional rarp'], over: [other] });
  }
});

test('it is over when the port waits no longer, and when it is gone', (t) => {
  const old = activationOf(1, 5);
  t.deepEqual(judge([old], portResource('p1', 1)), { ports: ['p1 main'], over: [old] });
  t.deepEqual(judge([old], portResource('p1', 1, { ...waiting, awaiting_chassis: [] })).over, [old]);
  t.deepEqual(judge([old]), { ports: [], over: [old] });
});

test('a nested port waits, and is activated, with its parent', (t) => {
  const additional = { chassis: 'other', additional_chassis: [chassisName] };
  const parent = portResource('p1', 1, waiting);
  const nested = portResource('c1', 2, { ...additional, parent: 'p1', tag: 7 });
  t.deepEqual(judge([], parent, nested).ports, ['p1 additional rarp', 'c1 additional rarp']);
  const activated = { ports: ['p1 additional activated', 'c1 additional activated'], over: [] };
  t.deepEqual(judge([activationOf(1, 5)], parent, nested), activated);
});

const activations = fc.array(
  fc.record({
    datapathKey: fc.constant(1),
    portKey: fc.integer({ min: 1, max: 3 }),
    ifindex: fc.constantFrom(5 as Ifindex, 6 as Ifindex, 7 as Ifindex),
  }),
  { maxLength: 4 },
);

test('forgetting what is over changes nothing, and nothing else is over then', (t) => {
  fc.assert(
    fc.property(activations, (all) => {
      const ports = [portResource('p1', 1, waiting), portResource('p2', 2)];
      const { ports: before, over } = judge(all, ...ports);
      const left = all.filter((each) => !over.includes(each));
      t.deepEqual(judge(left, ...ports), { ports: before, over: [] });
    }),
  );
});

function flagsOf(plane: FakeDataPlane): readonly number[] {
  return [...plane.table('ports').values()].map((value) => decodePort(value).flags);
}

async function rigWithWaiting(t: ExecutionContext, plane?: FakeDataPlane): Promise<Rig> {
  const r = new Rig(plane).start();
  t.teardown(() => r.close());
  r.devices.add('tap1', 5);
  r.database.plug('tap1', 'lp1');
  r.update(makeUpdate([sw0, portResource('lp1', 1, { ...waiting, activated_by: ['rarp', 'na', 'new'] })]));
  await r.settled();
  return r;
}

test('a port that waits is in place but blocked; activated, it is reported until the controller knows', async (t) => {
  const r = await rigWithWaiting(t);
  const { PORT_AWAITS_NA, PORT_AWAITS_RARP, PORT_ENABLED, PORT_ANY_ND_TARGET: _, ...rest } = portFlags;
  const isBlocked = (flags = 0): boolean => (flags & (PORT_AWAITS_RARP | PORT_AWAITS_NA)) !== 0;
  const [blocked = 0] = flagsOf(r.plane);
  t.is(
    blocked & (PORT_AWAITS_RARP | PORT_AWAITS_NA | PORT_ENABLED),
    PORT_AWAITS_RARP | PORT_AWAITS_NA | PORT_ENABLED,
  );
  t.is(blocked & rest.PORT_AWAITS_GARP, 0);
  t.is(r.reported('tap1')?.role, 'waiting');
  t.is(r.reported('tap1')?.installed_binding, 'binding-lp1');
  t.is(r.installed('tap1'), 'true');

  r.plane.activate(activationOf(1, 5));
  await r.settled();
  t.false(isBlocked(flagsOf(r.plane)[0]));
  t.is(r.reported('tap1')?.role, 'additional');
  t.is(r.reported('tap1')?.activated_binding, 'binding-lp1');
  t.is(r.plane.activations.length, 1, 'an agent that starts now must know');

  r.update(makeUpdate([sw0, portResource('lp1', 1, { ...waiting, awaiting_chassis: [] })]));
  await r.settled();
  t.is(r.reported('tap1')?.activated_binding, '');
  t.deepEqual(r.plane.activations, []);
  t.false(isBlocked(flagsOf(r.plane)[0]));
});

test('an agent that starts after the activation blocks nothing', async (t) => {
  const plane = new FakeDataPlane();
  plane.activate(activationOf(1, 5));
  const r = await rigWithWaiting(t, plane);
  t.is(r.reported('tap1')?.activated_binding, 'binding-lp1');
  t.is((flagsOf(plane)[0] ?? 0) & portFlags.PORT_AWAITS_RARP, 0);
});

test('the main chassis does not wait', async (t) => {
  const r = await rigWithWaiting(t);
  r.update(makeUpdate([sw0, portResource('lp1', 1)]));
  await r.settled();
  t.is((flagsOf(r.plane)[0] ?? 0) & portFlags.PORT_AWAITS_RARP, 0);
  t.is(r.reported('tap1')?.role, 'main');
});

test('its own addresses activate it: IPv4 by ARP, IPv6 and the link-local address by advertisement', (t) => {
  const own = mac('02:00:00:00:00:01');
  const neighbour = (address: string) => ({ mac: own, address: Buffer.from(ip(address)) });
  const entries = (strategies: readonly string[], ...addresses: readonly string[]): readonly string[] => {
    const parts = { ...waiting, activated_by: [...strategies], activating: addresses.map(neighbour) };
    const intent = makeIntent(sw0, portResource('p1', 1, parts));
    const plugged = findLocalPorts(intent, [vif('p1', 5)], chassisName).map((local) => ({
      ...local,
      slot: 3,
    }));
    const input = { switches: [], ports: [], plugged, tunnelPlan: noTunnels };
    return activation
      .compute(input)
      .entries.map(({ key }) => keyText('allowed_addresses', Buffer.from(key, 'hex')));
  };
  const texts = (family: number, ...addresses: readonly string[]): readonly string[] =>
    addresses.map((address) => JSON.stringify({ slot: 3, mac: '02:00:00:00:00:01', family, address }));
  const all = ['10.0.0.1', '10.0.0.2', 'fd00::1'];
  t.deepEqual(entries(['rarp'], ...all), []);
  t.deepEqual(entries(['garp'], ...all), texts(0x84, '10.0.0.1', '10.0.0.2'));
  t.deepEqual(entries(['na'], ...all), texts(0x86, 'fd00::1', 'fe80::ff:fe00:1'));
  t.is(entries(['garp', 'na'], ...all).length, 4);
  t.deepEqual(entries(['na'], '10.0.0.1'), [], 'no IPv6 at all');
});
