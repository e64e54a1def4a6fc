import os from 'node:os';

import { channelCredentials, tlsFiles } from '../common/credentials.js';
import { deadline } from '../common/deadline.js';
import type { AdjustableLogger } from '../common/log.js';
import type { Health } from '../common/metrics-server.js';
import { packageVersion } from '../common/package-root.js';
import type { Update } from '../generated/proto/iovn/v1/Update.js';
import { openDatabase } from '../ovsdb/index.js';
import { AgentCore } from './agent-core.js';
import { decommissionNode } from './decommission.js';
import type { InspectedPlane } from './inspect/inspection.js';
import { serveRelay } from './inspect/relay-client.js';
import type { Ask } from './inspect/serve-ask.js';
import { IntentCache } from './intent-cache.js';
import type { Devices } from './links.js';
import { ControllerSession } from './session.js';
import type { AgentSettings } from './settings.js';
import type { StateDir } from './state-dir.js';
import { readNodeConfig } from './vswitch/node-config.js';
import { type VswitchDatabase, vswitchTables } from './vswitch/tables.js';
import { readTopology } from './vswitch/topology.js';
import { VswitchNode } from './vswitch/vswitch-node.js';

const cacheDelayMs = 500;
const decommissionTimeoutMs = 10_000;

export interface AgentOptions {
  readonly settings: AgentSettings;
  readonly stateDir: StateDir;
  readonly dataPlane: InspectedPlane;
  readonly devices: Devices;
  readonly log: AdjustableLogger;
}

/** One hypervisor's agent, which has its intent from a controller and its interfaces from the local Open_vSwitch database. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #cache: IntentCache;
  readonly #session: ControllerSession;
  readonly #database: VswitchDatabase;
  readonly #core: AgentCore;
  /** Ends everything. */
  readonly #life = new AbortController();
  /** Ends the reconciler only. */
  readonly #work = new AbortController();
  #working: Promise<void> = Promise.resolve();

  /** Connects to nothing yet but the database. Throws ConfigError. */
  constructor(options: AgentOptions) {
    const { settings, stateDir, log, dataPlane } = options;
    this.#options = options;
    this.#cache = new IntentCache(stateDir, cacheDelayMs, log);
    this.#session = new ControllerSession({
      controllers: settings.controllers,
      credentials: (address) => channelCredentials(settings, address),
      identity: {
        agent_id: stateDir.agentId(),
        agent_version: packageVersion,
        kernel_release: os.release(),
        kernel_features: [dataPlane.attachMode],
      },
      onUpdate: (update, stream) => this.#takeUpdate(update, stream),
      serveRelay: (client, hello, signal) => void serveRelay(client, hello, this.ask, log, signal),
      now: Date.now,
      log,
    });
    this.#core = new AgentCore({
      dataPlane,
      devices: options.devices,
      outlet: this.#session,
      controller: () => this.#session.status,
      databaseState: () => this.#database.status.state,
      settings,
      log,
    });
    const files = tlsFiles(settings);
    this.#database = openDatabase({
      name: 'Open_vSwitch',
      remote: settings.ovsdb,
      tables: vswitchTables,
      ...(files === undefined ? {} : { tls: files }),
      signal: this.#life.signal,
      log,
    });
  }

  /** Answers a question about this node (proto/node.proto NodeInspect). */
  readonly ask: Ask = (query, signal) => this.#core.ask(query, signal);

  /** Runs until `signal` aborts or `decommission` is through. Throws what keeps it from starting. */
  async run(signal: AbortSignal): Promise<void> {
    const end = this.#endWith(signal);
    try {
      await this.#core.serveMetrics(() => this.#health(), this.#life.signal);
      const session = this.#session.run(this.#life.signal);
      this.#working = this.#reconcile();
      await Promise.all([session, this.#working]);
    } finally {
      end();
      this.#cache.flush();
    }
  }

  /** Takes the node out, in the place of `run` or while it runs, which ends then. Resolves with what could not be done. */
  async decommission(): Promise<readonly string[]> {
    this.#work.abort();
    await this.#working;
    const { dataPlane, devices } = this.#options;
    const problems = await decommissionNode({
      session: this.#session,
      dataPlane,
      devices,
      database: this.#database,
      cache: this.#cache,
      timeoutMs: decommissionTimeoutMs,
      signal: this.#life.signal,
    });
    this.#life.abort();
    return problems;
  }

  /** `decommission` for a node on which no agent runs. */
  async decommissionAlone(signal: AbortSignal): Promise<readonly string[]> {
    const end = this.#endWith(signal);
    try {
      const limit = deadline(this.#life.signal, decommissionTimeoutMs);
      const isRead = await this.#database.populated(limit).then(
        () => true,
        () => false,
      );
      const { chassis, controller } = readNodeConfig(readTopology(this.#database.tables), os.hostname());
      this.#session.setInterfaces([]);
      this.#session.setChassis(chassis, controller);
      const session = this.#session.run(this.#life.signal);
      const problems = await this.decommission();
      await session;
      const remote = this.#options.settings.ovsdb;
      return isRead ? problems : [`the local database ${remote} can not be reached`, ...problems];
    } finally {
      end();
    }
  }

  /** Aborts everything when `signal` does. Returns what does it in any case. */
  #endWith(signal: AbortSignal): () => void {
    const stop = (): void => {
      this.#work.abort();
      this.#life.abort();
    };
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    return () => {
      signal.removeEventListener('abort', stop);
      stop();
    };
  }

  #takeUpdate(update: Update, stream: number): void {
    if (this.#core.view === undefined) return;
    const intent = this.#core.take(update);
    this.#cache.store(intent);
    this.#core.setIntent({ intent, stream, receivedMs: Date.now() });
  }

  /** Waits for the local database for as long as it takes: until it has been read nothing is changed. */
  async #reconcile(): Promise<void> {
    const { devices, log } = this.#options;
    const signal = AbortSignal.any([this.#work.signal, this.#life.signal]);
    const isRead = await this.#database.populated(signal).then(
      () => true,
      () => false,
    );
    if (!isRead) return;
    const node = new VswitchNode({ database: this.#database, devices, osHostname: os.hostname(), log });
    await this.#core.run(node, signal, () => this.#useCachedIntent());
  }

  #useCachedIntent(): void {
    const intent = this.#cache.load();
    if (intent === undefined) return;
    const { log } = this.#options;
    log.info('using the cached intent until a controller answers', { ports: intent.ports.size });
    this.#core.setIntent({ intent, stream: undefined, receivedMs: Date.now() });
  }

  #health(): Health {
    const config = this.#core.view?.config;
    const database = this.#database.status.state;
    const controller = this.#session.status;
    return {
      ok: database === 'connected' && controller.state === 'connected' && config?.chassis !== undefined,
      database,
      controller: controller.state,
      problem: config?.problem ?? this.#database.status.error ?? controller.error ?? '',
      ...this.#core.health,
    };
  }
}
