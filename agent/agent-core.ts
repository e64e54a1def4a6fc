import { Registry } from 'prom-client';

import { exposition } from '../common/exposition.js';
import type { AdjustableLogger } from '../common/log.js';
import { type Health, startMetricsServer } from '../common/metrics-server.js';
import { daemonFiles } from '../common/support-files.js';
import type { Update } from '../generated/proto/iovn/v1/Update.js';
import { Announcer } from './localnet/announcer.js';
import { FdbKeeper } from './fdb/fdb-keeper.js';
import { addFdbMetrics } from './fdb/fdb-metrics.js';
import type { LearnedOutlet } from './fdb/sightings.js';
import type { InspectedPlane } from './inspect/inspection.js';
import { NodeInspection } from './inspect/node-inspection.js';
import type { Ask } from './inspect/serve-ask.js';
import { applyUpdate, emptyIntent, type Intent } from './intent.js';
import type { Devices } from './links.js';
import type { LocalNode } from './local-node.js';
import { addCollectedMetrics, addConnectionMetrics, createObserver } from './metrics.js';
import { PortMetrics } from './port-metrics.js';
import { type ControllerOutlet, type KnownIntent, Reconciler, type ReconcilerView } from './reconciler.js';
import type { IntentSourceStatus } from './session.js';
import type { AgentSettings } from './settings.js';

const driftIntervalMs = 5000;
const retryMs = 1000;
const fdbReviewIntervalMs = 10_000;

export interface AgentCoreOptions {
  readonly dataPlane: InspectedPlane;
  readonly devices: Devices;
  /** Hears what becomes of the intent. */
  readonly outlet: ControllerOutlet & LearnedOutlet;
  readonly controller: () => IntentSourceStatus;
  /** State of the connection to the local database; undefined of an agent that needs none, and no controller. */
  readonly databaseState: (() => string) | undefined;
  readonly settings: AgentSettings;
  readonly log: AdjustableLogger;
}

/** What every agent is made of, wherever its intent comes from: reconciler, learnt MACs, announcements, metrics, answers about the node. */
export class AgentCore {
  readonly #options: AgentCoreOptions;
  readonly #registry = new Registry();
  readonly #observer = createObserver(this.#registry);
  readonly #inspection: NodeInspection;
  readonly #fdb: FdbKeeper;
  readonly #ports: PortMetrics;
  readonly #announcer: Announcer;
  #reconciler: Reconciler | undefined;

  constructor(options: AgentCoreOptions) {
    const { settings, dataPlane, devices, outlet, controller, databaseState, log } = options;
    this.#options = options;
    this.#inspection = new NodeInspection({
      dataPlane,
      devices,
      view: () => this.view,
      controller,
      databaseState: databaseState ?? (() => ''),
      now: Date.now,
      log,
      supportFiles: daemonFiles({
        program: 'iovn-agent',
        startedMs: Date.now(),
        settings,
        log,
        metrics: () => this.#metricsText(),
      }),
    });
    this.#fdb = new FdbKeeper({
      plane: this.#inspection.watched(dataPlane),
      outlet,
      nowNs: () => process.hrtime.bigint(),
      reviewIntervalMs: fdbReviewIntervalMs,
      log,
    });
    this.#announcer = new Announcer(dataPlane, log);
    this.#ports = new PortMetrics({
      readCounters: (slots) => dataPlane.readCounters(slots),
      reconciler: () => this.view,
    });
    addCollectedMetrics(this.#registry, { reconciler: () => this.view });
    if (databaseState !== undefined) addConnectionMetrics(this.#registry, { controller, databaseState });
    addFdbMetrics(this.#registry, dataPlane.fdb, () => this.#fdb.statistics());
  }

  /** Undefined before `run` has begun. */
  get view(): ReconcilerView | undefined {
    return this.#reconciler?.view;
  }

  /** Answers a question about this node (proto/node.proto NodeInspect). */
  readonly ask: Ask = (query, signal) => this.#inspection.ask(query, signal);

  /** What the node's intent is after an update; it is not acted on before `setIntent`. */
  take(update: Update): Intent {
    this.#inspection.intentChanged(update);
    return applyUpdate(this.view?.intent ?? emptyIntent, update);
  }

  /** What is wanted from now on; ignored before `run` has begun. */
  setIntent(known: KnownIntent): void {
    this.#reconciler?.setIntent(known);
  }

  /** Reconciles until `signal` aborts; `begun` is called when intent can be set. */
  async run(node: LocalNode, signal: AbortSignal, begun: () => void): Promise<void> {
    const { settings, dataPlane, devices, outlet, log } = this.#options;
    const reconciler = new Reconciler({
      node,
      devices,
      dataPlane,
      controller: outlet,
      observer: this.#inspection.observed(this.#observer),
      geneve: settings.geneve,
      now: Date.now,
      driftIntervalMs,
      retryMs,
      onSettled: () => dataPlane.retireOldGenerations(),
      onKernelApplied: (intent, plugged) => {
        this.#fdb.apply(intent, plugged);
        this.#announcer.apply(plugged);
      },
      log,
    });
    this.#reconciler = reconciler;
    signal.addEventListener('abort', () => this.#announcer.stop());
    begun();
    await Promise.all([reconciler.run(signal), this.#fdb.run(signal)]);
  }

  /** Serves /metrics and /healthz, if anywhere, until `signal` aborts. Rejects with ConfigError when it can't listen there. */
  async serveMetrics(health: () => Health, signal: AbortSignal): Promise<void> {
    const { settings, log } = this.#options;
    const { metrics: listen } = settings;
    if (listen === undefined) return;
    const [registry, bulk] = [this.#registry, this.#ports];
    await startMetricsServer({ listen, registry, bulk, health, signal, log });
  }

  async #metricsText(): Promise<string> {
    let text = '';
    for await (const piece of exposition(this.#registry, this.#ports)) text += piece;
    return text;
  }

  /** What /healthz says of every agent. */
  get health(): { readonly ports: number; readonly generation_applied: string } {
    return {
      ports: this.view?.state.installed.size ?? 0,
      generation_applied: this.view?.generationApplied ?? '0',
    };
  }
}
