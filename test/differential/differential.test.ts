import { randomInt } from 'node:crypto';

import test from 'ava';

import { Testbed } from '../../testbed/testbed.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { Differential } from './differential.js';
import { maximumPorts } from './network.js';

enterPrivateNamespaces();

const devices = Array.from({ length: maximumPorts }, (_, index) => createDevice(`diff${index}`));
const seeds = [
  ['fixed', 20],
  ['fresh', randomInt(2 ** 30)],
] as const;

for (const [kind, seed] of seeds) {
  test.serial(`frames fare as in OVN, ${kind} seed`, async (t) => {
    t.timeout(120_000);
    const bed = await Testbed.open();
    t.teardown(() => bed.close());
    t.log(`seed ${seed}`);
    const differential = await Differential.open(bed, devices, { seed, networks: 8, framesPerNetwork: 60 });
    const tally = await differential.run();
    t.log(tally);
    t.true(tally.passed > tally.frames / 50, 'too few frames pass to say anything');
  });
}
