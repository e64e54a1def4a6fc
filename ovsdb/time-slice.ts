import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long we keep the event loop to ourselves at a stretch, in ms. */
const sliceMs = 10;

/** Shares the event loop: long work calls `pause` between its steps. */
export class TimeSlice {
  #startMs = performance.now();

  /** Undefined while the slice is not used up, else a promise for the next turn of the event loop. */
  pause(): Promise<void> | undefined {
    return performance.now() - this.#startMs < sliceMs ? undefined : this.#turn();
  }

  /** Runs all steps of a computation. */
  async run<T>(steps: Generator<undefined, T>): Promise<T> {
    let step = steps.next();
    while (step.done !== true) {
      await this.pause();
      step = steps.next();
    }
    return step.value;
  }

  async #turn(): Promise<void> {
    await nextTurn();
    this.#startMs = performance.now();
  }
}
