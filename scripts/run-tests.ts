// Runs the checks and the tests, and closes with `N passed, N failed`. Each check counts as one test. With
// arguments (ava's: files, patterns, --match) only the tests that they select are run.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

import {
  count,
  emptyTally,
  formatTally,
  isTapPlan,
  parseTapLine,
  type TapResult,
  withoutSkips,
} from './tap.js';

const checks: readonly (readonly [title: string, script: string])[] = [
  ['format', 'format:check'],
  ['lint', 'lint'],
  ['types', 'typecheck'],
  ['dead code', 'knip'],
];

/** What needs another kernel is run by scripts/test-vm.sh. */
/** System and interoperability tests load the machine and measure time: one file after the other, and nothing beside them. */
const everythingElse = ['test/**/*.test.ts', '!test/system/**', '!test/interop/**', '!test/vm/**'];
const systemTests = ['--concurrency=1', 'test/system/**/*.test.ts', 'test/interop/**/*.test.ts'];

let tally = emptyTally;

function record(result: TapResult): void {
  tally = count(tally, result);
}

/** The child's output goes through a pipe of ours, so that nothing it leaves behind holds on to our own. */
async function run(
  command: string,
  args: readonly string[],
  onLine: (line: string) => void,
): Promise<number> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = createInterface({ input: child.stdout });
  lines.on('line', onLine);
  child.stderr.on('data', (data: Buffer) => process.stderr.write(data));
  const drained = once(lines, 'close');
  const [status] = (await once(child, 'exit')) as [number | null];
  await Promise.race([drained, delay(1000)]);
  return status ?? 1;
}

async function check(title: string, script: string): Promise<void> {
  const lines: string[] = [];
  const status = await run('npm', ['run', '--silent', script], (line) => lines.push(line));
  const ok = status === 0;
  if (!ok) console.log(lines.join('\n'));
  console.log(`${ok ? 'ok' : 'not ok'} - ${title}`);
  record({ ok, skipped: false, title });
}

async function ava(args: readonly string[]): Promise<void> {
  const seen = { plan: false, failure: false };
  const status = await run(
    process.execPath,
    ['node_modules/ava/entrypoints/cli.mjs', '--tap', ...args],
    (line) => {
      const result = parseTapLine(line);
      if (isTapPlan(line)) seen.plan = true;
      else if (!/^(TAP version|#|$)/.test(line)) console.log(line);
      if (result === undefined) return;
      seen.failure ||= !result.ok;
      record(result);
    },
  );
  if (seen.plan && (status === 0 || seen.failure)) return;
  const title = `ava ended with status ${status}${seen.plan ? '' : ' before all tests had run'}`;
  console.log(`not ok - ${title}`);
  record({ ok: false, skipped: false, title });
}

const selection = process.argv.slice(2);
if (selection.length > 0) {
  await ava(selection);
} else {
  for (const [title, script] of checks) await check(title, script);
  await ava(everythingElse);
  await ava(systemTests);
}
const final = process.env['CI'] === undefined ? tally : withoutSkips(tally);
console.log(`\n${formatTally(final)}`);
process.exit(final.failed === 0 && final.passed > 0 ? 0 : 1);
