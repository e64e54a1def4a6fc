import { setTimeout as delay } from 'node:timers/promises';

import { macFromBytes } from '../../common/addresses.js';
import {
  decodeMacLearnedEvent,
  decodePacketDroppedEvent,
  type DropReason,
  eventType,
  macLearnedEventSize,
  packetDroppedEventSize,
} from '../../generated/bpf/layouts.js';
import type { DropSample } from '../drops/drop-source.js';
import type { MacEvent } from '../fdb/fdb-table.js';
import { check, kernelError } from './kernel-error.js';
import { isNull, lastErrno, libbpf, NULL, sampleCallback } from './native.js';
import { Readiness } from './readiness.js';

/** Events taken per turn of the event loop; with the pause after so many, what a flood of them can cost. */
const eventsPerTurn = 1024;
const pauseMs = 50;
const macsLength = 12;
const tagLength = 4;

export interface EventHandlers {
  readonly onMac: (event: MacEvent) => void;
  readonly onDrop: (sample: DropSample) => void;
}

/**
 * Reads the ring buffer `events` (by file descriptor) until `signal` aborts. It waits in poll(2) in a thread of
 * libuv's pool, so nothing is blocked; aborting and the end of the process wake it. Throws KernelError when the
 * kernel or libbpf refuse.
 */
export async function readEvents(mapFd: number, handlers: EventHandlers, signal: AbortSignal): Promise<void> {
  let taken = 0;
  const onSample = sampleCallback((sample) => {
    dispatch(sample, handlers);
    taken += 1;
    /* A negative result ends `ring_buffer__consume` behind this sample. */
    return taken < eventsPerTurn ? 0 : -1;
  });
  const ring = libbpf().ring_buffer__new(mapFd, onSample, NULL, NULL);
  if (isNull(ring)) throw kernelError('open the ring buffer of events', lastErrno());
  const readiness = new Readiness([libbpf().ring_buffer__epoll_fd(ring)]);
  const isAborted = (): boolean => signal.aborted;
  const wake = (): void => readiness.wake();
  signal.addEventListener('abort', wake);
  try {
    while (!isAborted()) {
      await readiness.wait();
      if (isAborted()) break;
      taken = 0;
      const result = libbpf().ring_buffer__consume(ring);
      if (taken < eventsPerTurn) check(result, 'read the ring buffer of events');
      else await delay(pauseMs);
    }
  } finally {
    signal.removeEventListener('abort', wake);
    readiness.close();
    libbpf().ring_buffer__free(ring);
  }
}

/** An event of another type is left out: later programs may send more. */
function dispatch(sample: Buffer, { onMac, onDrop }: EventHandlers): void {
  const type = sample.readUInt32LE(0);
  if (type === eventType.EVENT_MAC_LEARNED && sample.length === macLearnedEventSize) {
    const { datapathKey, portKey, mac } = decodeMacLearnedEvent(sample);
    onMac({ datapathKey, portKey, mac: macFromBytes(mac) });
  } else if (type === eventType.EVENT_PACKET_DROPPED && sample.length === packetDroppedEventSize) {
    onDrop(readDrop(sample));
  }
}

function readDrop(sample: Buffer): DropSample {
  const event = decodePacketDroppedEvent(sample);
  const { slot, ifindex, packetLength, vlanProtocol, vlanTci } = event;
  const untagged = Buffer.from(event.head).subarray(0, event.headLength);
  /* The programs only sample with a number of their own enum. */
  const reason = event.reason as DropReason;
  if (vlanProtocol === 0 || untagged.length < macsLength) {
    return { slot, reason, ifindex, length: packetLength, head: untagged };
  }
  const tag = Buffer.alloc(tagLength);
  tag.writeUInt16LE(vlanProtocol, 0);
  tag.writeUInt16BE(vlanTci, 2);
  const head = Buffer.concat([untagged.subarray(0, macsLength), tag, untagged.subarray(macsLength)]);
  return { slot, reason, ifindex, length: packetLength + tagLength, head };
}
