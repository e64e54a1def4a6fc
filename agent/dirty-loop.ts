/** Runs rounds of work one after the other, whenever something has been marked dirty since the last one began. */
export class DirtyLoop {
  #dirty = true;
  #wake: () => void = () => undefined;

  markDirty(): void {
    this.#dirty = true;
    this.#wake();
  }

  /** Does a round at once, then one after each marking, until `signal` aborts; a round under way is finished. */
  async run(round: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const wake = (): void => this.#wake();
    signal.addEventListener('abort', wake);
    try {
      while (await this.#due(signal)) await round();
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  async #due(signal: AbortSignal): Promise<boolean> {
    while (!this.#dirty && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    /* What came together is served together. */
    await new Promise((resolve) => setImmediate(resolve));
    this.#dirty = false;
    return !signal.aborted;
  }
}
