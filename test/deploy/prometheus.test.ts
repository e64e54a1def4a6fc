import { readFileSync } from 'node:fs';
import path from 'node:path';

import test from 'ava';
import { Registry } from 'prom-client';

import { addCollectedMetrics } from '../../agent/metrics.js';
import { packageRoot } from '../../common/package-root.js';
import { run } from '../../testbed/process.js';
import { FakeDataPlane } from '../agent/support/fake-data-plane.js';

const folder = path.join(packageRoot, 'deploy', 'prometheus');

test('the alerts do what rules.test.yml says', async (t) => {
  const { status, stdout, stderr } = await run([
    'promtool',
    'test',
    'rules',
    path.join(folder, 'rules.test.yml'),
  ]);
  t.is(status, 0, stdout + stderr);
});

test('the alerts ask for metrics that the agent has', async (t) => {
  const registry = new Registry();
  addCollectedMetrics(registry, {
    dataPlane: new FakeDataPlane(),
    reconciler: () => undefined,
    database: () => ({ state: 'connected', remote: '', sinceMs: 0, populated: true, reconnects: 0 }),
    controller: () => ({ state: 'connected', controller: 'c:1', sinceMs: 0, error: undefined }),
  });
  const known = (await registry.getMetricsAsJSON()).map(({ name }) => name);
  const rules = readFileSync(path.join(folder, 'rules.yml'), 'utf8');
  const expressions = [...rules.matchAll(/expr: (.*)/g)].map(([, expression]) => expression ?? '');
  const asked = expressions.flatMap((expression) => expression.match(/iovn_\w+/g) ?? []);
  t.true(asked.length >= 3);
  for (const name of asked) t.true(known.includes(name), name);
});
