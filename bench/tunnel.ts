/**
 * What goes from a VM on one node to a VM on another, over our tunnels and over what a user would have instead: `npm run
 * bench:tunnel`. All topologies stand side by side and are measured in turns, so that what else the machine does hits
 * all. Results go to bench/results/tunnel.json and .md.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { errorMessage } from '../common/errors.js';
import { packageRoot } from '../common/package-root.js';
import { run, runOk } from '../testbed/process.js';
import { Scope } from '../testbed/scope.js';
import { Testbed } from '../testbed/testbed.js';
import { buildTraffic, Meter, type Sample } from './tunnel/measure.js';
import { markdown, type Result, summarize } from './tunnel/report.js';
import { kernelVxlan, ours, plainVeth, type Topology, vanilla } from './tunnel/topologies.js';

const rounds = 5;
const topologies: readonly Topology[] = [plainVeth, ours('geneve'), ours('vxlan'), kernelVxlan, vanilla];
const trafficSource = path.join(packageRoot, 'bench', 'tunnel', 'traffic.c');

/** iperf3 is needed here and nowhere else. */
async function installIperf(): Promise<void> {
  if ((await run(['iperf3', '--version'])).status === 0) return;
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const aptGet = ['apt-get', '-q', '-y', '-o', 'DPkg::Lock::Timeout=120'];
  await runOk([...aptGet, 'update'], { env, timeoutMs: 180_000 });
  await runOk([...aptGet, 'install', '--no-install-recommends', 'iperf3'], { env, timeoutMs: 180_000 });
}

async function openMeter(scope: Scope, topology: Topology): Promise<Meter> {
  const bed = await Testbed.open();
  scope.defer(topology.name, () => bed.close());
  const ends = await topology.open(bed);
  await runOk(ends.from.command(['ping', '-n', '-c', '1', '-w', '20', ends.address]));
  return new Meter(bed, ends, await buildTraffic(bed, trafficSource));
}

async function measureInTurns(scope: Scope): Promise<readonly Result[]> {
  const meters = new Map<Topology, Meter>();
  for (const topology of topologies) {
    console.error(`building: ${topology.name}`);
    meters.set(topology, await openMeter(scope, topology));
  }
  const samples = new Map<Topology, Sample[]>(topologies.map((topology) => [topology, []]));
  for (let round = 1; round <= rounds; round += 1) {
    console.error(`round ${round} of ${rounds}`);
    for (const [topology, meter] of meters) samples.get(topology)?.push(await meter.sample());
  }
  return topologies.map((topology) => summarize(topology.name, samples.get(topology) ?? []));
}

function write(results: readonly Result[]): void {
  const about = [
    `\`npm run bench:tunnel\`, Linux ${os.release()}: medians of ${rounds} rounds (smallest–largest). Sender and receiver share one`,
    'CPU; nodes are network namespaces, connected by veths and a bridge. CPU per packet is that of sender, receiver, kernel',
    'and ovs-vswitchd at 20,000 packets a second. TCP rates vary by a factor of 3 on such machines and are no measure.',
  ].join('\n');
  const folder = path.join(packageRoot, 'bench', 'results');
  mkdirSync(folder, { recursive: true });
  const report = { kernel: os.release(), rounds, results };
  writeFileSync(path.join(folder, 'tunnel.json'), `${JSON.stringify(report, undefined, 2)}\n`);
  writeFileSync(path.join(folder, 'tunnel.md'), markdown(results, about));
  console.log(markdown(results, about));
}

const scope = new Scope();
const interrupted = new Promise<never>((_resolve, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => reject(new Error(signal)));
});
try {
  await installIperf();
  write(await Promise.race([measureInTurns(scope), interrupted]));
} catch (error) {
  console.error(errorMessage(error));
  process.exitCode = 1;
} finally {
  await scope.close();
}
