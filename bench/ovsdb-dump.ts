/**
 * What the initial contents of a big database cost a client: `npm run bench:ovsdb [-- MEGABYTES]`.
 *
 * A real ovsdb-server is filled with an OVN Southbound database whose dump is about 100 MB of JSON. A process of its own
 * then loads it, and reloads it after a restart of the server. Printed are the longest stall of that process' event loop
 * and its growth in memory, as multiples of the dump's size. Exit status 1 when a limit is exceeded.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { silentLogger } from '../common/log.js';
import { MessageReader } from '../ovsdb/framing.js';
import { type Database, openDatabase } from '../ovsdb/index.js';
import { command, eventually, Server, temporaryFolder } from '../test/ovsdb/support.js';
import { fillSouthbound, southboundTables } from './southbound.js';

const stallLimitMs = 100;
const memoryLimit = 3;
const schemaFile = '/usr/share/ovn/ovn-sb.ovsschema';

interface Measurement {
  readonly phase: string;
  readonly rows: number;
  readonly tookMs: number;
  /** Longest time between two timers due every millisecond, less what other processes kept the CPU from us. */
  readonly longestGapMs: number;
  /** The same by the clock, as perf_hooks sees it. */
  readonly longestDelayMs: number;
  /** Growth against an idle process, in bytes. */
  readonly peakRssGrowth: number;
  readonly retained: number;
}

type Southbound = Database<typeof southboundTables>;

function open(remote: string, signal: AbortSignal): Southbound {
  return openDatabase({
    name: 'OVN_Southbound',
    remote,
    tables: southboundTables,
    signal,
    log: silentLogger,
    inactivityProbeMs: 60_000,
  });
}

/** Bytes of the answer that a client gets for its monitor request, counted off the wire. */
async function dumpBytes(socketPath: string): Promise<number> {
  const requests = Object.fromEntries(
    Object.values(southboundTables).map(({ name, columns }) => [name, [{ columns: Object.keys(columns) }]]),
  );
  const socket = net.connect({ path: socketPath });
  await once(socket, 'connect');
  const params = ['OVN_Southbound', 'count', requests];
  socket.write(JSON.stringify({ method: 'monitor_cond', params, id: 1 }));
  const reader = new MessageReader(() => ({ accept: () => true }));
  let bytes = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (!reader.push(chunk).next().done) break;
  }
  socket.destroy();
  return bytes;
}

/** Samples while `work` runs. */
async function measure(
  phase: string,
  database: () => Southbound,
  idle: NodeJS.MemoryUsage,
  work: () => Promise<void>,
): Promise<Measurement> {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  let longestGapMs = 0;
  let peakRss = 0;
  let lastMs = performance.now();
  let lastWaitMs = cpuWaitMs();
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const waitMs = cpuWaitMs();
    longestGapMs = Math.max(longestGapMs, nowMs - lastMs - (waitMs - lastWaitMs));
    lastMs = nowMs;
    lastWaitMs = waitMs;
    peakRss = Math.max(peakRss, process.memoryUsage.rss());
  }, 1);
  histogram.enable();
  const startMs = performance.now();
  await work();
  const tookMs = performance.now() - startMs;
  // The last stall is only seen by the timer after it.
  await delay(5);
  histogram.disable();
  clearInterval(timer);
  const highWater = process.resourceUsage().maxRSS * 1024;
  collectGarbage();
  const after = process.memoryUsage();
  return {
    phase,
    rows: Object.values(database().tables).reduce((sum, table) => sum + table.size, 0),
    tookMs,
    longestGapMs,
    longestDelayMs: histogram.max / 1e6,
    peakRssGrowth: (phase === 'load' ? highWater : peakRss) - idle.rss,
    retained: after.heapUsed + after.external - idle.heapUsed - idle.external,
  };
}

/** How long the main thread has been ready to run without a CPU, ever (proc(5) schedstat); 0 where the kernel does not say. */
function cpuWaitMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

function collectGarbage(): void {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc');
  globalThis.gc();
  globalThis.gc();
}

/** The measured process: loads, reports, and reloads when told that the server is back. */
async function client(remote: string): Promise<void> {
  collectGarbage();
  const idle = process.memoryUsage();
  const controller = new AbortController();
  let database: Southbound | undefined;
  const current = (): Southbound => {
    if (database === undefined) throw new Error('not open');
    return database;
  };
  const load = await measure('load', current, idle, async () => {
    database = open(remote, controller.signal);
    await database.populated();
  });
  const reconnects = current().status.reconnects;
  process.send?.(load);
  const reload = await measure('reload', current, idle, () =>
    eventually('reconnected', () => current().status.reconnects > reconnects, 120_000),
  );
  process.send?.(reload);
  controller.abort();
  process.disconnect();
}

async function main(megabytes: number): Promise<boolean> {
  const folder = temporaryFolder();
  const databaseFile = path.join(folder.path, 'sb.db');
  const socketPath = path.join(folder.path, 'sock');
  await command('ovsdb-tool', 'create', databaseFile, schemaFile);
  const server = new Server(folder.path, [databaseFile, `--remote=punix:${socketPath}`]);
  const controller = new AbortController();
  try {
    await server.start();
    const database = open(`unix:${socketPath}`, controller.signal);
    await database.populated();
    process.stdout.write(`filling a Southbound database for about ${megabytes} MB of dump …\n`);
    await fillSouthbound(database, megabytes * 1e6);
    controller.abort();
    const bytes = await dumpBytes(socketPath);
    return report(bytes, await runClient(`unix:${socketPath}`, server));
  } finally {
    controller.abort();
    await server.stop();
    folder.remove();
  }
}

async function runClient(remote: string, server: Server): Promise<readonly Measurement[]> {
  const child = fork(fileURLToPath(import.meta.url), ['--client', remote], {
    execArgv: ['--import=tsx', '--expose-gc'],
  });
  const measurements: Measurement[] = [];
  const ended = once(child, 'exit');
  child.on('message', (measurement: Measurement) => measurements.push(measurement));
  await Promise.race([once(child, 'message'), ended]);
  await server.stop();
  await server.start();
  await ended;
  if (measurements.length !== 2) throw new Error('the measured process failed');
  return measurements;
}

function report(bytes: number, measurements: readonly Measurement[]): boolean {
  process.stdout.write(`dump: ${(bytes / 1e6).toFixed(1)} MB of JSON, Node ${process.version}\n`);
  let pass = true;
  const rows = measurements.map((measurement) => {
    const {
      phase,
      rows: rowCount,
      tookMs,
      longestGapMs,
      longestDelayMs,
      peakRssGrowth,
      retained,
    } = measurement;
    const holds = longestGapMs <= stallLimitMs && peakRssGrowth <= memoryLimit * bytes;
    pass &&= holds;
    return {
      phase,
      rows: rowCount,
      'took s': (tookMs / 1000).toFixed(1),
      'longest stall ms': longestGapMs.toFixed(0),
      'by the clock ms': longestDelayMs.toFixed(0),
      'peak RSS growth ×': (peakRssGrowth / bytes).toFixed(2),
      'retained ×': (retained / bytes).toFixed(2),
      result: holds ? 'pass' : 'FAIL',
    };
  });
  console.table(rows);
  process.stdout.write(`limits: stall ${stallLimitMs} ms, peak RSS growth ${memoryLimit} × the dump\n`);
  return pass;
}

const [argument = '100', remoteArgument = ''] = process.argv.slice(2);
if (argument === '--client') await client(remoteArgument);
else if (!(await main(Number(argument)))) process.exitCode = 1;
