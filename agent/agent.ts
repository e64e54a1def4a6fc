import os from 'node:os';

import { Registry } from 'prom-client';

import { channelCredentials, tlsFiles } from '../common/credentials.js';
import type { AdjustableLogger } from '../common/log.js';
import { type Health, startMetricsServer } from '../common/metrics-server.js';
import { packageVersion } from '../common/package-root.js';
import { daemonFiles } from '../common/support-files.js';
import type { Update } from '../generated/proto/iovn/v1/Update.js';
import { openDatabase } from '../ovsdb/index.js';
import { decommissionNode } from './decommission.js';
import { FdbKeeper } from './fdb/fdb-keeper.js';
import { NodeInspection } from './inspect/node-inspection.js';
import type { InspectedPlane } from './inspect/inspection.js';
import { serveRelay } from './inspect/relay-client.js';
import type { Ask } from './inspect/serve-ask.js';
import { applyUpdate, emptyIntent } from './intent.js';
import { IntentCache } from './intent-cache.js';
import type { Devices } from './links.js';
import { addFdbMetrics } from './fdb/fdb-metrics.js';
import { addCollectedMetrics, createObserver } from './metrics.js';
import { Reconciler } from './reconciler.js';
import { ControllerSession } from './session.js';
import type { AgentSettings } from './settings.js';
import type { StateDir } from './state-dir.js';
import { readNodeConfig } from './vswitch/node-config.js';
import { type VswitchDatabase, vswitchTables } from './vswitch/tables.js';
import { readTopology } from './vswitch/topology.js';

const driftIntervalMs = 5000;
const retryMs = 1000;
const fdbReviewIntervalMs = 10_000;
const cacheDelayMs = 500;
const decommissionTimeoutMs = 10_000;

export interface AgentOptions {
  readonly settings: AgentSettings;
  readonly stateDir: StateDir;
  readonly dataPlane: InspectedPlane;
  readonly devices: Devices;
  readonly log: AdjustableLogger;
}

/** One hypervisor's agent: what main.ts starts, made of its parts. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #registry = new Registry();
  readonly #cache: IntentCache;
  readonly #session: ControllerSession;
  readonly #fdb: FdbKeeper;
  readonly #database: VswitchDatabase;
  readonly #inspection: NodeInspection;
  readonly #observer = createObserver(this.#registry);
  /** Ends everything. */
  readonly #life = new AbortController();
  /** Ends the reconciler only. */
  readonly #work = new AbortController();
  #reconciler: Reconciler | undefined;
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
    this.#inspection = new NodeInspection({
      dataPlane,
      devices: options.devices,
      view: () => this.#reconciler?.view,
      controller: () => this.#session.status,
      database: () => this.#database.status,
      now: Date.now,
      log,
      supportFiles: daemonFiles({
        program: 'iovn-agent',
        startedMs: Date.now(),
        settings,
        log,
        metrics: () => this.#registry.metrics(),
      }),
    });
    this.#fdb = new FdbKeeper({
      plane: this.#inspection.watched(dataPlane),
      outlet: this.#session,
      nowNs: () => process.hrtime.bigint(),
      reviewIntervalMs: fdbReviewIntervalMs,
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
  readonly ask: Ask = (query, signal) => this.#inspection.ask(query, signal);

  /** Runs until `signal` aborts or `decommission` is through. Throws what keeps it from starting. */
  async run(signal: AbortSignal): Promise<void> {
    const end = this.#endWith(signal);
    try {
      await this.#serveMetrics();
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
      const limit = AbortSignal.any([this.#life.signal, AbortSignal.timeout(decommissionTimeoutMs)]);
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
    if (this.#reconciler === undefined) return;
    const intent = applyUpdate(this.#reconciler.view.intent ?? emptyIntent, update);
    this.#cache.store(intent);
    this.#inspection.intentChanged(update);
    this.#reconciler.setIntent({ intent, stream, receivedMs: Date.now() });
  }

  /** Waits for the local database for as long as it takes: until it has been read nothing is changed. */
  async #reconcile(): Promise<void> {
    const { dataPlane, devices, log } = this.#options;
    const signal = AbortSignal.any([this.#work.signal, this.#life.signal]);
    const isRead = await this.#database.populated(signal).then(
      () => true,
      () => false,
    );
    if (!isRead) return;
    const reconciler = new Reconciler({
      database: this.#database,
      devices,
      dataPlane,
      controller: this.#session,
      observer: this.#inspection.observed(this.#observer),
      osHostname: os.hostname(),
      now: Date.now,
      driftIntervalMs,
      retryMs,
      onSettled: () => dataPlane.retireOldGenerations(),
      onKernelApplied: (intent, plugged) => this.#fdb.apply(intent, plugged),
      log,
    });
    this.#reconciler = reconciler;
    const cached = this.#cache.load();
    if (cached !== undefined) {
      log.info('using the cached intent until a controller answers', { ports: cached.ports.size });
      reconciler.setIntent({ intent: cached, stream: undefined, receivedMs: Date.now() });
    }
    await Promise.all([reconciler.run(signal), this.#fdb.run(signal)]);
  }

  async #serveMetrics(): Promise<void> {
    const { settings, dataPlane, log } = this.#options;
    addCollectedMetrics(this.#registry, {
      readCounters: (slots) => dataPlane.readCounters(slots),
      reconciler: () => this.#reconciler?.view,
      database: () => this.#database.status,
      controller: () => this.#session.status,
    });
    addFdbMetrics(this.#registry, dataPlane.fdb, () => this.#fdb.statistics());
    if (settings.metrics === undefined) return;
    await startMetricsServer({
      listen: settings.metrics,
      registry: this.#registry,
      health: () => this.#health(),
      signal: this.#life.signal,
      log,
    });
  }

  #health(): Health {
    const view = this.#reconciler?.view;
    const database = this.#database.status.state;
    const controller = this.#session.status;
    return {
      ok: database === 'connected' && controller.state === 'connected' && view?.config?.chassis !== undefined,
      database,
      controller: controller.state,
      problem: view?.config?.problem ?? this.#database.status.error ?? controller.error ?? '',
      ports: view?.state.installed.size ?? 0,
      generation_applied: view?.generationApplied ?? '0',
    };
  }
}
