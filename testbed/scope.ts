/** May return a promise, which is awaited. */
type Cleanup = () => unknown;

/** What has been made and must go again, in reverse order. */
export class Scope {
  readonly #cleanups: { readonly name: string; readonly cleanup: Cleanup }[] = [];

  defer(name: string, cleanup: Cleanup): void {
    this.#cleanups.push({ name, cleanup });
  }

  /** Runs all of it, whatever fails in between. Throws AggregateError when something did. */
  async close(): Promise<void> {
    const errors: Error[] = [];
    for (let last = this.#cleanups.pop(); last !== undefined; last = this.#cleanups.pop()) {
      try {
        await last.cleanup();
      } catch (cause) {
        errors.push(new Error(`cleaning up ${last.name} failed`, { cause }));
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, errors.map((error) => error.message).join('; '));
  }
}
