import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import type { Database, TableSpec } from '../../ovsdb/index.js';

const run = promisify(execFile);

/** Runs a program to its end; throws with its standard error when it fails. */
export async function command(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(program, args, { timeout: 60_000, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** Waits until `condition` holds, looking again every few milliseconds. Throws after `timeoutMs`. */
export async function eventually(
  what: string | (() => string),
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) {
      throw new Error(`not within ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A temporary folder, short enough for unix sockets. */
export function temporaryFolder(): { readonly path: string; remove(): void } {
  const folder = mkdtempSync(path.join(tmpdir(), 'iovn-ovsdb-'));
  return { path: folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** A small schema whose columns cover every shape. `extra` adds columns to table Thing. */
export function testSchema(extra: Record<string, unknown> = {}, version = '1.0.0'): Record<string, unknown> {
  const unlimited = (key: unknown, value?: unknown): unknown => ({
    type: { key, ...(value !== undefined && { value }), min: 0, max: 'unlimited' },
  });
  return {
    name: 'Test',
    version,
    tables: {
      Thing: {
        isRoot: true,
        columns: {
          name: { type: 'string' },
          number: { type: 'integer' },
          ratio: { type: 'real' },
          flag: { type: 'boolean' },
          note: { type: { key: 'string', min: 0, max: 1 } },
          tags: unlimited('string'),
          numbers: unlimited('integer'),
          others: unlimited({ type: 'uuid', refTable: 'Thing', refType: 'weak' }),
          friend: { type: { key: { type: 'uuid', refTable: 'Thing', refType: 'weak' }, min: 0, max: 1 } },
          options: unlimited('string', 'string'),
          counts: unlimited('string', 'integer'),
          ...extra,
        },
        indexes: [['name']],
      },
    },
  };
}

/** An ovsdb-server process of the test's own. */
export class Server {
  readonly folder: string;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;

  /** `args` follow the database file(s) on the command line. */
  constructor(folder: string, args: readonly string[]) {
    this.folder = folder;
    this.#args = args;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Starts the process and waits until it answers on its control socket. */
  async start(): Promise<void> {
    const control = path.join(this.folder, 'control');
    rmSync(control, { force: true });
    // It must not outlive a test that crashes.
    const child = spawn(
      'setpriv',
      [
        '--pdeathsig',
        'KILL',
        'ovsdb-server',
        ...this.#args,
        `--unixctl=${control}`,
        `--log-file=${path.join(this.folder, 'log')}`,
        '-vconsole:off',
        '-vfile:info',
        '--no-chdir',
      ],
      { stdio: 'ignore' },
    );
    this.#process = child;
    await eventually('ovsdb-server answers', async () => {
      if (child.exitCode !== null)
        throw new Error(`ovsdb-server ended with ${child.exitCode}, see ${this.folder}`);
      return this.control('version').then(
        () => true,
        () => false,
      );
    });
  }

  /** `ovs-appctl` to this process. */
  async control(...args: string[]): Promise<string> {
    return command('ovs-appctl', '-t', path.join(this.folder, 'control'), ...args);
  }

  /** Stops the process and waits for its end. Does nothing when it does not run. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGCONT');
    child.kill(signal);
    await once(child, 'exit');
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }
}

/** Resolves with the database's contents once `condition` holds for it. */
export async function until<T extends Record<string, TableSpec>>(
  database: Database<T>,
  what: string,
  condition: (database: Database<T>) => boolean,
): Promise<void> {
  await eventually(
    () => `${what} (status: ${JSON.stringify(database.status)})`,
    () => condition(database),
  );
}
