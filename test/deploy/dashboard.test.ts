import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import test from 'ava';

import { run } from '../../testbed/process.js';
import { fillIn, knownSeries, problemsOf, readDashboard, readRules } from './queries.js';

const dashboard = readDashboard();
const targets = dashboard.panels.flatMap(({ title, targets: own }) =>
  own.map((target) => ({ title, ...target })),
);
const series = knownSeries();

test('every query of the dashboard is PromQL', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'iovn-dashboard-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'rules.yml');
  const check = async (expressions: readonly string[]) => {
    const rules = expressions.map((expr, index) => ({ record: `query${index}`, expr: fillIn(expr) }));
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
    return run(['promtool', 'check', 'rules', file]);
  };
  const { status, stdout, stderr } = await check(targets.map(({ expr }) => expr));
  t.is(status, 0, stdout + stderr);
  t.true(stdout.includes(`${targets.length} rules found`), stdout);
  t.not((await check(['sum by (reason) (rate(up[1m])'])).status, 0, 'what is none is refused');
});

test('rules and dashboard ask for metrics and labels that there are', (t) => {
  const queries = [
    ...readRules().map(({ expr, annotations }) => ({
      expr,
      text: Object.values(annotations ?? {}).join('\n'),
    })),
    ...targets.map(({ expr, legendFormat }) => ({ expr, text: legendFormat })),
  ];
  t.true(queries.length > 35);
  for (const query of queries) t.deepEqual(problemsOf(query, series), [], query.expr);
});

test('a query for what there is not is found', (t) => {
  const found = (expr: string, text = '') => problemsOf({ expr, text }, series);
  t.deepEqual(found('vector(1)'), ['it asks for no metric']);
  t.deepEqual(found('iovn_agent_port'), ['there is no iovn_agent_port']);
  t.deepEqual(found('iovn_agent_ports{chassis="hv1"}'), ['iovn_agent_ports has no label chassis']);
  t.deepEqual(found('iovn_agent_apply_seconds'), ['there is no iovn_agent_apply_seconds']);
  t.deepEqual(found('sum by (chassis) (iovn_agent_ports)'), ['nothing here has a label chassis']);
  t.deepEqual(found('sum by (instance) (iovn_agent_map_full)', '{{instance}} {{map}}'), [
    'the result has no label map',
  ]);
  t.deepEqual(found('sum(iovn_agent_ports)', '{{instance}}'), ['the result has no label instance']);
  t.deepEqual(found('iovn_agent_ports > 0', '{{ $labels.instance }} {{ $labels.port }}'), [
    'the result has no label port',
  ]);
});

test('panels have an id, a place and a title of their own, and the data source that is chosen', (t) => {
  const { panels } = dashboard;
  t.truthy(dashboard.uid);
  for (const of of ['id', 'title'] as const)
    t.is(new Set(panels.map((panel) => panel[of])).size, panels.length, of);
  const taken = new Map<string, string>();
  for (const { title, gridPos, datasource, targets: own } of panels) {
    t.deepEqual(datasource, { type: 'prometheus', uid: '${datasource}' } as object, title);
    t.true(own.length > 0, title);
    t.is(new Set(own.map(({ refId }) => refId)).size, own.length, title);
    t.true(gridPos.x >= 0 && gridPos.w > 0 && gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        t.is(taken.get(`${x},${y}`), undefined, `${title} lies over another`);
        taken.set(`${x},${y}`, title);
      }
    }
  }
});

test('its variables are the data source and the agents, and no query has another', (t) => {
  const variables = dashboard.templating.list;
  t.deepEqual(
    variables.map(({ name, type }) => [name, type]),
    [
      ['datasource', 'datasource'],
      ['instance', 'query'],
    ],
  );
  const [, name = '', label = ''] = /^label_values\((\w+), (\w+)\)$/.exec(variables[1]?.query ?? '') ?? [];
  t.true(series.get(name)?.has(label), variables[1]?.query);
  for (const { expr } of targets)
    for (const [variable] of expr.matchAll(/\$\w+/g))
      t.true(['$instance', '$__rate_interval'].includes(variable), `${variable} in ${expr}`);
});

test('labels are those that are bounded by what is configured, or by the code', (t) => {
  const labels = new Set([...series].flatMap(([, own]) => [...own]));
  const configured = ['port', 'switch', 'interface', 'chassis', 'database', 'instance', 'job'];
  const inCode = ['map', 'reason', 'kind', 'code', 'outcome', 'le'];
  t.deepEqual([...labels].sort(), [...configured, ...inCode].sort());
});
