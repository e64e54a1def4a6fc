import type { Uuid } from '../common/addresses.js';
import type { Logger } from '../common/log.js';
import type { AgentStatus } from '../generated/proto/iovn/v1/AgentStatus.js';
import type { Applied } from '../generated/proto/iovn/v1/Applied.js';
import type { Interface } from '../generated/proto/iovn/v1/Interface.js';
import type { LearnedMac } from '../generated/proto/iovn/v1/LearnedMac.js';
import { ChassisStore } from './chassis-store.js';
import { ClaimBoard, decidePort, holderGraceMs } from './claim-board.js';
import { checkReport, FdbWishes } from './fdb-learning.js';
import { FdbStore } from './fdb-store.js';
import { Feedback } from './feedback.js';
import { IntentStore } from './intent-store.js';
import { interestOf, Interests } from './interests.js';
import type { Metrics } from './metrics.js';
import { type Dirty, Model, nothingDirty } from './model.js';
import { type AgentIdentity, Node } from './node.js';
import { NodeSession } from './node-session.js';
import type { NorthboundDatabase } from './northbound.js';
import { PlugIndex } from './plug-index.js';
import type { ResourceSet } from './resource.js';
import type { ChassisConfig } from './sb-operations.js';
import type { SouthboundDatabase } from './southbound.js';
import type { Stream } from './stream.js';
import type { NodeView } from './update-plan.js';
import { nameOf, WritePlans } from './write-plans.js';

export interface ControllerOptions {
  readonly northbound: NorthboundDatabase;
  readonly southbound: SouthboundDatabase;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Epoch ms. */
  readonly now?: () => number;
}

interface Link {
  readonly node: Node;
  readonly session: NodeSession;
  readonly stream: Stream;
}

/**
 * Ties the parts together. Events (rows, agents' messages) only mark what they concern; `reconcile` then brings
 * intent, claims, the database and the agents in line, once for everything that has come in by then.
 */
export class Controller {
  readonly model: Model;
  readonly store = new IntentStore();
  readonly chassisStore = new ChassisStore();
  readonly fdbStore = new FdbStore();
  readonly board = new ClaimBoard();
  readonly nodes = new Map<string, Node>();
  readonly startedMs: number;
  readonly #options: ControllerOptions;
  readonly #now: () => number;
  readonly #feedback: Feedback;
  readonly #interests = new Interests();
  readonly #fdbWishes = new FdbWishes();
  readonly #plugs = new PlugIndex();
  readonly #links = new Map<string, Link>();
  #dirty: Dirty = nothingDirty();
  /** Nodes whose view or acknowledgement may have changed. */
  #touched = new Set<string>();
  #unsupportedChanged = true;
  #scheduled = false;
  #ready = false;
  #plugOrder = 0;
  #waitingTimer: NodeJS.Timeout | undefined;

