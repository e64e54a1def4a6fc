import type { NodePorts } from '../generated/proto/iovn/v1/NodePorts.js';

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

/** What nodes have said of all their ports, in pieces, by node. */
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
