import { errorMessage } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { AgentStatusInput } from '../generated/proto/iovn/v1/AgentStatus.js';
import type { AppliedInput } from '../generated/proto/iovn/v1/Applied.js';
import type { InterfaceInput } from '../generated/proto/iovn/v1/Interface.js';
import type { DataPlane, TableUsage } from './data-plane.js';
import type { Desired } from './desired.js';
import { DirtyLoop } from './dirty-loop.js';
import type { Intent } from './intent.js';
import {
  attachmentFailures,
  type InstallState,
  nothingInstalled,
  reportInterfaces,
} from './interface-report.js';
import { KernelApplier, type MapRefusals } from './kernel-applier.js';
import type { Devices } from './links.js';
import { type KernelProgress, type LocalNode, type NodeState, nothingKnown } from './local-node.js';
import type { PluggedPort } from './modules/io-module.js';
import { ProblemLog } from './problem-log.js';
import { setPromiscuity } from './localnet/promiscuity.js';
import { reportTunnel } from './tunnels/tunnel-report.js';
import type { ResourceProblem } from './resources.js';
import { SeenTimes } from './seen-times.js';
import type { GeneveMode } from './settings.js';
import { type DeviceProblems, type NeededDevices, TunnelDevices } from './tunnels/tunnel-devices.js';
import { type Tunnel, tunnelTypes } from './tunnels/tunnels.js';
import type { VifInterface } from './vswitch/interfaces.js';
import type { ChassisConfig } from './vswitch/node-config.js';

/** Where the intent came from: a stream's number, or undefined for the cache. */
export interface KnownIntent {
  readonly intent: Intent;
  readonly stream: number | undefined;
  readonly receivedMs: number;
}

/** The way to the controller, as the reconciler sees it: it sends what it is given when it can. */
export interface ControllerOutlet {
  setChassis(chassis: ChassisConfig | undefined, controller: string | undefined): void;
  setInterfaces(interfaces: readonly InterfaceInput[]): void;
  setStatus(status: AgentStatusInput): void;
  /** Ignored when `stream` is not the present one. */
  applied(stream: number, answer: AppliedInput): void;
}

export interface Observer {
  applied(seconds: number): void;
  portInstalled(secondsSinceSeen: number): void;
}

export interface ReconcilerOptions {
  readonly node: LocalNode;
  readonly devices: Devices;
  readonly dataPlane: DataPlane;
  readonly controller: ControllerOutlet;
  readonly observer: Observer;
  readonly geneve: GeneveMode;
  /** Epoch ms. */
  readonly now: () => number;
  readonly driftIntervalMs: number;
  readonly retryMs: number;
  /** Called once, when everything that is wanted is in the kernel for the first time. */
  readonly onSettled: () => void;
  /** Called when a round has brought the kernel in line with the intent. What it throws fails the round. */
  readonly onKernelApplied?: (intent: Intent, plugged: readonly PluggedPort[]) => void;
  readonly log: Logger;
}

/** What the reconciler last saw and did, for metrics and health. */
export interface ReconcilerView {
  readonly config: NodeState['config'] | undefined;
  readonly intent: Intent | undefined;
  readonly interfaces: readonly VifInterface[];
  readonly plugged: readonly PluggedPort[];
  readonly state: InstallState;
  readonly attachments: number;
  readonly tunnels: readonly Tunnel[];
  /** What the kernel should hold; undefined until that is known. */
  readonly wanted: Desired | undefined;
  readonly usage: readonly TableUsage[];
  readonly refusals: MapRefusals;
  readonly driftRepaired: number;
  readonly generationApplied: string;
  readonly actsForVswitchd: boolean;
}

