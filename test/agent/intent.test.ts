import test from 'ava';
import fc from 'fast-check';

import { applyUpdate, emptyIntent, type Intent, toSnapshot } from '../../agent/intent.js';
import { decodeIntent, encodeIntent } from '../../agent/intent-cache.js';
import { v1 } from '../../common/proto.js';
import type { Resource } from '../../generated/proto/iovn/v1/Resource.js';
import {
  makeIntent,
  makeUpdate,
  portResource,
  portSecurityEntry,
  switchResource,
} from './support/intents.js';

/** What an intent means, without the order in which its resources came. */
function meaning(intent: Intent): unknown {
  const sorted = (entries: Iterable<readonly [string, unknown]>) =>
    [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.parse(
    JSON.stringify({
      generation: intent.generation,
      switches: sorted(intent.switches),
      ports: sorted(intent.ports),
      problems: sorted(intent.problems),
      raw: sorted([...intent.raw].map(([key, { body }]) => [key, Buffer.from(body).toString('hex')])),
    }),
  );
}

test('reads switches and ports', (t) => {
  const intent = makeIntent(
    switchResource('uuid-0', 7, 'blue'),
    portResource('lp1', 3, { port_security: [portSecurityEntry('02:00:00:00:00:03 10.0.0.3 fd00::/64')] }),
  );
  t.deepEqual(intent.switches.get('uuid-0'), {
    id: 'uuid-0',
    nbUuid: '',
    name: 'blue',
    datapathKey: 7,
    vlanPassthru: false,
    fdbAgeThresholdSeconds: 0,
  });
  const port = intent.ports.get('lp1');
  t.is(port?.portKey, 3);
  t.deepEqual(
    port?.portSecurity[0]?.addresses.map(({ prefixLength }) => prefixLength),
    [32, 64],
  );
  t.is(intent.problems.size, 0);
});

test('a resource of an unknown kind is reported and does not stop the others', (t) => {
  const intent = makeIntent(
    { id: { kind: 'Teapot', name: 'x' }, body: Buffer.from([1, 2, 3]) },
    switchResource('sw0', 1),
  );
  t.is(intent.problems.get('Teapot/x')?.code, 'unsupported_kind');
  t.is(intent.switches.size, 1);
});

test('bodies that make no sense are reported as invalid', (t) => {
  const bad: Record<string, Resource> = {
    garbage: { id: { kind: 'Port', name: 'garbage' }, body: Buffer.from([0xff, 0xff, 0xff]) },
    'port key': portResource('port key', 40_000),
    'no port key': portResource('no port key', 0, { macs: [] }),
    mac: portResource('mac', 1, { macs: [Buffer.from([1, 2])] }),
    prefix: portResource('prefix', 1, {
      port_security: [
        { mac: Buffer.alloc(6), addresses: [{ address: Buffer.from([10, 0, 0, 1]), prefix_length: 33 }] },
      ],
    }),
    address: portResource('address', 1, {
      port_security: [{ mac: Buffer.alloc(6), addresses: [{ address: Buffer.alloc(5), prefix_length: 3 }] }],
    }),
    group: portResource('group', 1, { multicast_groups: [70_000] }),
  };
  const intent = makeIntent(...Object.values(bad), switchResource('too big', 2 ** 24));
  for (const name of Object.keys(bad)) t.is(intent.problems.get(`Port/${name}`)?.code, 'invalid', name);
  t.is(intent.problems.get('Switch/too big')?.code, 'invalid');
  t.is(intent.ports.size, 0);
});

test('a resource that becomes invalid is not used as it was before', (t) => {
  const good = makeIntent(switchResource('sw0', 1), portResource('lp1', 1));
  const bad = applyUpdate(good, makeUpdate([portResource('lp1', 40_000)], { snapshot: false }));
  t.false(bad.ports.has('lp1'));
  const mended = applyUpdate(bad, makeUpdate([portResource('lp1', 2)], { snapshot: false }));
  t.is(mended.ports.get('lp1')?.portKey, 2);
  t.is(mended.problems.size, 0);
});

test('a snapshot replaces, a delta adds and removes', (t) => {
  const first = makeIntent(switchResource('sw0', 1), portResource('lp1', 1), portResource('lp2', 2));
  const delta = applyUpdate(
    first,
    makeUpdate([portResource('lp3', 3)], {
      snapshot: false,
      generation: '2',
      removed: [{ kind: 'Port', name: 'lp1' }],
    }),
  );
  t.deepEqual([...delta.ports.keys()].sort(), ['lp2', 'lp3']);
  t.is(delta.generation, '2');
  const snapshot = applyUpdate(delta, makeUpdate([switchResource('sw9', 9)]));
  t.deepEqual([...snapshot.ports.keys()], []);
  t.deepEqual([...snapshot.switches.keys()], ['sw9']);
});

const resources = fc.oneof(
  fc
    .tuple(fc.constantFrom('sw0', 'sw1'), fc.integer({ min: 1, max: 3 }))
    .map(([id, key]) => switchResource(id, key)),
  fc
    .tuple(fc.constantFrom('lp1', 'lp2', 'lp3'), fc.integer({ min: 0, max: 4 }))
    .map(([name, key]) => portResource(name, key)),
  fc.constant<Resource>({ id: { kind: 'Teapot', name: 'x' }, body: Buffer.from([1]) }),
);
const deltas = fc.array(
  fc.record({
    changed: fc.array(resources, { maxLength: 3 }),
    removed: fc.array(
      fc.record({
        kind: fc.constantFrom('Port', 'Switch'),
        name: fc.constantFrom('lp1', 'lp2', 'sw0', 'none'),
      }),
      { maxLength: 2 },
    ),
  }),
  { maxLength: 12 },
);

test('property: deltas one by one, each twice, and a snapshot of the result mean the same', (t) => {
  fc.assert(
    fc.property(deltas, (parts) => {
      const updates = parts.map((part, index) =>
        makeUpdate(part.changed, { snapshot: false, removed: part.removed, generation: String(index + 1) }),
      );
      const once = updates.reduce(applyUpdate, emptyIntent);
      const twice = updates.flatMap((update) => [update, update]).reduce(applyUpdate, emptyIntent);
      t.deepEqual(meaning(twice), meaning(once));
      const wire = v1.Update.deserialize(v1.Update.serialize(toSnapshot(once)));
      const unrelated = makeIntent(switchResource('other', 5), portResource('other', 5));
      t.deepEqual(meaning(applyUpdate(unrelated, wire)), meaning(once));
      t.deepEqual(meaning(decodeIntent(Buffer.from(encodeIntent(once))) ?? emptyIntent), meaning(once));
    }),
  );
});

test('property: a damaged cache is never taken for an intent', (t) => {
  const good = Buffer.from(encodeIntent(makeIntent(switchResource('sw0', 1), portResource('lp1', 1))));
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bad = Buffer.from(good);
      bad.writeUInt8(bad.readUInt8(at) ^ flip, at);
      t.is(decodeIntent(bad), undefined);
    }),
  );
  t.is(decodeIntent(good.subarray(0, 10)), undefined);
  t.is(decodeIntent(Buffer.alloc(0)), undefined);
});
