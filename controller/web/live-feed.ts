import { setTimeout as delay } from 'node:timers/promises';

import { errorMessage } from '../../common/errors.js';
import { collect, type NodeAsker } from '../../inspect/node-answers.js';
import type { KnownNode } from '../relay/fleet-inspect.js';
import { liveView, type NodeReadings, type Reading } from './live-view.js';
import type { Live } from './shapes.js';

export interface LiveFeedOptions {
  readonly findNodes: () => readonly KnownNode[];
  readonly nodes: NodeAsker;
  /** Epoch ms. */
  readonly now: () => number;
  /** Shortest time between two questions to a node. */
  readonly intervalMs: number;
}

/** A node that takes longer is shown with what it said before; its answer counts when it comes. */
const patienceMs = 1000;
/** A reading older than this makes no rate with a new one: nobody has looked meanwhile. */
const maximumGapMs = 15_000;

interface NodeState {
  last: Reading | undefined;
  previous: Reading | undefined;
  error: string;
  pending: Promise<void> | undefined;
}

/**
 * Asks the nodes for their counters while somebody asks here: at most once per interval however many ask, and a node only once
 * at a time.
 */
export class LiveFeed {
  readonly #options: LiveFeedOptions;
  readonly #states = new Map<string, NodeState>();
  #round: Promise<Live> | undefined;
  #startedMs = Number.NEGATIVE_INFINITY;

  constructor(options: LiveFeedOptions) {
    this.#options = options;
  }

  /** What the nodes say now, or have said less than an interval ago. The same object for all who ask within an interval. */
  read(): Promise<Live> {
    const { now, intervalMs } = this.#options;
    if (this.#round !== undefined && now() - this.#startedMs < intervalMs) return this.#round;
    this.#startedMs = now();
    this.#round = this.#ask();
    return this.#round;
  }

  async #ask(): Promise<Live> {
    const { findNodes, now } = this.#options;
    const known = findNodes();
    this.#forgetAllBut(new Set(known.map(({ name }) => name)));
    const asked = known.map(async (node) => {
      const state = this.#stateOf(node.name);
      state.pending ??= this.#askNode(node.name, state).finally(() => {
        state.pending = undefined;
      });
      await state.pending;
    });
    const patience = new AbortController();
    await Promise.race([
      Promise.all(asked),
      delay(patienceMs, undefined, { signal: patience.signal }).catch(() => undefined),
    ]);
    patience.abort();
    const readings = known.map(({ name }): NodeReadings => ({ name, ...this.#stateOf(name) }));
    return liveView(readings, now());
  }

  async #askNode(name: string, state: NodeState): Promise<void> {
    const { nodes, now } = this.#options;
    try {
      const ports = await collect(nodes.ask({ ports: { port: '' } }, name), (reply) => reply.ports);
      const drops = await collect(nodes.ask({ drops: { port: '' } }, name), (reply) => reply.drops);
      const error = ports.errors.get(name) ?? drops.errors.get(name) ?? '';
      state.error = error;
      if (error !== '') return;
      const reading: Reading = {
        atMs: now(),
        ports: ports.answers.get(name) ?? [],
        drops: (drops.answers.get(name) ?? []).flatMap((piece) => piece.drops),
      };
      const gapMs = reading.atMs - (state.last?.atMs ?? Number.NEGATIVE_INFINITY);
      state.previous = gapMs > maximumGapMs ? undefined : state.last;
      state.last = reading;
    } catch (error) {
      state.error = errorMessage(error);
    }
  }

  #stateOf(name: string): NodeState {
    const state = this.#states.get(name) ?? {
      last: undefined,
      previous: undefined,
      error: '',
      pending: undefined,
    };
    this.#states.set(name, state);
    return state;
  }

  #forgetAllBut(names: ReadonlySet<string>): void {
    for (const name of this.#states.keys()) if (!names.has(name)) this.#states.delete(name);
  }
}
