import type { Drop } from '../../generated/proto/iovn/v1/Drop.js';
import type { NodePorts } from '../../generated/proto/iovn/v1/NodePorts.js';
import { portRates } from '../../inspect/port-rates.js';
import type { Live, LiveDrop, LivePort, LiveReason } from './shapes.js';

/** What a node has said of its ports and drops at one time. */
export interface Reading {
  /** The controller's clock, epoch ms. */
  readonly atMs: number;
  readonly ports: readonly NodePorts[];
  readonly drops: readonly Drop[];
}

export interface NodeReadings {
  readonly name: string;
  readonly last: Reading | undefined;
  /** The one before; undefined when there is none that is recent. */
  readonly previous: Reading | undefined;
  readonly error: string;
}

const maximumDrops = 500;

/** The page's live part from what the nodes have said. */
export function liveView(nodes: readonly NodeReadings[], nowMs: number): Live {
  const drops = nodes.flatMap((node) => dropsOf(node));
  const busiest = drops.sort(
    (a, b) => b.per_second - a.per_second || b.packets - a.packets || (a.port < b.port ? -1 : 1),
  );
  return {
    at: nowMs / 1000,
    nodes: nodes.map(({ name, last, previous, error }) => ({
      name,
      at: (last?.atMs ?? 0) / 1000,
      seconds: last === undefined || previous === undefined ? 0 : (last.atMs - previous.atMs) / 1000,
      error,
    })),
    ports: nodes.flatMap((node) => portsOf(node)),
    reasons: reasonsOf(busiest),
    drops: busiest.slice(0, maximumDrops).map(({ text: _, ...drop }) => drop),
    drops_left_out: Math.max(0, busiest.length - maximumDrops),
  };
}

/** None of a node that does not answer: what it once said is not live. */
function portsOf({ name, last, previous, error }: NodeReadings): readonly LivePort[] {
  if (last === undefined || previous === undefined || error !== '') return [];
  return portRates(new Map([[name, previous.ports]]), new Map([[name, last.ports]]))
    .map((rate) => ({
      name: rate.port,
      node: rate.node,
      from_vm_packets: rounded(rate.receivedPackets),
      from_vm_bytes: rounded(rate.receivedBytes),
      to_vm_packets: rounded(rate.sentPackets),
      to_vm_bytes: rounded(rate.sentBytes),
      dropped_packets: rounded(rate.dropped),
    }))
    .filter((port) => port.from_vm_packets + port.to_vm_packets + port.dropped_packets > 0);
}

interface WorkingDrop extends LiveDrop {
  readonly text: string;
}

function dropsOf({ name, last, previous, error }: NodeReadings): readonly WorkingDrop[] {
  if (last === undefined) return [];
  const seconds = previous === undefined || error !== '' ? 0 : (last.atMs - previous.atMs) / 1000;
  const before = new Map(previous?.drops.map((drop) => [keyOf(drop), Number(drop.packets)]));
  return last.drops.map((drop) => {
    const packets = Number(drop.packets);
    /* One that was not there had none; a count that went down began anew. */
    const grown = Math.max(0, packets - (before.get(keyOf(drop)) ?? 0));
    return {
      node: name,
      port: drop.port,
      reason: drop.reason,
      text: drop.text,
      direction: drop.direction,
      packets,
      per_second: seconds > 0 ? rounded(grown / seconds) : 0,
      last_seen: drop.last_seen,
    };
  });
}

function keyOf({ port, reason, direction }: Drop): string {
  return JSON.stringify([port, reason, direction]);
}

function reasonsOf(drops: readonly WorkingDrop[]): readonly LiveReason[] {
  const reasons = new Map<string, { reason: string; text: string; packets: number; per_second: number }>();
  for (const { reason, text, packets, per_second: perSecond } of drops) {
    const sum = reasons.get(reason) ?? { reason, text, packets: 0, per_second: 0 };
    sum.packets += packets;
    sum.per_second = rounded(sum.per_second + perSecond);
    reasons.set(reason, sum);
  }
  return [...reasons.values()].sort((a, b) => b.per_second - a.per_second || b.packets - a.packets);
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
