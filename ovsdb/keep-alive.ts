/**
 * Watches a connection for silence: after `intervalMs` without a byte received it calls `probe`, and after as long again
 * `giveUp`. Only what arrives counts, so that a dead peer is noticed while we go on sending.
 */
export class KeepAlive {
  readonly #intervalMs: number;
  readonly #probe: () => void;
  readonly #giveUp: () => void;
  #timer: NodeJS.Timeout | undefined;
  #lastReceivedMs = performance.now();
  #probed = false;

  constructor(intervalMs: number, probe: () => void, giveUp: () => void) {
    this.#intervalMs = intervalMs;
    this.#probe = probe;
    this.#giveUp = giveUp;
    this.#schedule();
  }

  received(): void {
    this.#lastReceivedMs = performance.now();
    this.#probed = false;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(): void {
    if (this.#intervalMs <= 0) return;
    const silentForMs = performance.now() - this.#lastReceivedMs;
    const limitMs = this.#probed ? this.#intervalMs * 2 : this.#intervalMs;
    this.#timer = setTimeout(() => this.#check(), Math.max(limitMs - silentForMs, 1));
  }

  #check(): void {
    const silentForMs = performance.now() - this.#lastReceivedMs;
    if (!this.#probed && silentForMs >= this.#intervalMs) {
      this.#probed = true;
      // After a long stop of this process the peer's answer still gets a full interval.
      this.#lastReceivedMs = performance.now() - this.#intervalMs;
      this.#probe();
    } else if (this.#probed && silentForMs >= this.#intervalMs * 2) {
      // What arrived while this process was busy or stopped is only read after timers: look once more then.
      setImmediate(() => {
        if (this.#timer !== undefined && this.#probed) this.#giveUp();
      });
    }
    this.#schedule();
  }
}
