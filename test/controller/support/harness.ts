import { ServerCredentials } from '@grpc/grpc-js';

import { createLogger, silentLogger } from '../../../common/log.js';
import { formatListenAddress } from '../../../common/listen-address.js';
import { Controller } from '../../../controller/controller.js';
import { Inspector } from '../../../controller/inspect.js';
import { createMetrics, type Metrics } from '../../../controller/metrics.js';
import { startServer } from '../../../controller/server.js';
import type { NodeAsker } from '../../../inspect/node-answers.js';
import { FakeAgent, type FakeAgentOptions } from './fake-agent.js';
import { World } from './world.js';

/** Waits until `condition` holds. Throws after `timeoutMs`. */
export async function eventually(what: string, condition: () => boolean, timeoutMs = 10_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A controller on loopback over databases in memory. */
export class Harness {
  readonly world: World;
  readonly controller: Controller;
  readonly inspector: Inspector;
  readonly address: string;
  readonly setServing: (serving: boolean) => void;
  readonly metrics: Metrics;
  /** Asks the agents that have opened their relays. */
  readonly nodes: NodeAsker;
  /** Added to the real time. */
  skewMs = 0;
  readonly #abort: AbortController;
  readonly #agents: FakeAgent[] = [];

  private constructor(
    parts: Pick<
      Harness,
      'world' | 'controller' | 'inspector' | 'address' | 'setServing' | 'metrics' | 'nodes'
    >,
    abort: AbortController,
    clock: { skew: () => number },
  ) {
    this.world = parts.world;
    this.controller = parts.controller;
    this.inspector = parts.inspector;
    this.address = parts.address;
    this.setServing = parts.setServing;
    this.metrics = parts.metrics;
    this.nodes = parts.nodes;
    this.#abort = abort;
    clock.skew = () => this.skewMs;
  }

  static async start(
    world = new World(),
    credentials = ServerCredentials.createInsecure(),
  ): Promise<Harness> {
    const abort = new AbortController();
    const { signal } = abort;
    const { nb: northbound, sb: southbound } = world;
    const clock = { skew: () => 0 };
    const metrics = createMetrics();
    const log = silentLogger;
    const now = () => Date.now() + clock.skew();
    const controller = new Controller({ northbound, southbound, metrics, signal, log, now });
    const inspector = new Inspector({ controller, northbound, southbound });
    metrics.observe(() => inspector.snapshot());
    const listen = { host: '127.0.0.1', port: 0 };
    const self = { log: createLogger('controller', 'info', { write: () => undefined }), supportFiles: [] };
    const server = await startServer({ controller, inspector, self, listen, credentials, signal, log });
    void controller.run();
    const address = formatListenAddress(server.address);
    const { nodes } = server;
    const setServing = (on: boolean) => server.setServing(on);
    return new Harness({ world, controller, inspector, address, setServing, metrics, nodes }, abort, clock);
  }

  agent(chassis: string, more: Partial<FakeAgentOptions> = {}): FakeAgent {
    const agent = new FakeAgent({ address: this.address, chassis, ...more });
    this.#agents.push(agent);
    return agent;
  }

  stop(): void {
    for (const agent of this.#agents) agent.close();
    this.#abort.abort();
  }
}
