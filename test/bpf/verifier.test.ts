import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import test from 'ava';

import { BpfHarness } from './harness.js';

/** By kernel (`uname -r` without what follows the second number), then by program. Made with scripts/verifier-cost.ts. */
type Baseline = Readonly<Record<string, Readonly<Record<string, number>>>>;

const file = path.join(import.meta.dirname, 'verifier-baseline.json');
const baseline = JSON.parse(readFileSync(file, 'utf8')) as Baseline;
const tolerance = 1.1;
/** On a kernel of which there is no record: another verifier may need more, but not by orders of magnitude. */
const toleranceElsewhere = 3;

test('no program costs the verifier a tenth more than recorded', (t) => {
  const harness = new BpfHarness();
  t.teardown(() => harness.close());
  const kernel = os.release().split('.').slice(0, 2).join('.');
  for (const [program, cost] of Object.entries(harness.verifiedInstructions())) {
    const recorded = baseline[kernel]?.[program];
    const highest = Math.max(...Object.values(baseline).map((programs) => programs[program] ?? 0));
    t.true(highest > 0, `${program} is not in verifier-baseline.json; this kernel (${kernel}) needs ${cost}`);
    const limit = recorded === undefined ? highest * toleranceElsewhere : recorded * tolerance;
    t.true(cost <= limit, `${program}: ${cost} instructions on ${kernel}, recorded ${recorded ?? highest}`);
  }
});
