import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

import { dropReasons } from '../generated/bpf/layouts.js';
import { type PortCounters, tableNames } from './data-plane.js';
import type { Observer, ReconcilerView } from './reconciler.js';
import { ScrapedCounter } from './scraped-counter.js';
import type { IntentSourceStatus } from './session.js';

export interface MetricSources {
  /** Of all slots in one read of the kernel. */
  readonly readCounters: (slots: readonly number[]) => ReadonlyMap<number, PortCounters>;
  readonly reconciler: () => ReconcilerView | undefined;
}

export interface Connections {
  readonly databaseState: () => string;
  readonly controller: () => IntentSourceStatus;
}

const prefix = 'iovn_agent_';
const secondsBuckets = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];

/** What one scrape shows of one port. */
interface PortSample {
  readonly labels: { readonly port: string; readonly switch: string; readonly interface: string };
  readonly counters: PortCounters;
}

interface Sample {
  readonly ports: readonly PortSample[];
  readonly withoutPort: PortCounters | undefined;
}

/** All ports' counters in one read of the kernel, which the metrics of a scrape share. */
function createSampler({ readCounters, reconciler }: MetricSources): () => Sample {
  const read = (): Sample => {
    const { plugged = [], intent } = reconciler() ?? {};
    const counters = readCounters([0, ...plugged.map(({ slot }) => slot)]);
    const ports = plugged.flatMap(({ slot, port, interfaceName }) => {
      const found = counters.get(slot);
      const switchName = intent?.switches.get(port.switchId)?.name ?? '';
      const labels = { port: port.name, switch: switchName, interface: interfaceName };
      return found === undefined ? [] : [{ labels, counters: found }];
    });
    return { ports, withoutPort: counters.get(0) };
  };
  let current: Sample | undefined;
  return () => {
    if (current === undefined) {
      current = read();
      setImmediate(() => {
        current = undefined;
      });
    }
    return current;
  };
}

function nonZeroDrops({ drops }: PortCounters): readonly (readonly [reason: string, packets: number])[] {
  return dropReasons.flatMap(({ name, number }) => {
    const packets = drops[number] ?? 0n;
    return packets === 0n ? [] : [[name, Number(packets)] as const];
  });
}

type TrafficField = 'receivedPackets' | 'receivedBytes' | 'sentPackets' | 'sentBytes';

const traffic: readonly (readonly [name: string, field: TrafficField, help: string])[] = [
  ['port_received_packets_total', 'receivedPackets', 'Packets that came from the VM, dropped ones included.'],
  ['port_received_bytes_total', 'receivedBytes', 'Bytes that came from the VM, dropped ones included.'],
  ['port_sent_packets_total', 'sentPackets', 'Packets handed to the VM.'],
  ['port_sent_bytes_total', 'sentBytes', 'Bytes handed to the VM.'],
];

function addPortMetrics(registry: Registry, sample: () => Sample): void {
  const registers = [registry];
  for (const [name, field, help] of traffic) {
    const labelNames = ['port', 'switch', 'interface'] as const;
    new ScrapedCounter({ name: prefix + name, help, labelNames, registers }, () =>
      sample().ports.map(({ labels, counters }) => ({ labels, value: Number(counters[field]) })),
    );
  }
  new ScrapedCounter(
    {
      name: `${prefix}port_dropped_packets_total`,
      help: 'Packets dropped, at the port that sent them or at the one that was to receive them, by reason.',
      labelNames: ['port', 'switch', 'reason'],
      registers,
    },
    () =>
      sample().ports.flatMap(({ labels: { port, switch: switchName }, counters }) =>
        nonZeroDrops(counters).map(([reason, value]) => ({
          labels: { port, switch: switchName, reason },
          value,
        })),
      ),
  );
  new ScrapedCounter(
    {
      name: `${prefix}dropped_packets_without_port_total`,
      help: 'Packets dropped on interfaces that no logical port is bound to, and tunnel packets dropped on arrival, by reason.',
      labelNames: ['reason'],
      registers,
    },
    () => {
      const { withoutPort } = sample();
      return withoutPort
        ? nonZeroDrops(withoutPort).map(([reason, value]) => ({ labels: { reason }, value }))
        : [];
    },
  );
}

