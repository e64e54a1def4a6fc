import type { ControllerMessageInput } from '../generated/proto/iovn/v1/ControllerMessage.js';
import { type NodeView, planUpdate } from './update-plan.js';

/** Generations that an agent may leave unanswered before it is sent another. */
const maxUnanswered = 8;

interface Generation {
  readonly number: number;
  readonly nbCfg: number;
}

export interface Wanted {
  readonly nbCfg: number;
  readonly view: NodeView;
}

/** What an agent's answer means. */
export interface Answer {
  readonly nbCfg: number;
}

/**
 * What one stream has been sent and what it has answered. At most one update is on its way to the socket; what
 * comes meanwhile is merged, since the next update is the difference to what was sent last.
 */
export class NodeSession {
  readonly #write: (message: ControllerMessageInput, written: () => void) => void;
  /** Called when another update may go out after one was held back. */
  readonly #onReady: () => void;
  #sent: NodeView = new Map();
  #sentNbCfg: number | undefined;
  #generation = 0;
  #unanswered: readonly Generation[] = [];
  #writing = false;
  #heldBack = false;

  constructor(write: (message: ControllerMessageInput, written: () => void) => void, onReady: () => void) {
    this.#write = write;
    this.#onReady = onReady;
  }

  get generation(): number {
    return this.#generation;
  }

  /** Sends what the agent lacks, if anything and if it can take it; returns how many resources went out. */
  push({ nbCfg, view }: Wanted): number {
    if (this.#writing || this.#unanswered.length >= maxUnanswered) {
      this.#heldBack = true;
      return 0;
    }
    const snapshot = this.#generation === 0;
    const { changed, removed } = planUpdate(this.#sent, view);
    if (!snapshot && changed.length === 0 && removed.length === 0 && nbCfg === this.#sentNbCfg) return 0;
    this.#generation += 1;
    this.#sent = view;
    this.#sentNbCfg = nbCfg;
    this.#unanswered = [...this.#unanswered, { number: this.#generation, nbCfg }];
    this.#writing = true;
    const update = {
      generation: this.#generation,
      nb_cfg: nbCfg,
      snapshot,
      changed: changed.map(({ kind, name, body }) => ({ id: { kind, name }, body })),
      removed: removed.map(({ kind, name }) => ({ kind, name })),
    };
    this.#write({ update }, () => this.#written());
    return changed.length + removed.length;
  }

  /** Takes in an Applied; undefined when it answers nothing that is open. */
  applied(generation: number): Answer | undefined {
    const answered = this.#unanswered.filter(({ number }) => number <= generation);
    const last = answered.at(-1);
    if (last === undefined) return undefined;
    this.#unanswered = this.#unanswered.slice(answered.length);
    this.#resume();
    return { nbCfg: last.nbCfg };
  }

  #written(): void {
    this.#writing = false;
    this.#resume();
  }

  #resume(): void {
    if (!this.#heldBack || this.#writing || this.#unanswered.length >= maxUnanswered) return;
    this.#heldBack = false;
    this.#onReady();
  }
}
