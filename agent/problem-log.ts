import type { Fields, Logger } from '../common/log.js';

/** Logs a set of problems as it changes: each once when it appears or changes, and once when it is over. */
export class ProblemLog {
  readonly #log: Logger;
  readonly #what: string;
  #current: ReadonlyMap<string, string> = new Map();

  /** `what` begins the fixed messages: "interface" gives "interface problem" and "interface problem is over". */
  constructor(log: Logger, what: string) {
    this.#log = log;
    this.#what = what;
  }

  /** Takes the problems there are now, by the name of what they are about. */
  update(problems: ReadonlyMap<string, string>): void {
    const fieldsOf = (name: string, problem: string): Fields => ({ [this.#what]: name, problem });
    for (const [name, problem] of problems) {
      if (this.#current.get(name) !== problem)
        this.#log.warn(`${this.#what} problem`, fieldsOf(name, problem));
    }
    for (const [name, problem] of this.#current) {
      if (!problems.has(name)) this.#log.info(`${this.#what} problem is over`, fieldsOf(name, problem));
    }
    this.#current = problems;
  }
}
