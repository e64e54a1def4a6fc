import test, { type ExecutionContext } from 'ava';
import { Counter, Registry } from 'prom-client';

import { ConfigError } from '../../common/errors.js';
import { silentLogger } from '../../common/log.js';
import type { BulkCounters } from '../../common/exposition.js';
import { type Health, startMetricsServer } from '../../common/metrics-server.js';

interface Parts {
  readonly port?: number;
  readonly bulk?: BulkCounters;
}

async function start(t: ExecutionContext, health: () => Health, { port = 0, ...parts }: Parts = {}) {
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  const registry = new Registry();
  new Counter({ name: 'test_total', help: 'counts', registers: [registry] }).inc(3);
  const listen = { host: '127.0.0.1', port };
  const signal = controller.signal;
  const address = await startMetricsServer({ ...parts, listen, registry, health, signal, log: silentLogger });
  return { url: `http://127.0.0.1:${address.port}`, port: address.port, controller };
}

test('metrics in the text format of Prometheus', async (t) => {
  const { url } = await start(t, () => ({ ok: true }));
  const response = await fetch(`${url}/metrics?x=1`);
  t.is(response.status, 200);
  t.regex(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  t.regex(await response.text(), /^test_total 3$/m);
});

/** Lines that take long, and fail in the end. */
function* failing(lines: number) {
  for (let line = 0; line < lines; line++) {
    for (const endMs = performance.now() + 3; performance.now() < endMs; );
    yield `bulk_total{line="${line}"} 1\n`;
  }
  throw new Error('the kernel says no');
}

test('more than fits in a buffer comes whole', async (t) => {
  const line = `bulk_total{text="${'x'.repeat(1000)}"} 1\n`;
  const lines = Array.from({ length: 5000 }, () => line);
  const { url } = await start(t, () => ({ ok: true }), { bulk: { families: [], lines: () => lines } });
  const text = await (await fetch(`${url}/metrics`)).text();
  t.true(text.endsWith(lines.join('')));
});

test('a failure at once is an answer, a later one breaks the connection off', async (t) => {
  const atOnce = await start(t, () => ({ ok: true }), { bulk: { families: [], lines: () => failing(0) } });
  const response = await fetch(`${atOnce.url}/metrics`);
  t.deepEqual([response.status, await response.text()], [500, 'the kernel says no\n']);
  const later = await start(t, () => ({ ok: true }), { bulk: { families: [], lines: () => failing(3) } });
  await t.throwsAsync(fetch(`${later.url}/metrics`).then((answer) => answer.text()));
  t.is((await fetch(`${later.url}/healthz`)).status, 200);
});

test('health decides the status, its details are the body', async (t) => {
  const state = { ok: true, database: 'connected' };
  const { url } = await start(t, () => state);
  const healthy = await fetch(`${url}/healthz`);
  t.deepEqual([healthy.status, await healthy.json()], [200, { ok: true, database: 'connected' }]);
  state.ok = false;
  const ill = await fetch(`${url}/healthz`);
  t.deepEqual([ill.status, await ill.json()], [503, { ok: false, database: 'connected' }]);
});

test('HEAD has no body, other methods and paths are refused', async (t) => {
  const { url } = await start(t, () => ({ ok: true }));
  const head = await fetch(`${url}/metrics`, { method: 'HEAD' });
  t.deepEqual([head.status, await head.text()], [200, '']);
  const post = await fetch(`${url}/metrics`, { method: 'POST', body: 'x' });
  t.deepEqual([post.status, post.headers.get('allow')], [405, 'GET, HEAD']);
  t.is((await fetch(`${url}/`)).status, 404);
});

test('a port in use is a clear line', async (t) => {
  const { port } = await start(t, () => ({ ok: true }));
  const error = await t.throwsAsync(
    start(t, () => ({ ok: true }), { port }),
    { instanceOf: ConfigError },
  );
  t.is(error.message, `--metrics '127.0.0.1:${port}': the address is in use`);
});

test('aborting closes it', async (t) => {
  const { url, controller } = await start(t, () => ({ ok: true }));
  await fetch(`${url}/healthz`);
  controller.abort();
  await t.throwsAsync(fetch(`${url}/healthz`));
});
