import test from 'ava';

import { decommissionNode } from '../../agent/decommission.js';
import { attachEndName } from '../../agent/vswitch/internal-devices.js';
import { IovnError } from '../../common/errors.js';
import { eventually } from './support/eventually.js';
import { makeUpdate, portResource, switchResource } from './support/intents.js';
import { Rig } from './support/rig.js';

async function runningNode(): Promise<Rig> {
  const rig = new Rig().start();
  rig.devices.add('tap1', 5);
  rig.devices.add('eth0', 2);
  rig.database.plug('tap1', 'lp1');
  rig.database.plug('int0', 'lp2', { type: 'internal' });
  rig.update(makeUpdate([switchResource('sw0', 1), portResource('lp1', 1), portResource('lp2', 2)]));
  await eventually(() => rig.installed('tap1') === 'true' && rig.installed('int0') === 'true');
  await rig.close();
  return rig;
}

function decommission(rig: Rig, release: () => Promise<void>) {
  const steps: string[] = [];
  const result = decommissionNode({
    session: {
      decommission: () => {
        steps.push(rig.plane.destroyed ? 'released after' : 'released before');
        return release();
      },
    },
    dataPlane: rig.plane,
    devices: rig.devices,
    database: rig.database,
    cache: { remove: () => void steps.push('cache removed') },
    timeoutMs: 100,
    signal: new AbortController().signal,
  });
  return { steps, result };
}

test('everything of ours goes, and nothing else', async (t) => {
  const rig = await runningNode();
  t.true(rig.devices.links.has(attachEndName('int0')));
  const { steps, result } = decommission(rig, () => Promise.resolve());
  t.deepEqual(await result, []);
  t.deepEqual(steps, ['released before', 'cache removed']);
  t.true(rig.plane.destroyed);
  t.is(rig.installed('tap1'), undefined);
  t.false(rig.database.interface('tap1').external_ids.has('ovn-installed-ts'));
  t.is(rig.database.interface('tap1').external_ids.get('iface-id'), 'lp1');
  t.false(rig.devices.links.has(attachEndName('int0')));
  t.true(rig.devices.links.has('tap1') && rig.devices.links.has('eth0'));
});

test('a controller that is away is reported, and the clean-up is done all the same', async (t) => {
  const rig = await runningNode();
  const { steps, result } = decommission(rig, () =>
    Promise.reject(new IovnError('decommission_failed', 'the controller did not release this node')),
  );
  t.deepEqual(await result, ['the controller did not release this node']);
  t.true(rig.plane.destroyed);
  t.is(rig.installed('tap1'), undefined);
  t.true(steps.includes('cache removed'));
});

test('a database that is away is reported, too', async (t) => {
  const rig = await runningNode();
  rig.database.setConnected(false);
  const { result } = decommission(rig, () => Promise.resolve());
  t.deepEqual(await result, ['no session']);
  t.true(rig.plane.destroyed);
});
