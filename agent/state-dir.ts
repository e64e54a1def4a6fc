import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

import { errorMessage, IovnError } from '../common/errors.js';

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/**
 * Replaces a file so that a reader sees the old contents or the new ones: also one after a power failure when it is
 * `durable`, which takes the time that the disk takes.
 */
export function writeFileAtomically(file: string, contents: Uint8Array | string, durable = true): void {
  const temporary = `${file}.new`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    writeFileSync(fd, contents);
    if (durable) fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, file);
  if (!durable) return;
  const folder = openSync(path.dirname(file), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** What the agent keeps over restarts. */
export class StateDir {
  readonly folder: string;

  /** Makes the folder if need be. Throws IovnError 'state_dir'. */
  constructor(folder: string) {
    this.folder = folder;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new IovnError(
        'state_dir',
        `cannot use state directory ${folder}: ${errorMessage(error)}`,
        {},
        error,
      );
    }
  }

  /** The unix socket at which the agent that uses this folder answers. */
  get controlSocket(): string {
    return path.join(this.folder, 'agent.sock');
  }

  /** Made at random once. Throws IovnError 'state_dir' when it can be neither read nor written. */
  agentId(): string {
    const file = path.join(this.folder, 'agent-id');
    try {
      const text = this.#read(file)?.toString('utf8').trim() ?? '';
      if (uuidPattern.test(text)) return text;
      const fresh = randomUUID();
      writeFileAtomically(file, `${fresh}\n`);
      return fresh;
    } catch (error) {
      throw new IovnError(
        'state_dir',
        `cannot keep the agent id in ${file}: ${errorMessage(error)}`,
        {},
        error,
      );
    }
  }

  get #intentFile(): string {
    return path.join(this.folder, 'intent.cache');
  }

  /** Undefined when there is none. Throws what the file system throws. */
  readIntent(): Buffer | undefined {
    return this.#read(this.#intentFile);
  }

  writeIntent(contents: Uint8Array, { durable }: { readonly durable: boolean }): void {
    writeFileAtomically(this.#intentFile, contents, durable);
  }

  removeIntent(): void {
    rmSync(this.#intentFile, { force: true });
  }

  #read(file: string): Buffer | undefined {
    try {
      return readFileSync(file);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }
}
