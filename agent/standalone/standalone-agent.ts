import os from 'node:os';

import type { AdjustableLogger } from '../../common/log.js';
import type { Health } from '../../common/metrics-server.js';
import { AgentCore } from '../agent-core.js';
import { decommissionLocally } from '../decommission.js';
import type { LearnedOutlet } from '../fdb/sightings.js';
import type { InspectedPlane } from '../inspect/inspection.js';
import type { Ask } from '../inspect/serve-ask.js';
import type { Devices } from '../links.js';
import type { ControllerOutlet } from '../reconciler.js';
import type { AgentSettings } from '../settings.js';
import type { StandaloneFile } from './file.js';
import { standaloneUpdate } from './intent.js';
import { StandaloneNode } from './node.js';
import { WatchedFile } from './watched-file.js';

/** Nobody has to be told. */
const outlet: ControllerOutlet & LearnedOutlet = {
  setChassis: () => undefined,
  setInterfaces: () => undefined,
  setStatus: () => undefined,
  applied: () => undefined,
  sendLearned: () => true,
};

export interface StandaloneAgentOptions {
  readonly file: string;
  readonly settings: AgentSettings;
  readonly dataPlane: InspectedPlane;
  readonly devices: Devices;
  readonly log: AdjustableLogger;
}

/** An agent without OVN: its switches, ports and uplinks are those of a file, and it follows the file. */
export class StandaloneAgent {
  readonly #options: StandaloneAgentOptions;
  readonly #file: WatchedFile;
  readonly #core: AgentCore;
  readonly #life = new AbortController();
  #generation = 0;
  #taken: StandaloneFile | undefined;
  #working: Promise<void> = Promise.resolve();

  /** Throws ConfigError when the file is not valid. */
  constructor(options: StandaloneAgentOptions) {
    const { file, settings, dataPlane, devices, log } = options;
    this.#options = options;
    this.#file = new WatchedFile(file, log);
    this.#core = new AgentCore({
      dataPlane,
      devices,
      outlet,
      controller: () => {
        const { problem, sinceMs } = this.#file.status;
        return { state: 'standalone', controller: this.#file.file, sinceMs, error: problem };
      },
      databaseState: undefined,
      settings,
      log,
    });
  }

  /** Answers a question about this node (proto/node.proto NodeInspect). */
  readonly ask: Ask = (query, signal) => this.#core.ask(query, signal);

  /** Runs until `signal` aborts or `decommission` is through. Throws what keeps it from starting. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = (): void => this.#life.abort();
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    try {
      await this.#core.serveMetrics(() => this.#health(), this.#life.signal);
      this.#working = this.#reconcile();
      await this.#working;
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
  }

  /** Takes everything out of the kernel, in the place of `run` or while it runs, which ends then. Resolves with what could not be done. */
  async decommission(): Promise<readonly string[]> {
    this.#life.abort();
    await this.#working;
    return decommissionLocally(this.#options);
  }

  async #reconcile(): Promise<void> {
    const name = os.hostname();
    const node = new StandaloneNode({
      name,
      devices: this.#options.devices,
      file: () => this.#file.content,
      problem: () => this.#file.status.problem,
      onChange: (listener) => this.#file.onChange(listener),
    });
    const takeFile = (): void => this.#takeFile(name);
    const forget = this.#file.onChange(takeFile);
    await this.#core.run(node, this.#life.signal, () => {
      takeFile();
      this.#file.follow(this.#life.signal);
    });
    forget();
  }

  /** A fault in the file changes nothing that is wanted. */
  #takeFile(chassis: string): void {
    const { content } = this.#file;
    if (content === this.#taken) return;
    this.#taken = content;
    this.#generation += 1;
    const intent = this.#core.take(standaloneUpdate(content, chassis, this.#generation));
    this.#core.setIntent({ intent, stream: 0, receivedMs: Date.now() });
  }

  #health(): Health {
    const { problem } = this.#file.status;
    return { ok: problem === undefined, problem: problem ?? '', ...this.#core.health };
  }
}
