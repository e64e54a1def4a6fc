const intervalMs = 10_000;

interface Account {
  sinceMs: number;
  readonly counts: Map<string, number>;
}

/** Sums up refusals by node and reason, so that a node that repeats itself does not fill the log. */
export class RefusalLog {
  readonly #accounts = new Map<string, Account>();

  /** What to log: all that came since the last time, at most every 10 s for each node. */
  add(node: string, codes: readonly string[], nowMs: number): Readonly<Record<string, number>> | undefined {
    if (codes.length === 0) return undefined;
    const account = this.#accounts.get(node) ?? {
      sinceMs: Number.NEGATIVE_INFINITY,
      counts: new Map<string, number>(),
    };
    this.#accounts.set(node, account);
    for (const code of codes) account.counts.set(code, (account.counts.get(code) ?? 0) + 1);
    if (nowMs - account.sinceMs < intervalMs) return undefined;
    const summary = Object.fromEntries(account.counts);
    account.sinceMs = nowMs;
    account.counts.clear();
    return summary;
  }
}
