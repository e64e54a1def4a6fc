import path from 'node:path';

import { ConfigError, errorMessage, IovnError } from './errors.js';
import { createLogger } from './log.js';

export interface DaemonOptions {
  /** What stands before its messages; the executable's name by default. */
  readonly name?: string;
  /** How long after SIGTERM the process may still run. */
  readonly shutdownMs?: number;
}

const ignoredSignals = ['SIGHUP', 'SIGPIPE', 'SIGUSR1', 'SIGUSR2'] as const;

/**
 * Runs a daemon's `main` until it returns, and ends the process: status 0 when it returned, 2 after a ConfigError
 * (one line on standard error), 1 after anything else (a log line). SIGTERM and SIGINT abort `signal`; whatever
 * still runs when `shutdownMs` have passed is named in the log and left behind, with status 1.
 */
export function runDaemon(main: (signal: AbortSignal) => Promise<void>, options: DaemonOptions = {}): void {
  const name = options.name ?? path.basename(process.argv[1] ?? 'iovn').replace(/\.[jt]s$/, '');
  const root = new AbortController();
  const end = (status: number): never => process.exit(status);
  const stop = (signalName: string): void => {
    if (root.signal.aborted) return;
    setTimeout(() => {
      fatal(name, 'did not stop in time', { signal: signalName, active: process.getActiveResourcesInfo() });
      end(1);
    }, options.shutdownMs ?? 1800);
    root.abort(new IovnError('stopped', `stopped by ${signalName}`));
  };
  const fail = (error: unknown): void => {
    if (error instanceof ConfigError) {
      process.stderr.write(`${name}: ${error.message}\n`);
      end(2);
    }
    fatal(name, 'fatal error', errorFields(error));
    end(1);
  };

  for (const ignored of ignoredSignals) process.on(ignored, () => undefined);
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  main(root.signal).then(
    () => end(0),
    (error: unknown) => {
      if (root.signal.aborted && isAbort(error, root.signal)) end(0);
      fail(error);
    },
  );
}

function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError');
}

function fatal(name: string, message: string, fields: Record<string, unknown>): void {
  createLogger(name, 'error').error(message, fields);
}

function errorFields(error: unknown): Record<string, unknown> {
  const fields = error instanceof IovnError ? { code: error.code, ...error.fields } : {};
  const cause =
    error instanceof Error && error.cause !== undefined ? { cause: errorMessage(error.cause) } : {};
  const stack = error instanceof Error ? { stack: error.stack } : {};
  return { ...fields, error: errorMessage(error), ...cause, ...stack };
}
