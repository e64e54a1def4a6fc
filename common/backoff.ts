import { setTimeout as delay } from 'node:timers/promises';

/** Waits; resolves early and quietly when `signal` aborts, so that callers check the signal, not an exception. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: true }).catch(() => undefined);
}

export interface BackoffOptions {
  readonly initialMs: number;
  readonly maximumMs: number;
  /** In [0, 1); replaced in tests. */
  readonly random?: () => number;
}

/** Exponential back-off, capped, with full jitter over the upper half of each step. */
export class Backoff {
  readonly #options: BackoffOptions;
  #stepMs: number;

  constructor(options: BackoffOptions) {
    this.#options = options;
    this.#stepMs = options.initialMs;
  }

  /** The next delay, between half of the step and the step; each call doubles the step up to the cap. */
  nextMs(): number {
    const stepMs = this.#stepMs;
    this.#stepMs = Math.min(stepMs * 2, this.#options.maximumMs);
    return stepMs / 2 + ((this.#options.random ?? Math.random)() * stepMs) / 2;
  }

  /** Starts again from the initial step: call when something has worked. */
  reset(): void {
    this.#stepMs = this.#options.initialMs;
  }
}
