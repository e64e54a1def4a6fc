import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import test from 'ava';
import { parse } from 'yaml';

import { packageRoot } from '../../common/package-root.js';
import { run, runOk } from '../../testbed/process.js';
import { readRules, textOf } from './queries.js';

const deploy = path.join(packageRoot, 'deploy');
const alerts = readRules().flatMap((rule) =>
  rule.alert === undefined ? [] : [{ ...rule, alert: rule.alert }],
);

test('the scrape configuration and the rules are what Prometheus takes', async (t) => {
  const file = path.join(deploy, 'prometheus', 'prometheus.yml');
  const { status, stdout, stderr } = await run(['promtool', 'check', 'config', file]);
  t.is(status, 0, stdout + stderr);
});

test('the alerts do what rules.test.yml says, and it says something of each', async (t) => {
  const file = path.join(deploy, 'prometheus', 'rules.test.yml');
  const { status, stdout, stderr } = await run(['promtool', 'test', 'rules', file]);
  t.is(status, 0, stdout + stderr);
  const { tests } = parse(readFileSync(file, 'utf8')) as {
    tests: readonly { alert_rule_test: readonly { alertname: string; exp_alerts: readonly unknown[] }[] }[];
  };
  const cases = tests.flatMap((each) => each.alert_rule_test);
  for (const { alert } of alerts) {
    const own = cases.filter(({ alertname }) => alertname === alert);
    t.true(
      own.some(({ exp_alerts: expected }) => expected.length > 0),
      `${alert} fires`,
    );
    t.true(
      own.some(({ exp_alerts: expected }) => expected.length === 0),
      `${alert} does not fire`,
    );
  }
});

test('each alert says what is the matter, and where what to do is written', (t) => {
  t.true(alerts.length >= 11);
  const headings = new Set(
    Array.from(textOf('docs', 'alerts.md').matchAll(/^## (\w+)$/gm), ([, name = '']) => name.toLowerCase()),
  );
  for (const { alert, annotations = {} } of alerts) {
    t.truthy(annotations['summary'], alert);
    t.truthy(annotations['description'], alert);
    t.is(annotations['runbook'], `docs/alerts.md#${alert.toLowerCase()}`);
    t.true(headings.has(alert.toLowerCase()), alert);
  }
  t.is(headings.size, alerts.length, 'no alert is described that is not there');
});

test('the reference page is what the definitions say', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'iovn-metrics-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'metrics.md');
  const script = path.join(packageRoot, 'scripts', 'metrics-reference.ts');
  await runOk([process.execPath, '--import=tsx', script, file]);
  t.is(textOf('docs', 'metrics.md'), readFileSync(file, 'utf8'), 'run `npm run docs:metrics`');
});
