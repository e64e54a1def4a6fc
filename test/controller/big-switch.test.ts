import test from 'ava';

import { newUuid } from './support/memory-database.js';
import { eventually, Harness } from './support/harness.js';
import type { SwitchIds, World } from './support/world.js';

const portCount = 4096;

function macOf(number: number): string {
  return `02:00:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`;
}

/** As `World.addPort`, all in one change of each database. */
function addPorts(world: World, { nb, datapath }: SwitchIds, count: number): void {
  const ports = Array.from({ length: count }, (_, index) => ({
    number: index + 1,
    nb: newUuid(),
    binding: newUuid(),
  }));
  world.nb.change((contents) => {
    for (const port of ports) {
      const addresses = [`${macOf(port.number)} 10.0.${port.number >> 8}.${port.number & 255}`];
      world.nb.set(contents, 'logicalSwitchPort', port.nb, { name: `lp${port.number}`, addresses });
    }
    world.nb.set(contents, 'logicalSwitch', nb, { ports: ports.map((port) => port.nb) });
  });
  world.sb.change((contents) => {
    for (const port of ports) {
      const values = { logical_port: `lp${port.number}`, datapath, tunnel_key: port.number, up: false };
      world.sb.set(contents, 'portBinding', port.binding, values);
    }
    for (const group of world.sb.tables.multicastGroup) {
      if (group.datapath !== datapath) continue;
      world.sb.set(contents, 'multicastGroup', group._uuid, { ports: ports.map((port) => port.binding) });
    }
  });
}

test('one port more on a switch of 4,096 is one resource more to a node that has it', async (t) => {
  const harness = await Harness.start();
  t.teardown(() => harness.stop());
  const { world } = harness;
  const sw0 = world.addSwitch('sw0');
  addPorts(world, sw0, portCount);
  const agent = harness.agent('hv1');
  agent.plug('lp1');
  await eventually('the switch', () => agent.held.size === portCount + 1);
  await eventually('lp1 installed', () => agent.port('lp1')?.chassis === 'hv1');
  const before = agent.updates.length;

  world.addPort(sw0, 'one-more', { addresses: [macOf(portCount + 1)] });
  await eventually('the new port', () => agent.held.has('Port/one-more'));
  world.removePort(world.addPort(sw0, 'for-a-moment', { addresses: [macOf(portCount + 2)] }));
  world.setNbCfg(1);
  await eventually('the end', () => agent.updates.at(-1)?.nb_cfg === '1');

  const updates = agent.updates.slice(before);
  const changed = updates.flatMap((update) =>
    update.changed.map(({ id }) => `${id?.kind ?? ''}/${id?.name ?? ''}`),
  );
  const removed = updates.flatMap((update) => update.removed.map(({ name }) => name));
  t.deepEqual(
    changed.filter((key) => key !== 'Port/for-a-moment'),
    ['Port/one-more'],
  );
  t.deepEqual(
    removed.filter((name) => name !== 'for-a-moment'),
    [],
  );
});

test('errors that change after the answer replace those of before', async (t) => {
  const harness = await Harness.start();
  t.teardown(() => harness.stop());
  const { world } = harness;
  world.addPort(world.addSwitch('sw0'), 'lp1', { addresses: [macOf(1)] });
  const agent = harness.agent('hv1');
  agent.plug('lp1');
  const hv1 = () => harness.controller.nodes.get('hv1');
  await eventually('the claim', () => agent.port('lp1')?.chassis === 'hv1');
  await eventually('applied', () => hv1()?.generationApplied === agent.generation);
  const generation = String(agent.generation);
  const errors = () => [...(hv1()?.errors.keys() ?? [])];
  const error = { id: { kind: 'Port', name: 'elsewhere' }, code: 'map_full', message: 'full' };
  agent.send({ applied: { generation, errors: [error], apply_seconds: 0 } });
  await eventually('the error', () => errors().join() === 'Port/elsewhere');
  agent.send({ applied: { generation, errors: [], apply_seconds: 0 } });
  await eventually('no error', () => errors().length === 0);
  t.pass();
});
