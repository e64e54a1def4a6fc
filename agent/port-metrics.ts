import {
  type BulkCounters,
  type CounterFamily,
  familyHead,
  flat,
  formatLabels,
} from '../common/exposition.js';
import { dropReasons } from '../generated/bpf/layouts.js';
import type { PortCounters } from './data-plane.js';
import type { PluggedPort } from './modules/io-module.js';
import type { ReconcilerView } from './reconciler.js';

export interface PortMetricSources {
  /** Of all slots in one read of the kernel. */
  readonly readCounters: (slots: readonly number[]) => ReadonlyMap<number, PortCounters>;
  readonly reconciler: () => Pick<ReconcilerView, 'plugged' | 'intent'> | undefined;
}

/** On a machine with many CPUs a read of so many takes a millisecond or two, since each CPU counts for itself. */
const slotsPerRead = 128;

type TrafficField = 'receivedPackets' | 'receivedBytes' | 'sentPackets' | 'sentBytes';

const traffic: readonly (readonly [what: string, field: TrafficField, help: string])[] = [
  ['received_packets', 'receivedPackets', 'Packets that came from the VM, dropped ones included.'],
  ['received_bytes', 'receivedBytes', 'Bytes that came from the VM, dropped ones included.'],
  ['sent_packets', 'sentPackets', 'Packets handed to the VM.'],
  ['sent_bytes', 'sentBytes', 'Bytes handed to the VM.'],
];

const trafficFamilies = traffic.map(([what, field, help]) => ({
  name: `iovn_agent_port_${what}_total`,
  help,
  labelNames: ['port', 'switch', 'interface'],
  field,
}));

const dropFamily: CounterFamily = {
  name: 'iovn_agent_port_dropped_packets_total',
  help: 'Packets dropped, at the port that sent them or at the one that was to receive them, by reason.',
  labelNames: ['port', 'switch', 'reason'],
};

const portlessFamily: CounterFamily = {
  name: 'iovn_agent_dropped_packets_without_port_total',
  help: 'Packets dropped on interfaces that no logical port is bound to, and tunnel packets dropped on arrival, by reason.',
  labelNames: ['reason'],
};

/** What one scrape shows of one port. */
interface PortSample {
  /** Port and switch, as text. */
  readonly owner: string;
  /** These and the interface. */
  readonly labels: string;
  readonly counters: PortCounters;
}

/** The ports' counters: a port has no series of a reason that has dropped nothing there, and none at all once it is unplugged. */
export class PortMetrics implements BulkCounters {
  readonly families: readonly CounterFamily[] = [...trafficFamilies, dropFamily, portlessFamily];
  readonly #sources: PortMetricSources;

  constructor(sources: PortMetricSources) {
    this.#sources = sources;
  }

  *lines(): Generator<string> {
    const counters = yield* this.#readAll();
    const ports = this.#samples(counters);
    for (const family of trafficFamilies) {
      const { name, field } = family;
      yield familyHead(family);
      for (const { labels, counters: of } of ports)
        yield flat([name, '{', labels, '} ', String(of[field]), '\n']);
    }
    yield familyHead(dropFamily);
    for (const { owner, counters: of } of ports)
      yield* dropLines(flat([dropFamily.name, '{', owner, ',']), of);
    yield familyHead(portlessFamily);
    const withoutPort = counters.get(undefined);
    if (withoutPort !== undefined) yield* dropLines(`${portlessFamily.name}{`, withoutPort);
  }

  /** The counters of every plugged port, and of none. */
  *#readAll(): Generator<string, ReadonlyMap<PluggedPort | undefined, PortCounters>> {
    const plugged = this.#sources.reconciler()?.plugged ?? [];
    const owners = [
      { slot: 0, owner: undefined },
      ...plugged.map((owner) => ({ slot: owner.slot, owner })),
    ].sort((a, b) => a.slot - b.slot);
    const all = new Map<PluggedPort | undefined, PortCounters>();
    for (let first = 0; first < owners.length; first += slotsPerRead) {
      const some = owners.slice(first, first + slotsPerRead);
      const counters = this.#sources.readCounters(some.map(({ slot }) => slot));
      for (const { slot, owner } of some) {
        const found = counters.get(slot);
        if (found !== undefined) all.set(owner, found);
      }
      yield '';
    }
    return all;
  }

  /** A slot that has got another port meanwhile has counted for that one. */
  #samples(counters: ReadonlyMap<PluggedPort | undefined, PortCounters>): readonly PortSample[] {
    const { plugged = [], intent } = this.#sources.reconciler() ?? {};
    const bySlot = new Map(plugged.map((port) => [port.slot, port]));
    return [...counters].flatMap(([then, found]) => {
      const now = then && bySlot.get(then.slot);
      if (now === undefined || now.port.name !== then?.port.name) return [];
      const switchName = intent?.switches.get(now.port.switchId)?.name ?? '';
      const owner = formatLabels({ port: now.port.name, switch: switchName });
      const labels = flat([owner, ',', formatLabels({ interface: now.interfaceName })]);
      return [{ owner, labels, counters: found }];
    });
  }
}

function* dropLines(start: string, { drops }: PortCounters): Generator<string> {
  for (const { name, number } of dropReasons) {
    const packets = drops[number] ?? 0n;
    if (packets !== 0n) yield flat([start, 'reason="', name, '"} ', String(packets), '\n']);
  }
}
