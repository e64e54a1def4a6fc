// Writes generated/bpf/layouts.ts and docs/drop-reasons.md from the headers in bpf/ and what clang makes of them.
// With --check it writes nothing and fails when docs/drop-reasons.md, which is committed, is not current.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { packageRoot } from '../common/package-root.js';
import { type Layouts, parseBtf } from './btf/btf.js';
import { emitDropReasonPage, emitLayouts } from './btf/emit.js';
import { findNames, parseDropReasons, referenceAll } from './btf/header.js';

const headers = ['types.h', 'drop_reasons.h', 'trace_step.h'];
const folder = path.join(packageRoot, 'generated', 'bpf');
const page = path.join(packageRoot, 'docs', 'drop-reasons.md');

/** Compiles a file that uses every type of the headers and asks the result's BTF for their layouts. */
function readLayouts(header: string): Layouts {
  const names = findNames(header);
  const work = mkdtempSync(path.join(os.tmpdir(), 'iovn-btf-'));
  const source = path.join(work, 'layouts.c');
  const object = path.join(work, 'layouts.o');
  writeFileSync(source, referenceAll(names, headers));
  const includes = [`-I${path.join(packageRoot, 'bpf')}`, `-I/usr/include/${os.machine()}-linux-gnu`];
  execFileSync('clang', ['-O2', '-g', '-target', 'bpf', ...includes, '-c', source, '-o', object]);
  const json = execFileSync('bpftool', ['--json', 'btf', 'dump', 'file', object], { encoding: 'utf8' });
  rmSync(work, { recursive: true });
  const all = new Set([...names.structs, ...names.enums, 'constants']);
  const layouts = parseBtf(json, all);
  const found = new Set([...layouts.structs, ...layouts.enums].map(({ name }) => name));
  const missing = Array.from(all).filter((name) => !found.has(name));
  if (missing.length > 0) throw new Error(`the compiler's BTF lacks ${missing.join(', ')}`);
  return {
    structs: layouts.structs,
    enums: layouts.enums.map(({ name, values }) => ({
      name,
      values: values.map(({ name: value, value: number }) => ({
        name: value.replace(/^constant_/, ''),
        value: number,
      })),
    })),
  };
}

const header = headers.map((name) => readFileSync(path.join(packageRoot, 'bpf', name), 'utf8')).join('\n');
const layouts = readLayouts(header);
const reasons = parseDropReasons(
  header,
  layouts.enums.find(({ name }) => name === 'drop_reason')?.values ?? [],
);
const text = emitDropReasonPage(reasons);
if (process.argv.includes('--check')) {
  if (readFileSync(page, 'utf8') !== text) {
    console.error('docs/drop-reasons.md is not current: run npm run generate');
    process.exitCode = 1;
  }
} else {
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'layouts.ts'), emitLayouts(layouts, reasons));
  mkdirSync(path.dirname(page), { recursive: true });
  writeFileSync(page, text);
}
