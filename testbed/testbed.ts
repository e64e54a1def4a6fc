import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { Daemon, type DaemonParts, run, runOk } from './process.js';
import { NetworkNamespace, removeNamespace } from './namespace.js';
import { Scope } from './scope.js';

const bpffsRoot = '/sys/fs/bpf';
const bpffsMagic = 0xcafe4a11;
const ownName = /^iovn-(\d+)-/;

/** A folder, a name prefix and a scope that everything in one network shares. Needs root. */
export class Testbed {
  readonly scope = new Scope();
  /** Unique on this machine; says which process it belongs to. */
  readonly prefix = `iovn-${process.pid}-${randomBytes(3).toString('hex')}`;
  readonly folder: string;
  readonly #daemons: Daemon[] = [];

  private constructor() {
    this.folder = mkdtempSync(path.join(tmpdir(), `${this.prefix}-`));
    this.scope.defer('folder', () => rmSync(this.folder, { recursive: true, force: true }));
  }

  static async open(): Promise<Testbed> {
    await removeLeftovers();
    await mountBpffs();
    return new Testbed();
  }

  file(name: string): string {
    return path.join(this.folder, name);
  }

  /** A folder on the BPF file system for somebody to make and fill; removed when the testbed closes. */
  bpffs(label: string): string {
    const folder = `${bpffsRoot}/${this.prefix}-${label}`;
    this.scope.defer(`pins of ${label}`, () => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }

  namespace(label: string): Promise<NetworkNamespace> {
    return NetworkNamespace.create(this.scope, `${this.prefix}-${label}`);
  }

  /** A daemon that is not started yet; stopped when the testbed closes, its log kept until then. */
  daemon(parts: Omit<DaemonParts, 'logFile'>): Daemon {
    const daemon = new Daemon({ ...parts, logFile: this.file(`${parts.name}.log`) });
    this.#daemons.push(daemon);
    this.scope.defer(parts.name, () => daemon.stop());
    return daemon;
  }

  /** The end of every daemon's log, for a failure's report. */
  logs(lines = 40): string {
    return this.#daemons
      .filter((daemon) => existsSync(this.file(`${daemon.name}.log`)))
      .map((daemon) => {
        const state = daemon.running ? 'running' : `ended, status ${daemon.exitStatus ?? 'signal'}`;
        return `--- ${daemon.name} (${state})\n${daemon.log().split('\n').slice(-lines).join('\n')}`;
      })
      .join('\n');
  }

  close(): Promise<void> {
    return this.scope.close();
  }
}

/** Where the kernel keeps pins; on a fresh machine nobody may have mounted it. */
export async function mountBpffs(): Promise<void> {
  if (statfsSync(bpffsRoot).type !== bpffsMagic) await runOk(['mount', '-t', 'bpf', 'bpf', bpffsRoot]);
}

/** Namespaces, folders and pins of testbeds whose process is gone. */
async function removeLeftovers(): Promise<void> {
  const { stdout } = await run(['ip', 'netns', 'list']);
  for (const line of stdout.split('\n')) {
    const [name = ''] = line.split(' ');
    if (isLeftover(name)) await removeNamespace(name).catch(() => undefined);
  }
  for (const parent of [tmpdir(), bpffsRoot]) {
    for (const name of readdirSync(parent).filter(isLeftover)) {
      rmSync(path.join(parent, name), { recursive: true, force: true });
    }
  }
}

function isLeftover(name: string): boolean {
  const pid = ownName.exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}
