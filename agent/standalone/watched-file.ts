import { watch } from 'node:fs';
import path from 'node:path';

import { errorMessage } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import { readStandaloneFile, type StandaloneFile } from './file.js';

/** Editors write a file in several steps; other files of the folder may change all the time. */
const settleMs = 100;

export interface FileStatus {
  /** Why the file as it is now is not in force. */
  readonly problem: string | undefined;
  /** Epoch ms of the last change of `problem`. */
  readonly sinceMs: number;
}

/** A standalone agent's file, as it was when it was last valid. */
export class WatchedFile {
  readonly file: string;
  readonly #log: Logger;
  readonly #listeners = new Set<() => void>();
  #content: StandaloneFile;
  #status: FileStatus = { problem: undefined, sinceMs: Date.now() };

  /** Throws ConfigError when the file is not valid. */
  constructor(file: string, log: Logger) {
    this.file = path.resolve(file);
    this.#log = log;
    this.#content = readStandaloneFile(this.file);
  }

  get content(): StandaloneFile {
    return this.#content;
  }

  get status(): FileStatus {
    return this.#status;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Follows the file until `signal` aborts, also one that is replaced: it is the folder that is watched. */
  follow(signal: AbortSignal): void {
    let timer: NodeJS.Timeout | undefined;
    const watcher = watch(path.dirname(this.file), { signal });
    watcher.on('change', () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        this.#read();
      }, settleMs).unref();
    });
    watcher.on('error', (error) => {
      this.#setProblem(`${this.file} is not followed any more: ${errorMessage(error)}`);
    });
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
    this.#read();
  }

  #read(): void {
    try {
      const content = readStandaloneFile(this.file);
      const isSame = JSON.stringify(content) === JSON.stringify(this.#content);
      if (isSame && this.#status.problem === undefined) return;
      this.#content = content;
      this.#log.info('the file is in force', { file: this.file, switches: content.switches.length });
      this.#setProblem(undefined);
    } catch (error) {
      this.#setProblem(`${errorMessage(error)}; what was there before is still in force`);
    }
  }

  #setProblem(problem: string | undefined): void {
    if (problem !== this.#status.problem) this.#status = { problem, sinceMs: Date.now() };
    for (const listener of this.#listeners) listener();
  }
}