/** Of an agent that has a controller and a local database. */
export function addConnectionMetrics(registry: Registry, { controller, databaseState }: Connections): void {
  const registers = [registry];
  new Gauge({
    name: `${prefix}controller_connected`,
    help: '1 while a controller serves this agent.',
    registers,
    collect() {
      this.set(Number(controller().state === 'connected'));
    },
  });
  new Gauge({
    name: `${prefix}ovsdb_connected`,
    help: '1 while the local Open_vSwitch database is connected.',
    registers,
    collect() {
      this.set(Number(databaseState() === 'connected'));
    },
  });
}

function addStateMetrics(registry: Registry, { reconciler }: MetricSources): void {
  const registers = [registry];
  const gauge = (name: string, help: string, value: (view: ReconcilerView) => number): void => {
    new Gauge({
      name: prefix + name,
      help,
      registers,
      collect() {
        const view = reconciler();
        this.set(view === undefined ? 0 : value(view));
      },
    });
  };
  gauge('generation_applied', 'Generation of the intent that was last applied for a controller.', (view) =>
    Number(view.generationApplied),
  );
  gauge('attachments', 'Interfaces to which the program is attached.', (view) => view.attachments);
  gauge(
    'tunnels',
    'Other chassis to which there is a tunnel.',
    (view) => new Set(view.tunnels.map(({ chassis }) => chassis)).size,
  );
  gauge(
    'device_tunnels',
    'Of those chassis the ones whose tunnel goes by a device of the kernel, and not by our own program.',
    (view) => new Set(view.tunnels.flatMap(({ chassis, byDevice }) => (byDevice ? [chassis] : []))).size,
  );
  gauge('ports', 'Logical ports that are in the kernel.', (view) => view.state.installed.size);
  gauge(
    'interface_problems',
    'Interfaces with an iface-id that can not carry their port.',
    (view) =>
      view.interfaces.filter(({ name, error }) => error !== undefined || view.state.failed.has(name)).length,
  );
  gauge('acts_for_vswitchd', '1 while the agent answers ovs-vsctl in the place of ovs-vswitchd.', (view) =>
    Number(view.actsForVswitchd),
  );
  new Counter({
    name: `${prefix}drift_repaired_total`,
    help: 'Map entries and attachments that somebody else had changed.',
    registers,
    collect() {
      this.reset();
      this.inc(reconciler()?.driftRepaired ?? 0);
    },
  });
  for (const field of ['entries', 'capacity'] as const) {
    new Gauge({
      name: `${prefix}map_${field}`,
      help:
        field === 'entries'
          ? 'Entries of a map of the data plane.'
          : 'Entries that a map of the data plane can hold.',
      labelNames: ['map'],
      registers,
      collect() {
        for (const usage of reconciler()?.usage ?? []) this.set({ map: usage.name }, usage[field]);
      },
    });
  }
}

function addRefusalMetrics(registry: Registry, { reconciler }: MetricSources): void {
  const registers = [registry];
  const labelNames = ['map'];
  new Gauge({
    name: `${prefix}map_full`,
    help: '1 while a map of the data plane has no room for something that is wanted there.',
    labelNames,
    registers,
    collect() {
      const full = reconciler()?.refusals.full;
      for (const map of tableNames) this.set({ map }, Number(full?.has(map) ?? false));
    },
  });
  new Counter({
    name: `${prefix}map_refused_writes_total`,
    help: 'Entries that a full map of the data plane did not take; each is tried again every few seconds.',
    labelNames,
    registers,
    collect() {
      this.reset();
      const refused = reconciler()?.refusals.refusedWrites;
      for (const map of tableNames) this.inc({ map }, refused?.get(map) ?? 0);
    },
  });
}

/** The histograms that the reconciler feeds. */
export function createObserver(registry: Registry): Observer {
  const registers = [registry];
  const applySeconds = new Histogram({
    name: `${prefix}apply_seconds`,
    help: 'From receiving an update to having it in the kernel.',
    buckets: secondsBuckets,
    registers,
  });
  const portUpSeconds = new Histogram({
    name: `${prefix}port_up_seconds`,
    help: 'From first seeing a tap with its iface-id to having its port in the kernel.',
    buckets: secondsBuckets,
    registers,
  });
  return {
    applied: (seconds) => applySeconds.observe(seconds),
    portInstalled: (seconds) => portUpSeconds.observe(seconds),
  };
}

/** Everything that is read at the moment of a scrape. */
export function addCollectedMetrics(registry: Registry, sources: MetricSources): void {
  addStateMetrics(registry, sources);
  addRefusalMetrics(registry, sources);
  addPortMetrics(registry, createSampler(sources));
}
