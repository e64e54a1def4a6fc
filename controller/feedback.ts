import { setImmediate as nextTurn } from 'node:timers/promises';

import { Backoff, sleep } from '../common/backoff.js';
import { errorMessage, IovnError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Operation } from '../ovsdb/operations.js';
import type { SouthboundDatabase } from './southbound.js';

export interface FeedbackOptions {
  readonly database: SouthboundDatabase;
  /**
   * What one subject lacks in the database now; asked right before the transaction. `prefix` keeps uuid-names apart.
   */
  readonly plan: (subject: string, prefix: string) => readonly Operation[];
  readonly onTransaction: (outcome: 'ok' | 'failed', operations: number) => void;
  /** What was planned for the subject has been written. */
  readonly onWritten?: (subject: string) => void;
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly backoff?: Backoff;
}

const maxOperations = 2000;

interface Group {
  readonly subject: string;
  readonly operations: readonly Operation[];
}

/**
 * The only writer to the southbound database. Subjects are marked; what they lack is computed from the current
 * contents when their turn comes, so that a write is never older than what is known. One transaction is on its way
 * at a time and takes everything that waits; when the server refuses it, it is cut in halves until the subject
 * that is at fault stands alone.
 */
export class Feedback {
  readonly #options: FeedbackOptions;
  readonly #marked = new Set<string>();
  readonly #failures = new Map<string, string>();
  readonly #backoff: Backoff;
  #wake: (() => void) | undefined;

  constructor(options: FeedbackOptions) {
    this.#options = options;
    this.#backoff = options.backoff ?? new Backoff({ initialMs: 100, maximumMs: 10_000 });
  }

  /** The subject may lack something. */
  mark(subject: string): void {
    this.#marked.add(subject);
    this.#wake?.();
  }

  /** Forgets the subject: nothing is written for it until it is marked again. */
  forget(subject: string): void {
    this.#marked.delete(subject);
    this.#failures.delete(subject);
  }

  /** Why the last write for the subject was refused; undefined when it was not. */
  failure(subject: string): string | undefined {
    return this.#failures.get(subject);
  }

  /** Writes until `signal` aborts. */
  async run(): Promise<void> {
    const { database, signal } = this.#options;
    const wake = () => this.#wake?.();
    const stopListening = database.onStatus(wake);
    signal.addEventListener('abort', wake);
    while (!signal.aborted) {
      if (this.#marked.size === 0 || database.status.state !== 'connected') await this.#sleep();
      else await this.#round();
    }
    stopListening();
  }

  /** Waits for the next mark or change of status, and then until the current events are dealt with. */
  async #sleep(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
    await nextTurn();
  }

  async #round(): Promise<void> {
    const groups = this.#take();
    if (groups.length === 0) return;
    const failed: string[] = [];
    await this.#transact(groups, failed);
    if (failed.length === 0) this.#backoff.reset();
    else void this.#retry(failed);
  }

  /** Later, and meanwhile the others go on. */
  async #retry(failed: readonly string[]): Promise<void> {
    await sleep(this.#backoff.nextMs(), this.#options.signal);
    for (const subject of failed) this.mark(subject);
  }

  /**
   * Ports come before chassis, so that nb_cfg is never acknowledged before what it stands for is written; learnt MACs
   * (FDB) come last, so that any number of them holds up nothing else.
   */
  #take(): readonly Group[] {
    const groups: Group[] = [];
    let count = 0;
    for (const subject of [...this.#marked].sort().reverse()) {
      if (count >= maxOperations) break;
      this.#marked.delete(subject);
      const operations = this.#options.plan(subject, `s${groups.length}`);
      if (operations.length === 0) this.#failures.delete(subject);
      else groups.push({ subject, operations });
      count += operations.length;
    }
    return groups;
  }

  async #transact(groups: readonly Group[], failed: string[]): Promise<void> {
    const { database, signal, onTransaction, log } = this.#options;
    const operations = groups.flatMap((group) => group.operations);
    try {
      await database.transact(operations, { signal, timeoutMs: 15_000 });
      onTransaction('ok', operations.length);
      for (const { subject } of groups) {
        this.#failures.delete(subject);
        this.#options.onWritten?.(subject);
      }
    } catch (error) {
      if (signal.aborted) return;
      onTransaction('failed', operations.length);
      const refused = error instanceof IovnError && error.code === 'transaction_failed';
      if (refused && groups.length > 1) return this.#halve(groups, failed);
      for (const { subject } of groups) {
        failed.push(subject);
        if (refused) this.#failures.set(subject, errorMessage(error));
      }
      log.warn('southbound transaction failed, will be tried again', {
        subjects: groups.slice(0, 5).map(({ subject }) => subject),
        error: errorMessage(error),
      });
    }
  }

  async #halve(groups: readonly Group[], failed: string[]): Promise<void> {
    const middle = groups.length >> 1;
    await this.#transact(groups.slice(0, middle), failed);
    await this.#transact(groups.slice(middle), failed);
  }
}
