/** One line of the Prometheus text format. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const sampleLine = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;

/** Reads what prom-client writes; comments are skipped. */
export function parseMetrics(text: string): readonly Sample[] {
  return text.split('\n').flatMap((line) => {
    const match = line.startsWith('#') ? null : sampleLine.exec(line);
    if (match === null) return [];
    const labels = Array.from((match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g));
    return [
      {
        name: match[1] ?? '',
        labels: Object.fromEntries(labels.map(([, key = '', value = '']) => [key, value])),
        value: Number(match[3]),
      },
    ];
  });
}

/** The sum over all samples of that name with those labels; 0 when there is none. */
export function sumOf(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  return samples
    .filter((sample) => sample.name === name)
    .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
    .reduce((sum, { value }) => sum + value, 0);
}
