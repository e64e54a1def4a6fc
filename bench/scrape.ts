/**
 * What a scrape of an agent with 1,000 ports costs: `npm run bench:scrape`. The time until the text is there, and for how long the
 * event loop does nothing else meanwhile. Every port has dropped packets for three reasons.
 * What must hold is the CPU time, since the rest depends on what else the machine does. Results go to bench/results/scrape.md.
 */
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';

import { openDataPlane } from '../agent/libbpf/kernel-data-plane.js';
import { silentLogger } from '../common/log.js';
import { packageRoot } from '../common/package-root.js';
import { vifObjectFile } from '../test/bpf/harness.js';
import { makeBpffsDir } from '../test/kernel/support.js';
import { metricsOfPorts } from '../test/support/node-with-ports.js';
import { enterPrivateNamespaces } from '../test/support/private-namespace.js';

const ports = 1000;
const scrapes = 50;
const maximumMs = 100;
const nsPerMs = 1e6;

enterPrivateNamespaces();
const plane = openDataPlane({
  bpffsDir: makeBpffsDir(),
  objectFile: vifObjectFile,
  attachMode: 'auto',
  maxPorts: 8192,
  log: silentLogger,
});
const counting = {
  fdb: plane.fdb,
  readCounters: (slots: readonly number[]) => {
    const counters = plane.readCounters(slots);
    return new Map(
      Array.from(counters, ([slot, each]) => [
        slot,
        { ...each, drops: each.drops.map((count, reason) => (reason < 3 ? count + 1n : count)) },
      ]),
    );
  },
};
const registry = metricsOfPorts(counting, ports);
const times: number[] = [];
let cpuUs = 0;
let bytes = 0;
await registry.metrics();
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
for (let scrape = 0; scrape < scrapes; scrape++) {
  const startMs = performance.now();
  const cpu = process.cpuUsage();
  bytes = (await registry.metrics()).length;
  times.push(performance.now() - startMs);
  const { user, system } = process.cpuUsage(cpu);
  cpuUs += user + system;
  await new Promise((resolve) => setTimeout(resolve, 20));
}
delay.disable();
plane.close();
times.sort((a, b) => a - b);
const median = times[Math.floor(scrapes / 2)] ?? Number.NaN;
const slowest = times.at(-1) ?? Number.NaN;
const report = [
  '# What a scrape costs',
  '',
  `\`npm run bench:scrape\`, Linux ${os.release()}, ${os.cpus().length} CPUs: ${scrapes} scrapes of an agent with ${ports} ports,`,
  `each with drops for three reasons, ${Math.round(bytes / 1024)} KiB of text.`,
  '',
  '| | ms |',
  '|---|---:|',
  `| scrape, median | ${median.toFixed(1)} |`,
  `| scrape, slowest | ${slowest.toFixed(1)} |`,
  `| CPU time of a scrape, mean | ${(cpuUs / 1000 / scrapes).toFixed(1)} |`,
  `| longest delay of the event loop | ${(delay.max / nsPerMs).toFixed(1)} |`,
  '',
].join('\n');
writeFileSync(path.join(packageRoot, 'bench', 'results', 'scrape.md'), report);
console.log(report);
if (cpuUs / 1000 / scrapes > maximumMs) {
  console.error(`a scrape takes more than ${maximumMs} ms of CPU time`);
  process.exitCode = 1;
}