  constructor(options: ControllerOptions) {
    const { northbound, southbound, metrics, signal, log } = options;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.startedMs = this.#now();
    this.model = new Model(northbound.tables, southbound.tables);
    const plans = new WritePlans({
      model: this.model,
      board: this.board,
      nodes: this.nodes,
      interests: this.#interests,
      fdbWishes: this.#fdbWishes,
      southbound,
      metrics,
      log,
      now: this.#now,
    });
    this.#feedback = new Feedback({
      database: southbound,
      plan: (subject, prefix) => {
        this.#reconcile();
        return plans.plan(subject, prefix);
      },
      onTransaction: (outcome) => metrics.transactions.inc({ outcome }),
      onWritten: (subject) => {
        if (subject.startsWith('FDB:')) this.#fdbWishes.written(nameOf(subject));
      },
      signal,
      log,
    });
    const stops = [
      northbound.onUpdate((update) => this.#mark(() => this.model.applyNorthbound(update, this.#dirty))),
      southbound.onUpdate((update) => this.#mark(() => this.model.applySouthbound(update, this.#dirty))),
    ];
    signal.addEventListener('abort', () => {
      for (const stop of stops) stop();
      clearTimeout(this.#waitingTimer);
    });
    this.#schedule();
  }

  /** Works until the signal aborts. */
  async run(): Promise<void> {
    await this.#feedback.run();
  }

  /** True once after content changed on which the list of what is not done depends. */
  takeUnsupportedChanged(): boolean {
    const changed = this.#unsupportedChanged;
    this.#unsupportedChanged = false;
    return changed;
  }

  /** Why the last write about the chassis or port was refused by the database. */
  writeFailure(kind: 'chassis' | 'port', name: string): string | undefined {
    return this.#feedback.failure(`${kind}:${name}`);
  }

  /** NB_Global.nb_cfg that everything computed from both databases has reached. */
  reachedNbCfg(): number {
    const { northbound, southbound } = this.model.nbCfg();
    return Math.min(northbound, southbound);
  }

  /** An agent has introduced itself. Returns why it is not served, if so. */
  connect(config: ChassisConfig, identity: AgentIdentity, stream: Stream): string | undefined {
    const { log } = this.#options;
    const known = this.nodes.get(config.name);
    if (known?.connected && known.identity.agentId !== identity.agentId) {
      return `chassis ${config.name} is connected from ${known.identity.peer} with another agent id`;
    }
    for (const [name, link] of this.#links) {
      if (link.node.identity.agentId !== identity.agentId) continue;
      link.stream.replaced();
      this.#unlink(name, link);
    }
    const node = known ?? new Node(config, identity, this.#now());
    if (known !== undefined) known.reconnect(config, identity, this.#now());
    this.nodes.set(config.name, node);
    const touch = () => this.#touch(node.name);
    const session = new NodeSession((message, written) => stream.send(message, written), touch);
    this.#links.set(node.name, { node, session, stream });
    log.info('agent connected', { chassis: node.name, peer: identity.peer, version: identity.agentVersion });
    this.#dirtyNode(node);
    return undefined;
  }

  /** The stream has ended; what the node has stays as it is. */
  disconnect(name: string, stream: Stream): void {
    const link = this.#links.get(name);
    if (link === undefined || link.stream !== stream) return;
    this.#unlink(name, link);
    this.#options.log.info('agent disconnected', { chassis: name });
  }

  configure(name: string, config: ChassisConfig): void {
    const node = this.nodes.get(name);
    if (node === undefined) return;
    node.config = config;
    this.#dirtyNode(node);
  }

  report(name: string, interfaces: readonly Interface[]): void {
    const node = this.nodes.get(name);
    if (node === undefined) return;
    const first = !node.reported;
    const before = [...node.plugs.keys()];
    const changed = node.report(interfaces, () => (this.#plugOrder += 1));
    this.#plugs.remove(before, node);
    this.#plugs.add(node.plugs.keys(), node);
    for (const id of changed) this.#dirty.ports.add(id);
    this.#forgetNestedErrors(node);
    if (first) this.#dirtyNode(node);
    this.#touch(name);
  }

  /** A nested port that is installed has no error any more, whatever resource took it away. */
  #forgetNestedErrors(node: Node): void {
    for (const { binding, install_error: error } of node.interfaces.flatMap(({ nested }) => nested)) {
      const row = error === '' ? this.model.sb.portBinding.get(binding as Uuid) : undefined;
      if (row !== undefined) node.errors.delete(`Port/${row.logical_port}`);
    }
  }

  /** An agent's answer; false when it answers what it was never sent. */
  applied(name: string, message: Applied): boolean {
    const link = this.#links.get(name);
    if (link === undefined) return true;
    const { node, session } = link;
    if (Number(message.generation) > session.generation) return false;
    const answer = session.applied(Number(message.generation));
    if (answer === undefined) {
      if (Number(message.generation) === node.generationApplied) node.setErrors(message.errors);
      return true;
    }
    node.applied(answer, message);
    this.#options.metrics.applySeconds.observe(message.apply_seconds);
    this.#touch(name);
    return true;
  }

  /** Learnt MACs that wait to be written. */
  get fdbWaiting(): number {
    return this.#fdbWishes.size;
  }

  /** A node's VMs have used these MACs. What the node has no right to say is left out and counted. */
  learned(name: string, macs: readonly LearnedMac[]): void {
    if (!this.#ready) return;
    const { metrics, log } = this.#options;
    this.#reconcile();
    const { wishes, refused } = checkReport(this.model, name, macs, this.#now());
    const refusals = [...refused];
    for (const wish of wishes) {
      const put = this.#fdbWishes.put(this.model, wish);
      if (put.ok) this.#feedback.mark(`FDB:${put.name}`);
      else refusals.push(put.refusal);
    }
    for (const code of refusals) metrics.fdbRefusals.inc({ code });
    if (refusals.length > 0) log.warn('learnt MACs refused', { chassis: name, ...countEach(refusals) });
  }

  setStatus(name: string, agentStatus: AgentStatus): void {
    const node = this.nodes.get(name);
    if (node !== undefined) node.status = agentStatus;
  }

  decommission(name: string): void {
    const node = this.nodes.get(name);
    if (node === undefined) return;
    this.#options.log.info('decommissioning chassis', { chassis: name });
    node.decommissioning = true;
    this.#dirtyNode(node);
  }

  #mark(change: () => void): void {
    change();
    this.#schedule();
  }

  #touch(name: string): void {
    this.#touched.add(name);
    this.#schedule();
  }

  /** Everything about the node is decided anew. */
  #dirtyNode(node: Node): void {
    for (const id of node.plugs.keys()) this.#dirty.ports.add(id);
    const chassis = this.model.chassis(node.name);
    if (chassis !== undefined) {
      for (const binding of this.model.bindingsAt(chassis._uuid)) this.#dirty.ports.add(binding.logical_port);
    }
    this.#touch(node.name);
  }

  #schedule(): void {
    if (this.#scheduled || this.#options.signal.aborted) return;
    this.#scheduled = true;
    setImmediate(() => this.#reconcile());
  }

  #reconcile(): void {
    if (!this.#scheduled) return;
    this.#scheduled = false;
    if (!this.#ready && !this.#becomeReady()) return;
    const dirty = this.#dirty;
    const touched = this.#touched;
    this.#dirty = nothingDirty();
    this.#touched = new Set();
    if (dirty.unsupported) this.#unsupportedChanged = true;
    if (dirty.nbCfg) for (const name of this.#links.keys()) touched.add(name);
    for (const name of dirty.holders) touched.add(name);
    for (const name of dirty.chassis) this.#chassisChanged(name, dirty.ports, touched);
    const changed = this.store.recompute(this.model, dirty.datapaths);
    this.#options.metrics.recomputed.inc(dirty.datapaths.size);
    // A chassis that others reach differently, or not at all: any of them may be concerned.
    if (this.chassisStore.recompute(this.model, dirty.chassis).size > 0)
      for (const name of this.#links.keys()) touched.add(name);
    const learned = this.fdbStore.recompute(this.model, dirty.fdb);
    for (const datapath of learned) for (const name of this.#interests.holders(datapath)) touched.add(name);
    for (const datapath of changed) for (const name of this.#interests.holders(datapath)) touched.add(name);
    for (const name of this.#withNested(dirty.ports)) this.#decide(name, touched);
    for (const name of touched) this.#bringUpToDate(name);
    this.#watchWaiting();
  }

  /** The first time that both databases are there: all of it is new. */
  #becomeReady(): boolean {
    const { northbound, southbound } = this.#options;
    this.#ready = northbound.status.populated && southbound.status.populated;
    if (!this.#ready) return false;
    for (const { _uuid, tunnel_key: key } of this.model.sb.datapathBinding) {
      this.#dirty.datapaths.add(_uuid);
      this.#dirty.fdb.add(key);
    }
    for (const { name } of this.model.sb.chassis) this.#dirty.chassis.add(name);
    for (const { node } of this.#links.values()) this.#dirtyNode(node);
    return true;
  }

  #chassisChanged(name: string, ports: Set<string>, touched: Set<string>): void {
    const node = this.nodes.get(name);
    if (node === undefined) return;
    for (const id of node.plugs.keys()) ports.add(id);
    touched.add(name);
    // An operator has removed its rows while it was away (ovn-sbctl chassis-del).
    if (!node.connected && !this.model.chassis(name)) this.#forget(node);
  }

  /** Ports nested in others go where those go. */
  #withNested(names: ReadonlySet<string>): ReadonlySet<string> {
    const all = new Set(names);
    for (const name of names)
      for (const { logical_port: nested } of this.model.nestedIn(name)) all.add(nested);
    return all;
  }

  #decide(name: string, touched: Set<string>): void {
    const { metrics, log } = this.#options;
    const context = {
      model: this.model,
      nodes: this.nodes,
      nodesByPlug: this.#plugs.byId,
      nowMs: this.#now(),
      startedMs: this.startedMs,
      hasAdditional: this.#options.southbound.hasColumn('Port_Binding', 'additional_chassis'),
    };
    const decision = decidePort(context, name);
    const previous = this.board.set(name, decision);
    for (const node of decision?.spent ?? []) this.nodes.get(node)?.spend(name);
    for (const node of this.#plugs.byId.get(name) ?? []) touched.add(node.name);
    if (decision?.main.kind === 'plug') touched.add(decision.main.plug.node);
    for (const [node, refusal] of decision?.refusals ?? []) {
      const isNews = previous?.refusals.get(node)?.message !== refusal.message;
      // Before its chassis is registered a node waits; what hinders that is told by itself.
      if (!isNews || refusal.code === 'no_chassis') continue;
      metrics.refusals.inc({ code: refusal.code });
      const { code, message: reason } = refusal;
      log.info('port not claimed', { port: name, chassis: node, code, reason });
    }
    if (decision !== undefined) this.#feedback.mark(`port:${name}`);
  }

  /** Sends the node what it lacks, and has its rows looked at. */
  #bringUpToDate(name: string): void {
    const link = this.#links.get(name);
    if (link === undefined) return;
    const { node, session, stream } = link;
    if (node.decommissioning && !this.model.chassis(name) && !this.model.chassisPrivate(name)) {
      stream.decommissioned();
      this.#unlink(name, link);
      this.#forget(node);
      return;
    }
    this.#interests.set(name, interestOf(this.model, this.board, node));
    const sent = session.push({ nbCfg: this.reachedNbCfg(), view: this.view(name) });
    this.#options.metrics.resourcesSent.inc(sent);
    node.generationSent = session.generation;
    this.#feedback.mark(`chassis:${name}`);
  }

  /** What the node shall hold. */
  view(name: string): NodeView {
    const datapaths = [...this.#interests.of(name)];
    const hosts = datapaths.flatMap((datapath) => this.store.hosts(datapath));
    return new Map([
      ...datapaths.flatMap((datapath): [string, ResourceSet][] => [
        [datapath, this.store.resources(datapath)],
        [`${datapath} fdb`, this.fdbStore.resources(datapath)],
      ]),
      ['chassis', this.chassisStore.resourcesFor(this.model, name, hosts)],
    ]);
  }

  #unlink(name: string, { node }: Link): void {
    this.#links.delete(name);
    node.disconnect(this.#now());
    this.#interests.set(name, new Set());
    this.#dirtyNode(node);
  }

  #forget(node: Node): void {
    this.#plugs.remove(node.plugs.keys(), node);
    this.nodes.delete(node.name);
    this.#feedback.forget(`chassis:${node.name}`);
  }

  /** Ports left to a chassis that may return are looked at again when its time is over. */
  #watchWaiting(): void {
    if (this.board.waiting().size === 0 || this.#waitingTimer !== undefined) return;
    this.#waitingTimer = setTimeout(() => {
      this.#waitingTimer = undefined;
      for (const name of this.board.waiting()) this.#dirty.ports.add(name);
      this.#schedule();
    }, holderGraceMs / 6);
    this.#waitingTimer.unref();
  }
}

function countEach(names: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return Object.fromEntries(counts);
}
