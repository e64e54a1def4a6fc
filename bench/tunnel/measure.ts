import { readdirSync, readFileSync } from 'node:fs';

import { type Daemon, runOk } from '../../testbed/process.js';
import type { Testbed } from '../../testbed/testbed.js';
import { waitFor } from '../../testbed/wait.js';
import type { Ends } from './topologies.js';

export const metrics = [
  'tcpGbitPerSecond',
  'packetsPerSecond',
  'cpuNsPerPacket',
  'roundTripP50Us',
  'roundTripP99Us',
] as const;
export type Metric = (typeof metrics)[number];
export type Sample = Readonly<Record<Metric, number>>;

/** Both ends and everything in between run on one CPU, so that a packet's cost is all there is. */
const cpu = '1';
/** A frame of 64 bytes with its checksum: 14 + 20 + 8 + 18 + 4. */
const payloadBytes = '18';
const port = '9000';
const floodMs = 700;
/** What the slowest of all can carry. */
const pacedPps = 20_000;
const questions = 2000;
const tcpSeconds = '1';

/** The traffic program, compiled into the testbed's folder. */
export async function buildTraffic(bed: Testbed, source: string): Promise<string> {
  const program = bed.file('traffic');
  await runOk(['clang', '-O2', '-o', program, source]);
  return program;
}

/** CPU time in ns that a process has used in all its threads (proc(5) schedstat). */
function processNs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder)
    .map((task) => Number(readFileSync(`${folder}/${task}/schedstat`, 'utf8').split(' ')[0]))
    .reduce((sum, each) => sum + each, 0);
}

/** The threads that process packets when a sender's own time slice does not. */
function softirqThreads(): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('ksoftirqd/');
      } catch {
        return false;
      }
    });
}

/** One topology's ends with the traffic program at both. */
export class Meter {
  readonly #bed: Testbed;
  readonly #ends: Ends;
  readonly #program: string;
  readonly #softirqs = softirqThreads();
  #runs = 0;

  constructor(bed: Testbed, ends: Ends, program: string) {
    this.#bed = bed;
    this.#ends = ends;
    this.#program = program;
  }

  async sample(): Promise<Sample> {
    const full = await this.#flood(0);
    const paced = await this.#flood(pacedPps);
    const [roundTripP50Us, roundTripP99Us] = await this.#roundTrips();
    return {
      tcpGbitPerSecond: await this.#tcp(),
      packetsPerSecond: full.received / (floodMs / 1000),
      cpuNsPerPacket: paced.cpuNs / paced.received,
      roundTripP50Us,
      roundTripP99Us,
    };
  }

  /** 64-byte packets one way. CPU time is that of both ends and of whatever carries the packets. */
  async #flood(pps: number): Promise<{ readonly received: number; readonly cpuNs: number }> {
    const sink = await this.#serve('ready', this.#program, 'sink', port);
    const before = this.#carriersNs();
    const sent = await this.#send(
      this.#program,
      ...['flood', this.#ends.address, port, payloadBytes, String(floodMs), String(pps)],
    );
    const between = this.#carriersNs() - before;
    await sink.stop();
    const [, senderNs = 0] = numbersOf(sent);
    const [received = 0, sinkNs = 0] = numbersOf(sink.log().split('\n').slice(1).join(' '));
    return { received, cpuNs: senderNs + sinkNs + between };
  }

  async #roundTrips(): Promise<readonly [p50Us: number, p99Us: number]> {
    const server = await this.#serve('ready', this.#program, 'echo', port);
    const output = await this.#send(
      this.#program,
      ...['ask', this.#ends.address, port, payloadBytes, String(questions)],
    );
    await server.stop();
    const sorted = numbersOf(output).toSorted((a, b) => a - b);
    const percentile = (part: number): number =>
      (sorted[Math.floor(sorted.length * part)] ?? Number.NaN) / 1000;
    return [percentile(0.5), percentile(0.99)];
  }

  async #tcp(): Promise<number> {
    const server = await this.#serve('listening', 'iperf3', '-s', '-1', '--forceflush');
    const output = await this.#send(
      'iperf3',
      ...['-c', this.#ends.address, '-C', 'cubic', '-t', tcpSeconds, '-J'],
    );
    await server.stop();
    const { end } = JSON.parse(output) as {
      readonly end: { readonly sum_received: { readonly bits_per_second: number } };
    };
    return end.sum_received.bits_per_second / 1e9;
  }

  #carriersNs(): number {
    return [...this.#ends.carriers, ...this.#softirqs].reduce((sum, pid) => sum + processNs(pid), 0);
  }

  async #serve(ready: string, ...command: readonly string[]): Promise<Daemon> {
    this.#runs += 1;
    const server = this.#bed.daemon({
      name: `server-${this.#runs}`,
      command: this.#ends.to.command(['taskset', '-c', cpu, ...command]),
    });
    server.start();
    await waitFor(`${command.join(' ')} is ready`, () => server.log().includes(ready), { intervalMs: 5 });
    return server;
  }

  #send(...command: readonly string[]): Promise<string> {
    return this.#ends.from.runOk(['taskset', '-c', cpu, ...command]);
  }
}

function numbersOf(text: string): readonly number[] {
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map(Number);
}
