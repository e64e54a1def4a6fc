import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { listObject } from '../../agent/libbpf/kernel-object.js';
import { silentLogger } from '../../common/log.js';
import { compileProgram, variants } from '../support/compile-program.js';
import { runSync } from '../support/private-namespace.js';
import { traceObjectFile, vifObjectFile } from './harness.js';

function compile(t: ExecutionContext, source: string): { readonly folder: string; readonly object: string } {
  const compiled = compileProgram(source);
  t.teardown(() => rmSync(compiled.folder, { recursive: true }));
  return compiled;
}

const instructionSize = 8;
const callOpcode = 0x85;

interface Code {
  readonly instructions: number;
  /** How often each of the kernel's helpers is called: lines of number and times. */
  readonly helpers: readonly string[];
}

/** What is in an object: programs, and functions that they call. */
function readCode(object: string, folder: string): Code {
  const file = path.join(folder, 'section');
  const sections = ['tc', '.text'].map((section) => {
    runSync('llvm-objcopy', '-O', 'binary', `--only-section=${section}`, object, file);
    return readFileSync(file);
  });
  const code = Buffer.concat(sections);
  const calls = new Map<number, number>();
  for (let at = 0; at < code.length; at += instructionSize) {
    const isHelperCall = code[at] === callOpcode && (code[at + 1] ?? 0) >> 4 === 0;
    const helper = code.readInt32LE(at + 4);
    if (isHelperCall) calls.set(helper, (calls.get(helper) ?? 0) + 1);
  }
  const helpers = Array.from(calls, ([helper, times]) => `${helper}: ${times}`).sort();
  return { instructions: code.length / instructionSize, helpers };
}

/** A step takes more: a call and its arguments. The compiler lays blocks out in another order, with a jump more or less. */
const jumps = 3;

test('what packets run through has no instruction for tracing, and no map', (t) => {
  const { object, folder } = compile(t, variants.withoutTrace);
  const production = readCode(vifObjectFile, folder);
  const without = readCode(object, folder);
  t.true(production.instructions > 1000);
  t.true(production.helpers.length > 10);
  t.deepEqual(production.helpers, without.helpers);
  t.true(Math.abs(production.instructions - without.instructions) <= jumps);
  const { maps } = listObject('vif', readFileSync(vifObjectFile), silentLogger);
  t.false(maps.some((name) => name.startsWith('trace_')));
});

test('a difference would be seen', (t) => {
  const { object, folder } = compile(t, variants.withoutSamples);
  t.true(readCode(vifObjectFile, folder).instructions > readCode(object, folder).instructions);
  const traced = readCode(traceObjectFile, folder);
  t.notDeepEqual(traced.helpers, readCode(vifObjectFile, folder).helpers);
});
