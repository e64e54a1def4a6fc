import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { packageRoot } from '../../common/package-root.js';
import { runSync } from './private-namespace.js';

/** The programs of bpf/vif.bpf.c, with something left out of what they do to be seen. */
export const variants = {
  withoutTrace: '#include "trace.h"\n#define trace(...)\n#include "vif.bpf.c"',
  withoutSamples: '#include "drop_sample.h"\n#define sample_drop(...)\n#include "vif.bpf.c"',
} as const;

/** Compiles C for the kernel as scripts/generate.sh does; returns the object's file, in a folder that the caller removes. */
export function compileProgram(source: string): { readonly folder: string; readonly object: string } {
  const folder = mkdtempSync(path.join(tmpdir(), 'iovn-program-'));
  const file = path.join(folder, 'program.bpf.c');
  const object = path.join(folder, 'program.bpf.o');
  writeFileSync(file, `${source}\n`);
  const include = [
    `-I/usr/include/${runSync('uname', '-m').trim()}-linux-gnu`,
    `-I${path.join(packageRoot, 'bpf')}`,
  ];
  runSync('clang', '-O2', '-g', '-target', 'bpf', '-mcpu=v3', ...include, '-c', file, '-o', object);
  return { folder, object };
}
