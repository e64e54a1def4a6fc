import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

import { IovnError } from '../common/errors.js';
import { patience, waitFor } from './wait.js';

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** Runs a program without a shell. Whatever its status, it is a result; killed after `timeoutMs` (30 s) it has -1. */
export function run(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [program = '', ...args] = command;
  const env = { ...process.env, ...options.env };
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      { env, timeout: (options.timeoutMs ?? 30_000) * patience, killSignal: 'SIGKILL', maxBuffer: 64 << 20 },
      (error, stdout, stderr) => {
        const status = error === null ? 0 : (child.exitCode ?? -1);
        resolve({ status, stdout, stderr: error !== null && stderr === '' ? error.message : stderr });
      },
    );
    child.stdin?.end();
  });
}

/** Runs a program and returns what it printed. Throws IovnError `command_failed` when its status is not 0. */
export async function runOk(command: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await run(command, options);
  if (status !== 0) {
    const message = `${command.join(' ')}: status ${status}: ${stderr.trim() || stdout.trim()}`;
    throw new IovnError('command_failed', message, { status });
  }
  return stdout;
}

export interface DaemonParts {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Standard output and error are appended to it. */
  readonly logFile: string;
}

/** A program that runs until it is stopped, and can be started again. */
export class Daemon {
  readonly #parts: DaemonParts;
  #child: ChildProcess | undefined;

  constructor(parts: DaemonParts) {
    this.#parts = parts;
  }

  get name(): string {
    return this.#parts.name;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Of the last run; what starts programs in a namespace replaces itself by them. */
  get pid(): number {
    if (this.#child?.pid === undefined) throw new IovnError('not_started', `${this.name} was not started`);
    return this.#child.pid;
  }

  /** Status of the last run, 128 + signal number's place is null: killed by a signal. */
  get exitStatus(): number | null {
    return this.#child?.exitCode ?? null;
  }

  /** Everything it has written so far, over all runs. */
  log(): string {
    return readFileSync(this.#parts.logFile, 'utf8');
  }

  start(extraArgs: readonly string[] = []): void {
    if (this.running) throw new IovnError('already_running', `${this.name} runs already`);
    const [program = '', ...args] = this.#parts.command;
    const logFd = openSync(this.#parts.logFile, 'a');
    const env = { ...process.env, ...this.#parts.env };
    this.#child = spawn(program, [...args, ...extraArgs], { env, stdio: ['ignore', logFd, logFd] });
    closeSync(logFd);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#child?.kill(signal);
  }

  /** Waits until it has ended by itself. */
  async ended(timeoutMs = 10_000): Promise<void> {
    await waitFor(`${this.name} ends`, () => !this.running, { timeoutMs, intervalMs: 10 });
  }

  /** Ends it with SIGTERM, after `timeoutMs` with SIGKILL. */
  async stop(timeoutMs = 5000): Promise<void> {
    this.signal('SIGTERM');
    await this.ended(timeoutMs).catch(() => this.kill());
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended();
  }
}
