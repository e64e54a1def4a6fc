export interface LineLimits {
  /** Lines of one message that may come at once. */
  readonly burst: number;
  /** How often one more may come after that. */
  readonly refillMs: number;
}

export const defaultLineLimits: LineLimits = { burst: 200, refillMs: 10_000 };

/** Messages are fixed texts of the program; should they not be, all that come after so many share one budget. */
const maximumMessages = 500;
const others = 'other messages';

interface Budget {
  lines: number;
  filledMs: number;
  suppressed: number;
}

/** Decides which lines of a log are written, so that nobody fills a disk by doing the same thing again and again. */
export class LineLimiter {
  readonly #limits: LineLimits;
  readonly #budgets = new Map<string, Budget>();

  constructor(limits = defaultLineLimits) {
    this.#limits = limits;
  }

  /** Whether a line with this message is written now; one that is not is counted. `nowMs` never goes back. */
  admit(message: string, nowMs: number): boolean {
    const budget = this.#budget(message, nowMs);
    const { burst, refillMs } = this.#limits;
    const more = Math.floor((nowMs - budget.filledMs) / refillMs);
    budget.lines = Math.min(burst, budget.lines + more);
    budget.filledMs = budget.lines === burst ? nowMs : budget.filledMs + more * refillMs;
    const isAdmitted = budget.lines > 0;
    if (isAdmitted) budget.lines -= 1;
    else budget.suppressed += 1;
    return isAdmitted;
  }

  /** How many lines were left out since the last time, by message. */
  takeSuppressed(): ReadonlyMap<string, number> {
    const taken = new Map<string, number>();
    for (const [message, budget] of this.#budgets) {
      if (budget.suppressed > 0) taken.set(message, budget.suppressed);
      budget.suppressed = 0;
    }
    return taken;
  }

  #budget(message: string, nowMs: number): Budget {
    const key = this.#budgets.has(message) || this.#budgets.size < maximumMessages ? message : others;
    const known = this.#budgets.get(key);
    if (known !== undefined) return known;
    const fresh = { lines: this.#limits.burst, filledMs: nowMs, suppressed: 0 };
    this.#budgets.set(key, fresh);
    return fresh;
  }
}
