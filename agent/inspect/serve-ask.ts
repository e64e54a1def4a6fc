import { once } from 'node:events';
import type { Writable } from 'node:stream';

import { type ServerWritableStream, status } from '@grpc/grpc-js';

import { errorMessage } from '../../common/errors.js';
import type { NodeQuery } from '../../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReply, NodeReplyInput } from '../../generated/proto/iovn/v1/NodeReply.js';

/** `Inspection.answer`. */
export type Ask = (query: NodeQuery, signal: AbortSignal) => AsyncIterable<NodeReplyInput>;

/** Writes, and waits where the other side is slower. Returns early when `signal` aborts. */
export async function writeInTurn(stream: Writable, message: unknown, signal: AbortSignal): Promise<void> {
  if (stream.write(message)) return;
  await once(stream, 'drain', { signal }).catch(() => undefined);
}

/** One NodeInspect.Ask. */
export async function serveAsk(
  call: ServerWritableStream<NodeQuery, NodeReply | NodeReplyInput>,
  ask: Ask,
): Promise<void> {
  const abort = new AbortController();
  call.on('cancelled', () => abort.abort());
  try {
    for await (const reply of ask(call.request, abort.signal)) {
      await writeInTurn(call, reply, abort.signal);
      if (abort.signal.aborted) return;
    }
    call.end();
  } catch (error) {
    call.emit('error', { code: status.FAILED_PRECONDITION, details: errorMessage(error) });
  }
}
