import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

import test from 'ava';

const script = path.join(import.meta.dirname, '../support/daemon-under-test.ts');

interface Outcome {
  readonly status: number | null;
  readonly stderr: string;
  /** From the first signal on. */
  readonly elapsedMs: number;
}

async function run(behaviour: string, ...signals: NodeJS.Signals[]): Promise<Outcome> {
  const child = spawn(process.execPath, ['--import=tsx', script, behaviour], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  await once(child.stdout, 'data');
  const startMs = performance.now();
  for (const signal of signals) child.kill(signal);
  const [status] = await closed;
  return { status, stderr, elapsedMs: performance.now() - startMs };
}

test('returning is status 0', async (t) => {
  const { status, stderr } = await run('returns');
  t.deepEqual([status, stderr], [0, '']);
});

test('a ConfigError is one line and status 2', async (t) => {
  const { status, stderr } = await run('refuses');
  t.deepEqual([status, stderr], [2, "iovn-test: --nb 'x': is nonsense\n"]);
});

test('any other error is a log line with its fields and cause, and status 1', async (t) => {
  const { status, stderr } = await run('fails');
  t.is(status, 1);
  const line = JSON.parse(stderr) as Record<string, unknown>;
  t.like(line, { level: 'error', code: 'broken', thing: 7, error: 'it broke', cause: 'deeper' });
});

test('an unhandled rejection is fatal', async (t) => {
  const { status, stderr } = await run('rejects');
  t.is(status, 1);
  t.like(JSON.parse(stderr), { error: 'nobody listens' });
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} stops it with status 0`, async (t) => {
    const { status, stderr } = await run('stops', signal);
    t.deepEqual([status, stderr], [0, '']);
  });
}

test('the abort coming back as an error is no error', async (t) => {
  t.is((await run('throwsAbort', 'SIGTERM')).status, 0);
});

test('other signals are ignored', async (t) => {
  t.is((await run('stops', 'SIGHUP', 'SIGPIPE', 'SIGUSR1', 'SIGUSR2', 'SIGTERM')).status, 0);
});

test('what hangs is named and left behind within 2 s', async (t) => {
  const { status, stderr, elapsedMs } = await run('hangs', 'SIGTERM');
  t.is(status, 1);
  t.true(elapsedMs > 1000 && elapsedMs < 2500, `${elapsedMs} ms`);
  const line = JSON.parse(stderr) as Record<string, unknown>;
  t.like(line, { msg: 'did not stop in time', signal: 'SIGTERM' });
  t.true((line['active'] as string[]).includes('Timeout'));
});
