import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What the gauges show, asked at each scrape. */
export interface Snapshot {
  readonly databases: readonly {
    readonly database: string;
    readonly connected: boolean;
    readonly reconnects: number;
  }[];
  readonly nodes: readonly {
    readonly chassis: string;
    readonly connected: boolean;
    readonly generationSent: number;
    readonly generationApplied: number;
    readonly nbCfg: number;
    /** Interfaces with a port's name as iface-id whose port is not up. */
    readonly portsWaiting: number;
  }[];
  readonly nbCfgNorthbound: number;
  readonly nbCfgSouthbound: number;
  readonly resources: ReadonlyMap<string, number>;
  readonly unsupported: ReadonlyMap<string, number>;
  readonly invalidRows: number;
  readonly fdbRows: number;
  readonly fdbWaiting: number;
}

export interface Metrics {
  readonly registry: Registry;
  readonly claims: Counter;
  readonly releases: Counter;
  readonly refusals: Counter<'code'>;
  readonly transactions: Counter<'outcome'>;
  readonly applySeconds: Histogram;
  readonly recomputed: Counter;
  readonly resourcesSent: Counter;
  readonly fdbWrites: Counter<'kind'>;
  readonly fdbRefusals: Counter<'code'>;
  /** Makes the gauges show what `snapshot` says. */
  observe(snapshot: () => Snapshot): void;
}

const prefix = 'iovn_controller_';

/** The controller's metrics in a registry of their own. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const counter = <T extends string>(name: string, help: string, labelNames: readonly T[] = []) =>
    new Counter<T>({ name: prefix + name, help, labelNames: [...labelNames], registers });
  return {
    registry,
    claims: counter('claims_total', 'Ports claimed for a node.'),
    releases: counter('releases_total', 'Ports released from a node.'),
    refusals: counter('refusals_total', 'Claims refused, by reason.', ['code']),
    transactions: counter('southbound_transactions_total', 'Southbound transactions, by outcome.', [
      'outcome',
    ]),
    applySeconds: new Histogram({
      name: `${prefix}apply_seconds`,
      help: 'Time that agents took to apply an update.',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
      registers,
    }),
    recomputed: counter('datapaths_recomputed_total', 'Datapaths whose resources were computed again.'),
    resourcesSent: counter('resources_sent_total', 'Resources sent to agents, changed or removed.'),
    fdbWrites: counter('fdb_writes_total', 'FDB rows written for nodes, by kind.', ['kind']),
    fdbRefusals: counter('fdb_refused_total', 'Learnt MACs of nodes that were not written, by reason.', [
      'code',
    ]),
    observe: (snapshot) => observe(registry, snapshot),
  };
}

function observe(registry: Registry, snapshot: () => Snapshot): void {
  let current: Snapshot | undefined;
  const now = (): Snapshot => (current ??= snapshot());
  /** One gauge whose values are asked at the scrape; the first to be collected takes the snapshot. */
  const gauge = <T extends string>(
    name: string,
    help: string,
    labelNames: readonly T[],
    fill: (set: (labels: Partial<Record<T, string>>, value: number) => void, of: Snapshot) => void,
    takesSnapshot = false,
  ) =>
    new Gauge<T>({
      name: prefix + name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
      collect() {
        if (takesSnapshot) current = snapshot();
        this.reset();
        fill((labels, value) => this.set(labels, value), now());
      },
    });
  gauge(
    'database_connected',
    '1 while the database is connected.',
    ['database'],
    (set, of) => {
      for (const { database, connected } of of.databases) set({ database }, connected ? 1 : 0);
    },
    true,
  );
  new Counter({
    name: `${prefix}database_reconnects_total`,
    help: 'Reconnects to the database since the start.',
    labelNames: ['database'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { database, reconnects } of now().databases) this.inc({ database }, reconnects);
    },
  });
  gauge('nodes_connected', 'Nodes whose agent is connected.', [], (set, of) => {
    set({}, of.nodes.filter((node) => node.connected).length);
  });
  gauge(
    'node_connected',
    '1 while the agent of the node is connected; of every chassis that an agent has registered.',
    ['chassis'],
    (set, of) => {
      for (const node of of.nodes) set({ chassis: node.chassis }, Number(node.connected));
    },
  );
  gauge(
    'node_ports_waiting',
    "Interfaces of the node with a port's name as iface-id whose port is not up.",
    ['chassis'],
    (set, of) => {
      for (const node of of.nodes) set({ chassis: node.chassis }, node.portsWaiting);
    },
  );
  gauge('generation_sent', 'Newest intent generation sent to the node.', ['chassis'], (set, of) => {
    for (const node of of.nodes) set({ chassis: node.chassis }, node.generationSent);
  });
  gauge(
    'generation_applied',
    'Newest intent generation that the node has applied.',
    ['chassis'],
    (set, of) => {
      for (const node of of.nodes) set({ chassis: node.chassis }, node.generationApplied);
    },
  );
  gauge('node_nb_cfg', 'nb_cfg acknowledged for the node.', ['chassis'], (set, of) => {
    for (const node of of.nodes) set({ chassis: node.chassis }, node.nbCfg);
  });
  gauge('nb_cfg', 'nb_cfg seen in the database.', ['database'], (set, of) => {
    set({ database: 'OVN_Northbound' }, of.nbCfgNorthbound);
    set({ database: 'OVN_Southbound' }, of.nbCfgSouthbound);
  });
  gauge('resources', 'Resources of the intent, by kind.', ['kind'], (set, of) => {
    for (const [kind, count] of of.resources) set({ kind }, count);
  });
  gauge(
    'unsupported',
    'Northbound objects asking for what this version does not do, by kind.',
    ['kind'],
    (set, of) => {
      for (const [kind, count] of of.unsupported) set({ kind }, count);
    },
  );
  gauge('fdb_rows', 'Learnt MACs in the southbound database.', [], (set, of) => set({}, of.fdbRows));
  gauge('fdb_waiting', 'Learnt MACs that wait to be written.', [], (set, of) => set({}, of.fdbWaiting));
  gauge('invalid_rows', 'Rows with content that cannot be used.', [], (set, of) => set({}, of.invalidRows));
}
