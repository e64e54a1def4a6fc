import { setTimeout as delay } from 'node:timers/promises';

import { collect } from '../inspect/node-answers.js';
import { type PortRate, portRates, type Reading } from '../inspect/port-rates.js';
import { formatJson } from './json.js';
import type { NodeClient } from './node-client.js';
import { formatTable } from './table.js';

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
