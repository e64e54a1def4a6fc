import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import test from 'ava';
import { parse } from 'yaml';

import { packageRoot } from '../../common/package-root.js';
import { run, runOk } from '../../testbed/process.js';

const deploy = path.join(packageRoot, 'deploy');
const text = (...parts: string[]): string => readFileSync(path.join(packageRoot, ...parts), 'utf8');

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface RuleFile {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
}

const rules = (parse(text('deploy', 'prometheus', 'rules.yml')) as RuleFile).groups.flatMap(
  (group) => group.rules,
);
const alerts = rules.flatMap((rule) => (rule.alert === undefined ? [] : [{ ...rule, alert: rule.alert }]));

/** What the reference page lists, histograms by the series that they are. */
function knownNames(): ReadonlySet<string> {
  const rows = text('docs', 'metrics.md').matchAll(/^\| `(\w+)` \| (\w+) \|/gm);
  const names = Array.from(rows, ([, name = '', type]) =>
    type === 'histogram' ? ['bucket', 'sum', 'count'].map((part) => `${name}_${part}`) : [name],
  );
  return new Set([...names.flat(), ...rules.flatMap(({ record }) => record ?? []), 'up']);
}

/** The metrics that an expression asks for: names with a prefix of ours, and recorded ones. */
function namesIn(expression: string): readonly string[] {
  return expression.match(/\b(?:[a-z_]+:)?iovn_\w+(?::\w+)?/g) ?? [];
}

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
    Array.from(text('docs', 'alerts.md').matchAll(/^## (\w+)$/gm), ([, name = '']) => name.toLowerCase()),
  );
  for (const { alert, annotations = {} } of alerts) {
    t.truthy(annotations['summary'], alert);
    t.truthy(annotations['description'], alert);
    t.is(annotations['runbook'], `docs/alerts.md#${alert.toLowerCase()}`);
    t.true(headings.has(alert.toLowerCase()), alert);
  }
  t.is(headings.size, alerts.length, 'no alert is described that is not there');
});

test('rules and dashboard ask for metrics that there are', (t) => {
  const known = knownNames();
  const dashboard = JSON.parse(text('deploy', 'grafana', 'dashboard.json')) as {
    readonly panels: readonly {
      readonly title: string;
      readonly targets: readonly { readonly expr: string }[];
    }[];
  };
  const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  t.true(queries.length >= dashboard.panels.length);
  for (const expression of [...rules.map(({ expr }) => expr), ...queries]) {
    const names = namesIn(expression);
    t.true(names.length > 0 || expression.includes('up{'), expression);
    for (const name of names) t.true(known.has(name), `${name} in ${expression}`);
  }
});

test('the reference page is what the definitions say', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'iovn-metrics-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'metrics.md');
  const script = path.join(packageRoot, 'scripts', 'metrics-reference.ts');
  await runOk([process.execPath, '--import=tsx', script, file]);
  t.is(text('docs', 'metrics.md'), readFileSync(file, 'utf8'), 'run `npm run docs:metrics`');
});
