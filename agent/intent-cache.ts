import { createHash } from 'node:crypto';

import { errorMessage } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { v1 } from '../common/proto.js';
import { applyUpdate, emptyIntent, type Intent, toSnapshot } from './intent.js';
import type { StateDir } from './state-dir.js';

const digestBytes = 32;

function digest(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest();
}

/** A serialized snapshot Update behind its SHA-256. */
export function encodeIntent(intent: Intent): Uint8Array {
  const body = v1.Update.serialize(toSnapshot(intent));
  return Buffer.concat([digest(body), body]);
}

/** The inverse of `encodeIntent`; undefined for bytes that are not what it wrote. */
export function decodeIntent(contents: Buffer): Intent | undefined {
  const body = contents.subarray(digestBytes);
  if (contents.length < digestBytes || !digest(body).equals(contents.subarray(0, digestBytes)))
    return undefined;
  return applyUpdate(emptyIntent, v1.Update.deserialize(body));
}

/** An intent of so many resources is written in about a millisecond. */
const writtenAtOnceUpTo = 1000;

/**
 * The last intent, for an agent that starts while no controller answers. It is written before the intent is acted on, so that an
 * agent that is killed takes nothing back when it starts again; but a large one some time later, since intent comes
 * in bursts. Only what is written later waits for the disk: a power failure takes the kernel's state along, too.
 */
export class IntentCache {
  readonly #stateDir: StateDir;
  readonly #delayMs: number;
  readonly #log: Logger;
  #pending: Intent | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(stateDir: StateDir, delayMs: number, log: Logger) {
    this.#stateDir = stateDir;
    this.#delayMs = delayMs;
    this.#log = log;
  }

  load(): Intent | undefined {
    try {
      const contents = this.#stateDir.readIntent();
      if (contents === undefined) return undefined;
      const intent = decodeIntent(contents);
      if (intent !== undefined) return intent;
      this.#log.warn('the cached intent is damaged and is not used: waiting for a controller');
    } catch (error) {
      this.#log.warn('the cached intent could not be read', { error: errorMessage(error) });
    }
    return undefined;
  }

  store(intent: Intent): void {
    this.#pending = intent;
    if (intent.raw.size <= writtenAtOnceUpTo) this.#write({ durable: false });
    this.#timer ??= setTimeout(() => this.flush(), this.#delayMs).unref();
  }

  /** Writes what waits to be written. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#write({ durable: true });
    this.#pending = undefined;
  }

  #write(options: { readonly durable: boolean }): void {
    if (this.#pending === undefined) return;
    try {
      this.#stateDir.writeIntent(encodeIntent(this.#pending), options);
    } catch (error) {
      this.#log.warn('the intent could not be cached', { error: errorMessage(error) });
    }
  }

  remove(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pending = undefined;
    this.#stateDir.removeIntent();
  }
}
