// Prints, as JSON, how many instructions this kernel's verifier goes through for each program of an object
// (bpf_prog_info.verified_insns): node --import=tsx scripts/verifier-cost.ts [FILE.bpf.o]. Needs root.
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { loadObject } from '../agent/libbpf/kernel-object.js';
import { readProgramInfo } from '../agent/libbpf/kernel-program.js';
import { silentLogger } from '../common/log.js';
import { packageRoot } from '../common/package-root.js';

const file = process.argv[2] ?? path.join(packageRoot, 'generated', 'bpf', 'vif.bpf.o');
const object = loadObject('cost', readFileSync(file), {}, silentLogger);
const costs = Array.from(
  object.programs,
  ([name, fd]) => [name, readProgramInfo(fd).verifiedInstructions] as const,
);
console.log(JSON.stringify(Object.fromEntries(costs), undefined, 2));
object.close();
