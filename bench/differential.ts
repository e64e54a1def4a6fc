/**
 * Random switches and frames, through real OVN and through our data plane: `npm run bench:differential -- --packets N
 * --seed N`. Ends with status 1, the smallest frame and both verdicts when the two differ; the same seed shows it again.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';

import { errorMessage } from '../common/errors.js';
import { Differential } from '../test/differential/differential.js';
import { maximumPorts } from '../test/differential/network.js';
import { createDevice, enterPrivateNamespaces } from '../test/support/private-namespace.js';
import { Testbed } from '../testbed/testbed.js';

const framesPerNetwork = 500;
const networksAtOnce = 20;

const { values } = parseArgs({
  options: { packets: { type: 'string', default: '10000' }, seed: { type: 'string' } },
});
const packets = Number(values.packets);
const firstSeed = Number(values.seed ?? randomInt(2 ** 30));

async function compare(devices: readonly number[], seed: number, networks: number): Promise<number> {
  const bed = await Testbed.open();
  try {
    const differential = await Differential.open(bed, devices, { seed, networks, framesPerNetwork });
    const { knownDifferences, ...tally } = await differential.run();
    console.log(`seed ${seed}`, tally, Object.fromEntries(knownDifferences));
    return tally.frames;
  } finally {
    await bed.close();
  }
}

async function main(): Promise<void> {
  enterPrivateNamespaces();
  const devices = Array.from({ length: maximumPorts }, (_, index) => createDevice(`diff${index}`));
  let seed = firstSeed;
  for (let done = 0; done < packets; seed += networksAtOnce) {
    const networks = Math.min(networksAtOnce, Math.ceil((packets - done) / framesPerNetwork));
    done += await compare(devices, seed, networks);
  }
}

main().catch((error: unknown) => {
  console.error(errorMessage(error));
  process.exitCode = 1;
});
