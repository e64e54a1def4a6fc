import { type Metric, metrics, type Sample } from './measure.js';

export interface Spread {
  readonly median: number;
  readonly minimum: number;
  readonly maximum: number;
}

export interface Result {
  readonly topology: string;
  readonly spreads: Readonly<Record<Metric, Spread>>;
}

const titles: Readonly<Record<Metric, string>> = {
  tcpGbitPerSecond: 'TCP, Gbit/s',
  packetsPerSecond: '64-byte packets/s, thousands',
  cpuNsPerPacket: 'CPU per packet, µs',
  roundTripP50Us: 'round trip p50, µs',
  roundTripP99Us: 'round trip p99, µs',
};

const shown: Readonly<Record<Metric, (value: number) => string>> = {
  tcpGbitPerSecond: (value) => value.toFixed(1),
  packetsPerSecond: (value) => (value / 1000).toFixed(0),
  cpuNsPerPacket: (value) => (value / 1000).toFixed(2),
  roundTripP50Us: (value) => value.toFixed(1),
  roundTripP99Us: (value) => value.toFixed(0),
};

function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  return { median: at(sorted.length >> 1), minimum: at(0), maximum: at(sorted.length - 1) };
}

export function summarize(topology: string, samples: readonly Sample[]): Result {
  const spreads = Object.fromEntries(
    metrics.map((metric) => [metric, spreadOf(samples.map((sample) => sample[metric]))]),
  ) as Record<Metric, Spread>;
  return { topology, spreads };
}

function cell(metric: Metric, { median, minimum, maximum }: Spread): string {
  const show = shown[metric];
  return `${show(median)} (${show(minimum)}–${show(maximum)})`;
}

/** A table of medians with the smallest and largest value, and what CPU per packet and round trips are against the first. */
export function markdown(results: readonly Result[], about: string): string {
  const [floor] = results;
  const ratio = (result: Result, metric: Metric): string =>
    (result.spreads[metric].median / (floor?.spreads[metric].median ?? Number.NaN)).toFixed(2);
  const rows = results.map((result) =>
    [
      result.topology,
      ratio(result, 'cpuNsPerPacket'),
      ratio(result, 'roundTripP50Us'),
      ...metrics.map((metric) => cell(metric, result.spreads[metric])),
    ].join(' | '),
  );
  return [
    '# Node to node',
    '',
    about,
    '',
    `| | CPU per packet, × the first | round trip p50, × the first | ${metrics.map((metric) => titles[metric]).join(' | ')} |`,
    `|---|---:|---:|${metrics.map(() => '---:|').join('')}`,
    ...rows.map((row) => `| ${row} |`),
    '',
  ].join('\n');
}