/**
 * Keeps the kernel and the local database in line with the intent. Events only mark dirty; one loop does rounds, and a
 * round takes everything as it is at its start: rows and links → report to the controller → answer to ovs-vsctl → kernel →
 * marks of installed ports → answer to the controller.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #kernel: KernelApplier;
  readonly #loop = new DirtyLoop();
  readonly #tunnelDevices: TunnelDevices;
  readonly #seen: SeenTimes;
  readonly #startedMs: number;
  readonly #logs: Readonly<Record<'node' | 'interface' | 'resource', ProblemLog>>;
  #known: KnownIntent | undefined;
  #config: NodeState['config'] | undefined;
  #interfaces: readonly VifInterface[] = [];
  #state: InstallState = nothingInstalled;
  #answered: KnownIntent | undefined;
  #answeredErrors = '';
  #driftRepaired = 0;
  #driftDue = false;
  #settled = false;

  /** Throws KernelError when the kernel can't be read. */
  constructor(options: ReconcilerOptions) {
    const { log, dataPlane } = options;
    this.#options = options;
    this.#kernel = new KernelApplier(dataPlane, log);
    this.#tunnelDevices = new TunnelDevices(options.devices, options.geneve, options.now);
    this.#seen = new SeenTimes(options.now);
    this.#startedMs = options.now();
    this.#logs = {
      node: new ProblemLog(log, 'node'),
      interface: new ProblemLog(log, 'interface'),
      resource: new ProblemLog(log, 'resource'),
    };
  }

  get view(): ReconcilerView {
    return {
      config: this.#config,
      intent: this.#known?.intent,
      interfaces: this.#interfaces,
      plugged: this.#kernel.plugged,
      state: this.#state,
      attachments: this.#kernel.attachmentCount,
      tunnels: this.#kernel.tunnels,
      wanted: this.#kernel.wanted,
      usage: this.#kernel.usage,
      refusals: this.#kernel.refusals,
      driftRepaired: this.#driftRepaired,
      generationApplied: this.#answered?.intent.generation ?? '0',
      actsForVswitchd: this.#options.node.actsForVswitchd,
    };
  }

  /** Takes in what is wanted from now on. */
  setIntent(known: KnownIntent): void {
    this.#known = known;
    this.#loop.markDirty();
  }

  /** Does rounds until `signal` aborts; a round under way is finished. */
  async run(signal: AbortSignal): Promise<void> {
    const { node, dataPlane, devices, driftIntervalMs } = this.#options;
    const markDirty = (): void => this.#loop.markDirty();
    dataPlane.onActivation(markDirty);
    const subscriptions = [node.onChange(markDirty), devices.onChange(markDirty)];
    const drift = setInterval(() => {
      this.#driftDue = true;
      markDirty();
    }, driftIntervalMs);
    try {
      await this.#loop.run(() => this.#guardedRound(), signal);
    } finally {
      clearInterval(drift);
      for (const unsubscribe of subscriptions) unsubscribe();
    }
  }

  async #guardedRound(): Promise<void> {
    const problems = new Map<string, string>();
    try {
      await this.#round(problems);
    } catch (error) {
      problems.set('round', errorMessage(error));
      this.#retryLater();
    }
    this.#logs.node.update(problems);
  }

  #retryLater(): void {
    setTimeout(() => this.#loop.markDirty(), this.#options.retryMs).unref();
  }

  async #round(problems: Map<string, string>): Promise<void> {
    const { controller, devices, node } = this.#options;
    const state = node.read();
    const { config, interfaces, uplinks } = state;
    this.#config = config;
    if (config.problem !== undefined) problems.set('configuration', config.problem);
    for (const warning of config.warnings) problems.set(warning, warning);
    const deviceProblems = new Map(state.deviceProblems);
    const needed = this.#neededDevices(config);
    const devicesCome = needed !== undefined && this.#tunnelDevices.prepare(needed, deviceProblems);

    this.#interfaces = interfaces;
    this.#seen.update(interfaces);
    controller.setInterfaces(reportInterfaces(interfaces, this.#state));
    controller.setChassis(config.chassis, config.controller);
    await this.#report(state);

    const known = this.#known;
    const former = this.#kernel.uplinks;
    const applied = this.#applyKernel(known, config.chassis, uplinks);
    if (applied && needed)
      this.#tunnelDevices.finish(needed, (hook) => this.#kernel.hasHook(hook), deviceProblems);
    for (const [name, problem] of setPromiscuity(devices, this.#kernel.uplinks, former)) {
      deviceProblems.set(name, problem);
    }
    this.#reportDevices(deviceProblems, problems);
    controller.setInterfaces(reportInterfaces(this.#interfaces, this.#state));
    // What needs these devices is not in the kernel before the round that their notification brings.
    const reached = applied && !devicesCome ? known : undefined;
    await this.#report(state, {
      installed: applied ? new Set(this.#state.installed.keys()) : undefined,
      progress: reached && { nbCfg: reached.intent.nbCfg, startedMs: this.#startedMs },
    });
    if (reached) this.#answer(reached);
    this.#logProblems();
  }

  async #report(state: NodeState, known: KernelProgress = nothingKnown): Promise<void> {
    const told = await this.#options.node.report(state, known, this.#options.now());
    if (!told) this.#retryLater();
  }

  /** Of the devices that tunnels need, those that the intent asks for; undefined while it is not known. */
  #neededDevices(config: NodeState['config']): NeededDevices | undefined {
    const others = this.#known?.intent.chassis;
    if (others === undefined || config.chassis === undefined) return undefined;
    return { relay: others.size > 0, tunnels: tunnelTypes(others, config.chassis.encaps) };
  }

  #reportDevices(deviceProblems: DeviceProblems, problems: Map<string, string>): void {
    if (deviceProblems.size > 0) this.#retryLater();
    for (const [name, message] of deviceProblems) problems.set(`device ${name}`, message);
  }

  /** True when the kernel is now as the intent wants it; false while that or the chassis is not known, and nothing is removed. */
  #applyKernel(
    known: KnownIntent | undefined,
    chassis: ChassisConfig | undefined,
    uplinks: NodeState['uplinks'],
  ): boolean {
    if (this.#driftDue) this.#checkDrift();
    if (known === undefined || chassis === undefined) {
      const { failures, again } = this.#kernel.attachOnly(this.#interfaces);
      this.#state = { ...this.#state, unattached: attachmentFailures(failures) };
      if (again) this.#loop.markDirty();
      return false;
    }
    const { state, again } = this.#kernel.apply(
      known.intent,
      this.#interfaces,
      chassis,
      this.#tunnelDevices.underlay,
      uplinks,
    );
    this.#state = state;
    this.#options.onKernelApplied?.(known.intent, this.#kernel.plugged);
    for (const seconds of this.#seen.installed(state.installed.keys())) {
      this.#options.observer.portInstalled(seconds);
    }
    if (again) this.#loop.markDirty();
    if (!this.#settled && !again && state.failed.size === 0 && state.unattached.size === 0) {
      this.#settled = true;
      this.#options.onSettled();
    }
    return true;
  }

  #checkDrift(): void {
    this.#driftDue = false;
    this.#driftRepaired += this.#kernel.checkDrift();
    const { controller, dataPlane } = this.#options;
    controller.setStatus({
      drift_repaired: this.#driftRepaired,
      attach_mode: dataPlane.attachMode,
      tunnels: this.#kernel.tunnels.map((tunnel) => reportTunnel(tunnel, this.#options.devices.links)),
      own_geneve: this.#ownGeneve(),
      maps: this.#kernel.usage.map((usage) => ({ ...usage })),
    });
  }

  /** Why Geneve packets are made by our own program; "" where they are not. */
  #ownGeneve(): string {
    const isUsed = this.#kernel.tunnels.some(({ type, byDevice }) => type === 'geneve' && !byDevice);
    const way = this.#tunnelDevices.underlay.way('geneve');
    return isUsed && way.by === 'program' ? way.reason : '';
  }

  #problems(known: KnownIntent): readonly ResourceProblem[] {
    return [...known.intent.problems.values(), ...this.#state.problems];
  }

  /** The controller gets an answer to each generation, and another one when the errors change. */
  #answer(known: KnownIntent): void {
    if (known.stream === undefined) return;
    const { controller, observer, now } = this.#options;
    const errors = this.#problems(known).map(({ kind, name, code, message }) => ({
      id: { kind, name },
      code,
      message,
    }));
    const text = JSON.stringify(errors);
    if (this.#answered === known && this.#answeredErrors === text) return;
    const applySeconds = Math.max(0, now() - known.receivedMs) / 1000;
    if (this.#answered !== known) observer.applied(applySeconds);
    controller.applied(known.stream, {
      generation: known.intent.generation,
      errors,
      apply_seconds: applySeconds,
    });
    this.#answered = known;
    this.#answeredErrors = text;
  }

  #logProblems(): void {
    const errors = this.#interfaces.flatMap(({ name, error }) =>
      error === undefined ? [] : [[name, error] as const],
    );
    const failed = [...this.#state.failed].map(([name, { message }]) => [name, message] as const);
    const unattached = this.#interfaces.flatMap(({ name, device }) => {
      const message = device && this.#state.unattached.get(device.ifindex);
      return message === undefined ? [] : [[name, message] as const];
    });
    this.#logs.interface.update(new Map([...errors, ...unattached, ...failed]));
    const resources = this.#known ? this.#problems(this.#known) : [];
    this.#logs.resource.update(
      new Map(resources.map(({ kind, name, code, message }) => [`${kind} ${name}`, `${code}: ${message}`])),
    );
  }
}
