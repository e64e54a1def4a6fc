import { setTimeout as delay } from 'node:timers/promises';

import type { NodePorts } from '../generated/proto/iovn/v1/NodePorts.js';
import { formatJson } from './json.js';
import { collect, type NodeClient } from './node-client.js';
import { formatTable } from './table.js';

/** Traffic of one port between two readings, per second. */
export interface PortRate {
  readonly node: string;
  readonly port: string;
  readonly switch: string;
  readonly receivedPackets: number;
  readonly receivedBytes: number;
  readonly sentPackets: number;
  readonly sentBytes: number;
  readonly dropped: number;
}

export type Reading = ReadonlyMap<string, readonly NodePorts[]>;

const counterFields = {
  receivedPackets: 'received_packets',
  receivedBytes: 'received_bytes',
  sentPackets: 'sent_packets',
  sentBytes: 'sent_bytes',
  dropped: 'dropped_packets',
} as const;
type RateField = keyof typeof counterFields;

/** Busiest first; a port that is only in one of the readings, or whose counters were reset, is left out. */
export function portRates(before: Reading, after: Reading): readonly PortRate[] {
  const earlier = new Map(
    flatten(before).map(({ node, readAt, port }) => [`${node} ${port.binding}`, { readAt, port }]),
  );
  const rates = flatten(after).flatMap(({ node, readAt, port }): readonly PortRate[] => {
    const first = earlier.get(`${node} ${port.binding}`);
    const seconds = readAt - (first?.readAt ?? readAt);
    if (first === undefined || seconds <= 0) return [];
    const rate = (field: RateField): number => {
      const name = counterFields[field];
      return (Number(port[name]) - Number(first.port[name])) / seconds;
    };
    const traffic = {
      receivedPackets: rate('receivedPackets'),
      receivedBytes: rate('receivedBytes'),
      sentPackets: rate('sentPackets'),
      sentBytes: rate('sentBytes'),
      dropped: rate('dropped'),
    };
    if (Object.values(traffic).some((each) => each < 0)) return [];
    return [{ node, port: port.name, switch: port.switch, ...traffic }];
  });
  const bytes = (each: PortRate): number => each.receivedBytes + each.sentBytes;
  return rates.sort((a, b) => bytes(b) - bytes(a) || b.dropped - a.dropped || (a.port < b.port ? -1 : 1));
}

function flatten(reading: Reading) {
  return [...reading].flatMap(([node, pieces]) =>
    pieces.flatMap(({ ports, read_at: readAt, chassis }) =>
      ports.map((port) => ({ node: node === '' ? chassis : node, readAt, port })),
    ),
  );
}

export interface TopOptions {
  readonly node: string | undefined;
  readonly intervalMs: number;
  /** Ports shown. */
  readonly rows: number;
}

/** A page of the busiest ports per interval, for as long as somebody reads. */
export async function* top(
  client: NodeClient,
  { node, intervalMs, rows }: TopOptions,
  json: boolean,
): AsyncGenerator<string> {
  const read = async (): Promise<Reading> => {
    const { answers } = await collect(client.ask({ ports: { port: '' } }, node), ({ ports }) => ports);
    return answers;
  };
  for (let before = await read(); ; ) {
    await delay(intervalMs);
    const after = await read();
    const rates = portRates(before, after).slice(0, rows);
    yield json ? formatJson(rates) : topView(rates).join('\n');
    before = after;
  }
}

/** Received is what the VM sent, sent what it got. */
function topView(rates: readonly PortRate[]): readonly string[] {
  if (rates.length === 0) return ['no ports'];
  const cells = rates.map((each) => [
    each.port,
    each.switch,
    each.node,
    each.receivedPackets.toFixed(0),
    bits(each.receivedBytes),
    each.sentPackets.toFixed(0),
    bits(each.sentBytes),
    each.dropped.toFixed(0),
  ]);
  return formatTable(
    ['PORT', 'SWITCH', 'NODE', 'FROM VM/S', 'BIT/S', 'TO VM/S', 'BIT/S', 'DROPPED/S'],
    cells,
  );
}

function bits(bytesPerSecond: number): string {
  const value = bytesPerSecond * 8;
  for (const [unit, size] of [
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (value >= size) return `${(value / size).toFixed(1)}${unit}`;
  }
  return value.toFixed(0);
}
