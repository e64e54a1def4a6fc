import { closeSync, writeSync } from 'node:fs';

import { kernelError } from './kernel-error.js';
import { lastErrno, libc } from './native.js';

const nonBlockingCloseOnExec = 0o2004000;
const pollIn = 1;
const pollRecordBytes = 8;
const pollTimeoutMs = 1000;

/**
 * Waits for file descriptors that libuv does not know how to watch: in poll(2), in a thread of its pool. What is there
 * is read by the main thread only, and so in its order. `wake`, and the end of the process, end a wait at once: libuv
 * waits for its threads.
 */
export class Readiness {
  readonly #waker: number;
  /** struct pollfd of each. */
  readonly #records: Buffer;
  readonly #atExit = (): void => this.wake();

  /** Throws KernelError. The descriptors stay the caller's. */
  constructor(fds: readonly number[]) {
    this.#waker = libc().eventfd(0, nonBlockingCloseOnExec);
    if (this.#waker < 0) throw kernelError('make an eventfd', lastErrno());
    const watched = [...fds, this.#waker];
    this.#records = Buffer.alloc(watched.length * pollRecordBytes);
    watched.forEach((fd, index) => {
      this.#records.writeInt32LE(fd, index * pollRecordBytes);
      this.#records.writeInt16LE(pollIn, index * pollRecordBytes + 4);
    });
    process.on('exit', this.#atExit);
  }

  /** Resolves when one of them can be read, and now and then for nothing. */
  wait(): Promise<void> {
    const count = this.#records.length / pollRecordBytes;
    return new Promise((resolve, reject) => {
      libc().poll.async(this.#records, count, pollTimeoutMs, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  /** From now on nothing waits any more. */
  wake(): void {
    writeSync(this.#waker, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
  }

  /** Nobody may be waiting. */
  close(): void {
    process.off('exit', this.#atExit);
    closeSync(this.#waker);
  }
}
