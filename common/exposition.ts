import { setImmediate as nextTurn } from 'node:timers/promises';

import type { Registry } from 'prom-client';

/** A counter of which there are many series. */
export interface CounterFamily {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
}

/** Counters with so many series that they are written as text right away: prom-client hashes and formats the labels of each. */
export interface BulkCounters {
  readonly families: readonly CounterFamily[];
  /**
   * The lines of all families, as they are when the iteration begins; '' where there is none yet. Whoever iterates may
   * do other work between two of them.
   */
  lines(): Iterable<string>;
}

const sliceMs = 2;
/** Characters; longer strings are slow to make. */
const pieceLength = 32 * 1024;

/** What /metrics serves, in pieces that took 2 ms or little more each; the event loop goes round between them. */
export async function* exposition(registry: Registry, bulk?: BulkCounters): AsyncGenerator<string> {
  let lines: string[] = [];
  let length = 0;
  let startedMs = performance.now();
  const isOver = (): boolean => length > pieceLength || performance.now() - startedMs > sliceMs;
  const add = (line: string): void => {
    lines.push(line);
    length += line.length;
  };
  const take = (): string => {
    const piece = flat(lines);
    lines = [];
    length = 0;
    return piece;
  };
  const rest = async (): Promise<void> => {
    await nextTurn();
    startedMs = performance.now();
  };
  for (const { name } of registry.getMetricsAsArray()) {
    add(`${await registry.getSingleMetricAsString(name)}\n`);
    if (isOver()) {
      yield take();
      await rest();
    }
  }
  for (const line of bulk?.lines() ?? []) {
    if (line !== '') add(line);
    if (isOver()) {
      if (lines.length > 0) yield take();
      await rest();
    }
  }
  if (lines.length > 0) yield take();
}

/** One string in one place: what `+` makes is a tree, and to send thousands of those takes longer than all the rest. */
export function flat(parts: readonly string[]): string {
  return parts.join('');
}

/** `# HELP` and `# TYPE`. */
export function familyHead({ name, help }: CounterFamily): string {
  return `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} counter\n`;
}

/** The inside of the braces: `port="lp1",switch="sw0"`. */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabelValue(value)}"`)
    .join();
}

function escapeLabelValue(value: string): string {
  if (!/["\\\n]/.test(value)) return value;
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
