import { readFileSync } from 'node:fs';
import path from 'node:path';

import { parse } from 'yaml';

import { packageRoot } from '../../common/package-root.js';

export interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface RuleFile {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
}

/** What Prometheus is asked by a rule or a panel. */
export interface Query {
  readonly expr: string;
  /** What is written to the result, with placeholders for labels. */
  readonly text: string;
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly datasource: { readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly legendFormat: string;
  }[];
}

interface Variable {
  readonly name: string;
  readonly type: string;
  readonly query: string;
}

interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly Variable[] };
}

export function textOf(...parts: string[]): string {
  return readFileSync(path.join(packageRoot, ...parts), 'utf8');
}

export function readRules(): readonly Rule[] {
  return (parse(textOf('deploy', 'prometheus', 'rules.yml')) as RuleFile).groups.flatMap(
    ({ rules }) => rules,
  );
}

export function readDashboard(): Dashboard {
  return JSON.parse(textOf('deploy', 'grafana', 'dashboard.json')) as Dashboard;
}

/** An expression of the dashboard with its variables filled in. */
export function fillIn(expr: string): string {
  return expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '1m');
}

/** Labels that Prometheus gives to all that it scrapes. */
const scrapeLabels = ['instance', 'job'];

const metric = /\b((?:[a-z_]+:)?iovn_\w+(?::\w+)?|up)\b(?:\{([^}]*)\})?/g;
const labelList = /\b(?:by|without|on|ignoring|group_left)\s*\(([^)]*)\)/g;

/**
 * Every series that there can be, with its labels: those of the reference page, histograms by the series that they are, what
 * the rules record, and `up`.
 */
export function knownSeries(): ReadonlyMap<string, ReadonlySet<string>> {
  const series = new Map<string, ReadonlySet<string>>([['up', new Set(scrapeLabels)]]);
  const rows = textOf('docs', 'metrics.md').matchAll(/^\| `(\w+)` \| (\w+) \| ([^|]*) \|/gm);
  for (const [, name = '', type, list = ''] of rows) {
    const labels = [...scrapeLabels, ...wordsIn(list)];
    if (type !== 'histogram') series.set(name, new Set(labels));
    else {
      series.set(`${name}_bucket`, new Set([...labels, 'le']));
      for (const part of ['sum', 'count']) series.set(`${name}_${part}`, new Set(labels));
    }
  }
  for (const { record, expr } of readRules()) {
    if (record !== undefined) series.set(record, resultLabels(expr, series));
  }
  return series;
}

/** The labels that a result can have: those that it is grouped by, else those of all that it is made of. */
function resultLabels(expr: string, series: ReadonlyMap<string, ReadonlySet<string>>): ReadonlySet<string> {
  const groups = Array.from(
    expr.matchAll(/\b(?:sum|min|max|count) (?:by \(([^)]*)\))?/g),
    ([, list = '']) => list,
  );
  const outer = /^(?:topk\(\d+, |histogram_quantile\([\d.]+, )?(?:sum|min|max|count)\b/.test(expr);
  if (outer) return new Set(wordsIn(groups[0] ?? ''));
  return new Set(Array.from(expr.matchAll(metric), ([, name = '']) => [...(series.get(name) ?? [])]).flat());
}

function wordsIn(text: string): readonly string[] {
  return text.match(/\w+/g) ?? [];
}

/** What a query asks for that there is not. */
export function problemsOf(
  { expr, text }: Query,
  series: ReadonlyMap<string, ReadonlySet<string>>,
): readonly string[] {
  const problems: string[] = [];
  const inAny = new Set<string>();
  const asked = Array.from(expr.matchAll(metric));
  if (asked.length === 0) problems.push('it asks for no metric');
  for (const [, name = '', matchers = ''] of asked) {
    const labels = series.get(name);
    if (labels === undefined) problems.push(`there is no ${name}`);
    for (const label of labels ?? []) inAny.add(label);
    for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g))
      if (!labels?.has(label)) problems.push(`${name} has no label ${label}`);
  }
  for (const [, list = ''] of expr.matchAll(labelList))
    for (const label of wordsIn(list))
      if (!inAny.has(label)) problems.push(`nothing here has a label ${label}`);
  const result = resultLabels(expr, series);
  for (const [, label = ''] of text.matchAll(/\{\{ ?(?:or )?(?:\$labels\.)?(\w+)(?: "[^"]*")? ?\}\}/g))
    if (!result.has(label)) problems.push(`the result has no label ${label}`);
  return problems;
}
