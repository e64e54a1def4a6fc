import { closeSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

import { macFromBytes } from '../../common/addresses.js';
import { decodeMacLearnedEvent, eventType, macLearnedEventSize } from '../../generated/bpf/layouts.js';
import type { MacEvent } from '../fdb/fdb-table.js';
import { check, kernelError } from './kernel-error.js';
import { isNull, lastErrno, libbpf, libc, NULL, type Pointer, sampleCallback } from './native.js';

/** Events taken per turn of the event loop; with the pause after so many, what a flood of them can cost. */
const eventsPerTurn = 1024;
const pauseMs = 50;
const pollTimeoutMs = 1000;

const nonBlockingCloseOnExec = 0o2004000;
const pollIn = 1;
const pollRecordBytes = 8;

/**
 * Reads the ring buffer `events` (by file descriptor) until `signal` aborts. It waits in poll(2) in a thread of
 * libuv's pool, so nothing is blocked; aborting and the end of the process wake it. Throws KernelError when the
 * kernel or libbpf refuse.
 */
export async function readEvents(
  mapFd: number,
  onEvent: (event: MacEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  let taken = 0;
  const onSample = sampleCallback((sample) => {
    const event = decodeEvent(sample);
    if (event !== undefined) onEvent(event);
    taken += 1;
    /* A negative result ends `ring_buffer__consume` behind this sample. */
    return taken < eventsPerTurn ? 0 : -1;
  });
  const ring = libbpf().ring_buffer__new(mapFd, onSample, NULL, NULL);
  if (isNull(ring)) throw kernelError('open the ring buffer of events', lastErrno());
  const waker = new Waker();
  const isAborted = (): boolean => signal.aborted;
  const wake = (): void => waker.wake();
  signal.addEventListener('abort', wake);
  process.on('exit', wake);
  try {
    const polled = pollRecords([libbpf().ring_buffer__epoll_fd(ring), waker.fd]);
    while (!isAborted()) {
      await poll(polled);
      if (isAborted()) break;
      taken = 0;
      const result = libbpf().ring_buffer__consume(ring);
      if (taken < eventsPerTurn) check(result, 'read the ring buffer of events');
      else await delay(pauseMs);
    }
  } finally {
    process.off('exit', wake);
    signal.removeEventListener('abort', wake);
    libbpf().ring_buffer__free(ring);
    waker.close();
  }
}

/** Undefined for an event of another type: later programs may send more. */
function decodeEvent(sample: Buffer): MacEvent | undefined {
  if (sample.length !== macLearnedEventSize) return undefined;
  const { type, datapathKey, portKey, mac } = decodeMacLearnedEvent(sample);
  return type === eventType.EVENT_MAC_LEARNED ? { datapathKey, portKey, mac: macFromBytes(mac) } : undefined;
}

/** An eventfd(2) that makes poll return. */
class Waker {
  readonly fd: number;

  constructor() {
    this.fd = libc().eventfd(0, nonBlockingCloseOnExec);
    if (this.fd < 0) throw kernelError('make an eventfd', lastErrno());
  }

  wake(): void {
    writeSync(this.fd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** struct pollfd of each. */
function pollRecords(fds: readonly number[]): Buffer {
  const records = Buffer.alloc(fds.length * pollRecordBytes);
  fds.forEach((fd, index) => {
    records.writeInt32LE(fd, index * pollRecordBytes);
    records.writeInt16LE(pollIn, index * pollRecordBytes + 4);
  });
  return records;
}

/** Resolves when one of them can be read, and now and then for nothing. */
function poll(records: Pointer): Promise<void> {
  return new Promise((resolve, reject) => {
    libc().poll.async(records, records.length / pollRecordBytes, pollTimeoutMs, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}
