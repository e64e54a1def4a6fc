import { Counter, type CounterConfiguration, type LabelValues } from 'prom-client';

export interface Series<L extends string> {
  readonly labels: LabelValues<L>;
  readonly value: number;
}

/**
 * A counter whose series are computed at the scrape, each once: they are handed over as they are, where `inc` would validate
 * and hash the labels of every one.
 */
export class ScrapedCounter<L extends string> extends Counter<L> {
  readonly #series: () => readonly Series<L>[];

  constructor(configuration: CounterConfiguration<L>, series: () => readonly Series<L>[]) {
    super(configuration);
    this.#series = series;
  }

  override async get(): ReturnType<Counter<L>['get']> {
    return { ...(await super.get()), values: [...this.#series()] };
  }
}
