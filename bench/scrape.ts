/**
 * What a scrape of an agent with 1,000 ports costs, over HTTP from another process: `npm run bench:scrape`. Every port has dropped
 * packets for three reasons. Side by side, in turns: the agent's metrics server; the same counters as a program usually has them, in
 * prom-client's registry; and a scrape of nothing, which shows what the machine's other work does to the figures.
 * Results go to bench/results/scrape.md.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

import { Counter, Registry } from 'prom-client';

import { openDataPlane } from '../agent/libbpf/kernel-data-plane.js';
import { silentLogger } from '../common/log.js';
import { startMetricsServer } from '../common/metrics-server.js';
import { packageRoot } from '../common/package-root.js';
import { parseMetrics, type Sample } from '../testbed/metrics.js';
import { vifObjectFile } from '../test/bpf/harness.js';
import { makeBpffsDir } from '../test/kernel/support.js';
import { metricsOfPorts } from '../test/support/node-with-ports.js';
import { enterPrivateNamespaces } from '../test/support/private-namespace.js';
import type { Fetched } from './scrape/client.js';

const ports = 1000;
const scrapes = 100;
const maximumMs = 100;
const nsPerMs = 1e6;

interface Cost extends Fetched {
  readonly cpuMs: number;
  readonly delayMs: number;
}

const life = new AbortController();
const { signal } = life;
const local = { host: '127.0.0.1', port: 0 };

/** What the kernel has counted, and 1 packet for each of the first three reasons. */
function openCounters() {
  const plane = openDataPlane({
    bpffsDir: makeBpffsDir(),
    objectFile: vifObjectFile,
    attachMode: 'auto',
    maxPorts: 8192,
    log: silentLogger,
  });
  signal.addEventListener('abort', () => plane.close());
  return {
    fdb: plane.fdb,
    readCounters: (slots: readonly number[]) => {
      const counters = plane.readCounters(slots);
      for (const { drops } of counters.values()) if (drops instanceof BigUint64Array) drops.fill(1n, 0, 3);
      return counters;
    },
  };
}

/** A registry that counts what the samples say. */
function registryOf(samples: readonly Sample[]): Registry {
  const registry = new Registry();
  for (const name of new Set(samples.map((sample) => sample.name))) {
    const series = samples.filter((sample) => sample.name === name);
    new Counter({
      name,
      help: 'As the agent has it.',
      labelNames: Object.keys(series[0]?.labels ?? {}),
      registers: [registry],
      collect() {
        this.reset();
        for (const { labels, value } of series) this.inc(labels, value);
      },
    });
  }
  return registry;
}

/** As prom-client's documentation has it. */
async function serveRegistry(registry: Registry): Promise<string> {
  const server = createServer((_request, response) => {
    void registry.metrics().then((text) => response.end(text));
  });
  server.listen(local.port, local.host);
  signal.addEventListener('abort', () => server.close());
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('the server has no address');
  return `http://${local.host}:${address.port}/metrics`;
}

async function serveAgent(metrics: ReturnType<typeof metricsOfPorts>): Promise<string> {
  const health = () => ({ ok: true });
  const { port } = await startMetricsServer({
    ...metrics,
    listen: local,
    health,
    signal,
    log: silentLogger,
  });
  return `http://${local.host}:${port}/metrics`;
}

enterPrivateNamespaces();
const client = fork(path.join(import.meta.dirname, 'scrape', 'client.ts'));
client.on('exit', (status) => {
  if (status !== 0) throw new Error('the scraper has failed');
});
const delay = monitorEventLoopDelay({ resolution: 1 });

async function scrape(url: string): Promise<Cost> {
  await sleep(20);
  delay.reset();
  const cpu = process.cpuUsage();
  const answer = once(client, 'message');
  client.send(url);
  const [fetched] = (await answer) as [Fetched];
  const { user, system } = process.cpuUsage(cpu);
  await sleep(5);
  return { ...fetched, cpuMs: (user + system) / 1000, delayMs: delay.max / nsPerMs };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

function row(name: string, costs: readonly Cost[]): string {
  const cells = [
    ...[0.5, 0.99].map((share) =>
      quantile(
        costs.map(({ ms }) => ms),
        share,
      ),
    ),
    quantile(
      costs.map(({ cpuMs }) => cpuMs),
      0.5,
    ),
    ...[0.5, 0.99, 1].map((share) =>
      quantile(
        costs.map(({ delayMs }) => delayMs),
        share,
      ),
    ),
  ];
  return `| ${name} | ${cells.map((cell) => cell.toFixed(1)).join(' | ')} |`;
}

const agent = await serveAgent(metricsOfPorts(openCounters(), ports));
const text = await (await fetch(agent)).text();
const portSamples = parseMetrics(text).filter(({ name }) => name.startsWith('iovn_agent_port_'));
const sides = [
  { name: 'the agent', url: agent, costs: [] as Cost[] },
  {
    name: 'prom-client alone',
    url: await serveRegistry(registryOf(portSamples.filter(({ labels }) => 'port' in labels))),
    costs: [] as Cost[],
  },
  { name: 'nothing', url: await serveRegistry(new Registry()), costs: [] as Cost[] },
];
for (const { url } of sides) for (let warmUp = 0; warmUp < 10; warmUp++) await scrape(url);
delay.enable();
for (let round = 0; round < scrapes; round++) {
  for (const { url, costs } of sides) costs.push(await scrape(url));
}
delay.disable();
client.disconnect();
life.abort();
const report = [
  '# What a scrape costs',
  '',
  `\`npm run bench:scrape\`, Linux ${os.release()}, ${os.cpus().length} CPUs, load ${os.loadavg()[0]?.toFixed(1)}: ${scrapes} scrapes in turns of ${ports} ports, each with`,
  `drops for three reasons, ${Math.round(text.length / 1024)} KiB of text; over HTTP by another process. In ms; the delay is that of a timer that is due every millisecond.`,
  '',
  '| | scrape, median | p99 | CPU time, median | event loop delay, median of the longest | p99 | longest |',
  '|---|---:|---:|---:|---:|---:|---:|',
  ...sides.map(({ name, costs }) => row(name, costs)),
  '',
].join('\n');
writeFileSync(path.join(packageRoot, 'bench', 'results', 'scrape.md'), report);
console.log(report);
const cpuMs = quantile(sides[0]?.costs.map((cost) => cost.cpuMs) ?? [], 0.5);
if (!(cpuMs < maximumMs)) {
  console.error(`a scrape takes ${maximumMs} ms of CPU time or more`);
  process.exitCode = 1;
}
