import type { Remote } from './remotes.js';

/**
 * Which remote comes next. The order is shuffled once, so that clients spread over a cluster, and then kept; a round is
 * over when each remote has been tried.
 */
export class Rotation {
  readonly #remotes: readonly Remote[];
  #next = 0;
  #triedInRound = 0;

  /** `random` gives numbers in [0, 1). Throws RangeError without remotes. */
  constructor(remotes: readonly Remote[], random: () => number = Math.random) {
    if (remotes.length === 0) throw new RangeError('no remotes');
    this.#remotes = shuffle(remotes, random);
  }

  /** True when another remote is left to try before it is time to wait. */
  get hasUntried(): boolean {
    return this.#triedInRound < this.#remotes.length;
  }

  next(): Remote {
    const remote = this.#remotes[this.#next];
    if (remote === undefined) throw new RangeError('no remotes');
    this.#next = (this.#next + 1) % this.#remotes.length;
    this.#triedInRound++;
    return remote;
  }

  /** Begins a new round; with `triedOne`, the last remote counts as tried in it. */
  startRound(triedOne = false): void {
    this.#triedInRound = triedOne ? 1 : 0;
  }
}

function shuffle(remotes: readonly Remote[], random: () => number): readonly Remote[] {
  const shuffled = [...remotes];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const [a, b] = [shuffled[last], shuffled[other]];
    if (a !== undefined && b !== undefined) [shuffled[last], shuffled[other]] = [b, a];
  }
  return shuffled;
}
