import { randomInt } from 'node:crypto';

import test from 'ava';

import { Testbed } from '../../testbed/testbed.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { Differential } from './differential.js';
import { maximumPorts } from './network.js';

enterPrivateNamespaces();

const devices = Array.from({ length: maximumPorts }, (_, index) => createDevice(`diff${index}`));

const fixedSeed = 20;

for (const seed of [fixedSeed, randomInt(2 ** 31 - 100)]) {
  test(`frames fare as in OVN, seed ${seed === fixedSeed ? 'fixed' : 'fresh'}`, async (t) => {
    const bed = await Testbed.open();
    t.teardown(() => bed.close());
    t.log(`seed ${seed}`);
    const differential = await Differential.open(bed, devices, { seed, networks: 8, framesPerNetwork: 100 });
    const tally = await differential.run();
    t.log(tally);
    t.true(tally.passed > tally.frames / 10);
    t.true(tally.answered > 0);
  });
}
