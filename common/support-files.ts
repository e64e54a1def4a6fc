import { readFileSync } from 'node:fs';
import os from 'node:os';

import type { SupportPartInput } from '../generated/proto/iovn/v1/SupportPart.js';
import { errorMessage } from './errors.js';
import type { LogControl } from './log.js';
import { packageVersion } from './package-root.js';

/** A text that a daemon gives to a support bundle. */
export interface SupportFile {
  readonly name: string;
  /** Throws what keeps it from being had. */
  readonly read: () => string | Promise<string>;
}

const partLength = 100_000;

/** The files piece by piece; one that can't be had is an error, and does not stop the others. */
export async function* supportParts(files: readonly SupportFile[]): AsyncGenerator<SupportPartInput> {
  for (const { name: file, read } of files) {
    let text: string;
    try {
      text = await read();
    } catch (error) {
      yield { file, error: errorMessage(error) };
      continue;
    }
    for (let from = 0; from === 0 || from < text.length; from += partLength)
      yield { file, text: text.slice(from, from + partLength) };
  }
}

export interface SupportSources {
  readonly program: string;
  readonly startedMs: number;
  /** As `readSettings` gives them: file names, but nothing of what is in them. */
  readonly settings: object;
  readonly log: Pick<LogControl, 'level' | 'recent'>;
  readonly metrics: () => Promise<string>;
}

/** What every daemon can give. */
export function daemonFiles(sources: SupportSources): readonly SupportFile[] {
  const { settings, log, metrics } = sources;
  return [
    { name: 'about.json', read: () => json(about(sources)) },
    { name: 'settings.json', read: () => json(settings) },
    { name: 'kernel.json', read: () => json(kernelFacts()) },
    {
      name: 'log.jsonl',
      read: () =>
        log
          .recent()
          .map((line) => `${line}\n`)
          .join(''),
    },
    { name: 'metrics.txt', read: metrics },
  ];
}

function json(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function about({ program, startedMs, log }: SupportSources): object {
  return {
    program,
    version: packageVersion,
    node: process.version,
    pid: process.pid,
    started: new Date(startedMs).toISOString(),
    now: new Date().toISOString(),
    log_level: log.level,
    memory_bytes: process.memoryUsage(),
    cpu_seconds: { user: process.cpuUsage().user / 1e6, system: process.cpuUsage().system / 1e6 },
  };
}

const kernelSettings = [
  'kernel/bpf_stats_enabled',
  'kernel/unprivileged_bpf_disabled',
  'net/core/bpf_jit_enable',
  'net/core/bpf_jit_harden',
  'net/core/bpf_jit_limit',
  'net/core/netdev_max_backlog',
  'vm/overcommit_memory',
];

function kernelFacts(): object {
  return {
    hostname: os.hostname(),
    release: os.release(),
    version: os.version(),
    machine: os.machine(),
    cpus: os.cpus().length,
    memory_bytes: { total: os.totalmem(), free: os.freemem() },
    uptime_seconds: os.uptime(),
    distribution: readOr('/etc/os-release', (text) => /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? ''),
    sysctl: Object.fromEntries(
      kernelSettings.map((name) => [
        name.replaceAll('/', '.'),
        readOr(`/proc/sys/${name}`, (text) => text.trim()),
      ]),
    ),
  };
}

/** A file that this kernel or distribution need not have. */
function readOr(file: string, pick: (text: string) => string): string {
  try {
    return pick(readFileSync(file, 'utf8'));
  } catch (error) {
    return errorMessage(error);
  }
}
