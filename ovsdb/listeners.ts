/** Who wants to hear of something. A listener that throws is reported and does not keep the others from hearing. */
export class Listeners<E> {
  readonly #listeners = new Set<(event: E) => void>();
  readonly #report: (error: unknown) => void;

  constructor(report: (error: unknown) => void) {
    this.#report = report;
  }

  /** Returns the function that takes the listener off again. */
  add(listener: (event: E) => void): () => void {
    const own = (event: E): void => listener(event);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  emit(event: E): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        this.#report(error);
      }
    }
  }
}
