import { errorMessage, IovnError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { AgentStatusInput } from '../generated/proto/iovn/v1/AgentStatus.js';
import type { AppliedInput } from '../generated/proto/iovn/v1/Applied.js';
import type { InterfaceInput } from '../generated/proto/iovn/v1/Interface.js';
import type { DataPlane, TableUsage } from './data-plane.js';
import { DatabaseWriter } from './database-writer.js';
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
import type { PluggedPort } from './modules/io-module.js';
import { ProblemLog } from './problem-log.js';
import { setPromiscuity } from './promiscuity.js';
import { reportTunnel } from './tunnel-report.js';
import type { ResourceProblem } from './resources.js';
import { SeenTimes } from './seen-times.js';
import type { GeneveMode } from './settings.js';
import { type DeviceProblems, type NeededDevices, TunnelDevices } from './tunnel-devices.js';
import { type Tunnel, tunnelTypes } from './tunnels.js';
import { findUplinks, type Uplinks } from './vswitch/bridge-mappings.js';
import { readVifInterfaces, type VifInterface } from './vswitch/interfaces.js';
import { type NewPair, planInternalDevices } from './vswitch/internal-devices.js';
import { type ChassisConfig, type NodeConfig, readNodeConfig } from './vswitch/node-config.js';
import type { VswitchDatabase } from './vswitch/tables.js';
import { readTopology, type Topology } from './vswitch/topology.js';

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
  readonly database: VswitchDatabase;
  readonly devices: Devices;
  readonly dataPlane: DataPlane;
  readonly controller: ControllerOutlet;
  readonly observer: Observer;
  readonly osHostname: string;
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
  readonly config: NodeConfig | undefined;
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

/** A pair that was made a moment ago may not have been notified yet. */
function createUnlessThere(devices: Devices, { name, attachEnd, mac }: NewPair): void {
  try {
    devices.createVeth(name, attachEnd, mac);
  } catch (error) {
    if (!(error instanceof IovnError) || error.code !== 'kernel_exists') throw error;
  }
}

/**
 * Keeps the kernel and the local database in line with the intent. Events only mark dirty; one loop does rounds, and a
 * round takes everything as it is at its start: rows and links → report to the controller → answer to ovs-vsctl → kernel →
 * marks of installed ports → answer to the controller.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #kernel: KernelApplier;
  readonly #writer: DatabaseWriter;
  readonly #loop = new DirtyLoop();
  readonly #tunnelDevices: TunnelDevices;
  readonly #seen: SeenTimes;
  readonly #logs: Readonly<Record<'node' | 'interface' | 'resource', ProblemLog>>;
  #known: KnownIntent | undefined;
  #config: NodeConfig | undefined;
  #interfaces: readonly VifInterface[] = [];
  #state: InstallState = nothingInstalled;
  #answered: KnownIntent | undefined;
  #answeredErrors = '';
  #driftRepaired = 0;
  #driftDue = false;
  #settled = false;

  /** Throws KernelError when the kernel can't be read. */
  constructor(options: ReconcilerOptions) {
    const { log, dataPlane, database } = options;
    this.#options = options;
    this.#kernel = new KernelApplier(dataPlane, log);
    this.#writer = new DatabaseWriter(database, log);
    this.#tunnelDevices = new TunnelDevices(options.devices, options.geneve, options.now);
    this.#seen = new SeenTimes(options.now);
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
      actsForVswitchd: this.#writer.actsForVswitchd,
    };
  }

  /** Takes in what is wanted from now on. */
  setIntent(known: KnownIntent): void {
    this.#known = known;
    this.#loop.markDirty();
  }

  /** Does rounds until `signal` aborts; a round under way is finished. The database must have been read before. */
  async run(signal: AbortSignal): Promise<void> {
    const { database, dataPlane, devices, driftIntervalMs } = this.#options;
    const markDirty = (): void => this.#loop.markDirty();
    dataPlane.onActivation(markDirty);
    const subscriptions = [
      database.onUpdate(markDirty),
      database.onStatus(markDirty),
      devices.onChange(markDirty),
      this.#writer.onChange(markDirty),
    ];
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
    const { controller, database, devices, osHostname } = this.#options;
    const topology = readTopology(database.tables);
    const config = readNodeConfig(topology, osHostname);
    this.#config = config;
    if (config.problem !== undefined) problems.set('configuration', config.problem);
    for (const warning of config.warnings) problems.set(warning, warning);
    /* A device that was made before its row was written has been notified: it must not be taken for missing. */
    devices.refresh();
    this.#makeDevices(topology, problems);
    const needed = this.#neededDevices(config);
    const deviceProblems: DeviceProblems = new Map();
    const devicesCome = needed !== undefined && this.#tunnelDevices.prepare(needed, deviceProblems);

    this.#interfaces = readVifInterfaces(topology, config.integrationBridge, devices.links);
    this.#seen.update(this.#interfaces);
    controller.setInterfaces(reportInterfaces(this.#interfaces, this.#state));
    controller.setChassis(config.chassis, config.controller);
    await this.#writeDatabase(topology, config, undefined);

    const known = this.#known;
    const former = this.#kernel.uplinks;
    const uplinks = findUplinks(config.bridgeMappings, topology, config.integrationBridge, devices.links);
    const applied = this.#applyKernel(known, config.chassis, uplinks);
    if (applied && needed)
      this.#tunnelDevices.finish(needed, (hook) => this.#kernel.hasHook(hook), deviceProblems);
    for (const [name, problem] of setPromiscuity(devices, this.#kernel.uplinks, former)) {
      deviceProblems.set(name, problem);
    }
    this.#reportDevices(deviceProblems, problems);
    controller.setInterfaces(reportInterfaces(this.#interfaces, this.#state));
    const installed = applied ? new Set(this.#state.installed.keys()) : undefined;
    await this.#writeDatabase(readTopology(database.tables), config, installed);
    // What needs these devices is not in the kernel before the round that their notification brings.
    if (applied && known && !devicesCome) this.#answer(known);
    this.#logProblems();
  }

  /** What differs, if anything: the answers to ovs-vsctl, and the marks of `installed` ports where they are known. */
  async #writeDatabase(
    topology: Topology,
    config: NodeConfig,
    installed: ReadonlySet<string> | undefined,
  ): Promise<void> {
    const { devices, now } = this.#options;
    const written = await this.#writer.write({
      topology,
      config,
      links: devices.links,
      interfaces: this.#interfaces,
      installed,
      nowMs: now(),
    });
    if (!written) this.#retryLater();
  }

  /** Devices for the interfaces of type internal. Those made here are known, and set up, when it returns. */
  #makeDevices(topology: Topology, problems: Map<string, string>): void {
    const { devices, log } = this.#options;
    const attempt = (name: string, action: () => void): void => {
      try {
        action();
      } catch (error) {
        problems.set(`device ${name}`, errorMessage(error));
        this.#retryLater();
      }
    };
    const { create } = planInternalDevices(topology, devices.links);
    for (const pair of create) {
      const { name, attachEnd } = pair;
      log.info('making the device of an interface of type internal', { interface: name, attachEnd });
      attempt(name, () => createUnlessThere(devices, pair));
    }
    if (create.length > 0) devices.refresh();
    const { setUp, remove } = planInternalDevices(topology, devices.links);
    for (const { name, ifindex } of setUp) attempt(name, () => devices.setUp(ifindex));
    for (const { name, ifindex } of remove) attempt(name, () => devices.deleteLink(ifindex));
  }

  /** Of the devices that tunnels need, those that the intent asks for; undefined while it is not known. */
  #neededDevices(config: NodeConfig): NeededDevices | undefined {
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
    uplinks: Uplinks,
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
