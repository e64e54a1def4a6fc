import test from 'ava';

import { findLocalPorts, nestedPortProblems } from '../../agent/local-ports.js';
import type { VifInterface } from '../../agent/vswitch/interfaces.js';
import { chassisName, makeIntent, portResource, switchResource } from './support/intents.js';
import { vif } from './support/vif.js';

const switches = [switchResource('sw0', 1), switchResource('sw1', 2)];
const parent = portResource('p1', 1);
const nested = (name: string, portKey: number, tag: number, parts = {}) =>
  portResource(name, portKey, { switch: 'sw1', parent: 'p1', tag, ...parts });

function found(resources: readonly ReturnType<typeof portResource>[], ...vifs: readonly VifInterface[]) {
  return findLocalPorts(makeIntent(...switches, ...resources), vifs, chassisName);
}

function names(...args: Parameters<typeof found>): readonly string[] {
  return found(...args).map(({ port, device, vlanId }) => `${port.name} ${device.ifindex}/${vlanId}`);
}

test('a nested port is found on its parent’s interface', (t) => {
  t.deepEqual(names([parent, nested('c2', 2, 43), nested('c1', 1, 42)], vif('p1', 5)), [
    'p1 5/0',
    'c1 5/42',
    'c2 5/43',
  ]);
});

test('not without its parent, nor where it is not bound', (t) => {
  const elsewhere = { chassis: 'hv2' };
  t.deepEqual(names([parent, nested('c1', 1, 42)]), []);
  t.deepEqual(names([parent, nested('c1', 1, 42, elsewhere)], vif('p1', 5)), ['p1 5/0']);
  t.deepEqual(names([portResource('p1', 1, elsewhere), nested('c1', 1, 42)], vif('p1', 5)), []);
  t.deepEqual(names([nested('c1', 1, 42)], vif('c1', 5)), [], 'an interface of its own is none');
});

test('a localport is here whatever chassis it says', (t) => {
  const localport = portResource('meta', 3, { type: 'localport', chassis: '' });
  t.deepEqual(names([localport], vif('meta', 6)), ['meta 6/0']);
  t.deepEqual(names([localport]), []);
});

test('ports that can not be told apart by their tag', (t) => {
  const ports = found([parent, nested('c1', 1, 42), nested('c2', 2, 42), nested('c3', 3, 0)], vif('p1', 5));
  t.deepEqual(
    [...nestedPortProblems(ports)],
    [
      ['c2', "its tag 42 is c1's behind p1"],
      ['c3', 'it has no tag by which to find it behind p1'],
    ],
  );
});

test('the switch says whether tags pass', (t) => {
  const intent = makeIntent(switchResource('sw0', 1), parent);
  t.deepEqual(
    findLocalPorts(intent, [vif('p1', 5)], chassisName).map(({ vlanPassthru }) => vlanPassthru),
    [false],
  );
});
