import { IovnError } from '../../common/errors.js';
import type { NodeQueryInput } from '../../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReply } from '../../generated/proto/iovn/v1/NodeReply.js';
import type { RelayQueryInput } from '../../generated/proto/iovn/v1/RelayQuery.js';
import type { RelayReply } from '../../generated/proto/iovn/v1/RelayReply.js';

/** Of one node, by all that ask. */
const maximumQueries = 32;
/** Replies that may wait for somebody who reads slowly. */
const maximumWaiting = 512;
const defaultSilenceMs = 5000;

interface Pending {
  readonly waiting: NodeReply[];
  /** Undefined while replies may still come; empty when all have. */
  end: string | undefined;
  wake: () => void;
}

function newPending(): Pending {
  return { waiting: [], end: undefined, wake: () => undefined };
}

/** The way to one node's agent, over the stream that it has opened. A slow reader holds up nobody else. */
export class NodeLink {
  readonly #send: (message: RelayQueryInput) => void;
  readonly #silenceMs: number;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  #closed: string | undefined;

  /** `silenceMs`: how long an agent may take over each reply, of a follower's the first excepted. */
  constructor(send: (message: RelayQueryInput) => void, silenceMs = defaultSilenceMs) {
    this.#send = send;
    this.#silenceMs = silenceMs;
  }

  receive({ id, reply, end }: RelayReply): void {
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.end !== undefined) return;
    if (reply) pending.waiting.push(reply);
    if (pending.waiting.length > maximumWaiting) {
      pending.waiting.length = 0;
      pending.end = 'the answer was not read as fast as it came';
    } else if (end) pending.end = end.error;
    pending.wake();
  }

  /** The stream is over: whoever waits is told so. */
  close(reason: string): void {
    this.#closed = reason;
    for (const pending of this.#pending.values()) {
      pending.end ??= reason;
      pending.wake();
    }
  }

  /** Replies as they come, until the node has said all or `signal` aborts. Throws IovnError 'node_error'. */
  async *ask(query: NodeQueryInput, signal: AbortSignal): AsyncGenerator<NodeReply> {
    if (this.#closed !== undefined) throw new IovnError('node_error', this.#closed);
    if (this.#pending.size >= maximumQueries) {
      throw new IovnError('node_error', `the node is asked ${maximumQueries} things already`);
    }
    const id = ++this.#lastId;
    const pending = newPending();
    const silenceMs = query.monitor ? undefined : this.#silenceMs;
    this.#pending.set(id, pending);
    this.#send({ id, query });
    try {
      while (!signal.aborted) {
        const reply = pending.waiting.shift();
        if (reply !== undefined) yield reply;
        else if (pending.end === '') return;
        else if (pending.end !== undefined) throw new IovnError('node_error', pending.end);
        else await nextReply(pending, signal, silenceMs);
      }
    } finally {
      this.#pending.delete(id);
      /* Closing ends all that is pending. */
      if (pending.end === undefined) this.#send({ id, cancel: {} });
    }
  }
}

/** Resolves when something has come or `signal` aborts. Throws IovnError when nothing has for `silenceMs`. */
async function nextReply(
  pending: Pending,
  signal: AbortSignal,
  silenceMs: number | undefined,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const wake = (): void => pending.wake();
  signal.addEventListener('abort', wake);
  try {
    await new Promise<void>((resolve, reject) => {
      pending.wake = resolve;
      if (silenceMs === undefined) return;
      timer = setTimeout(
        () => reject(new IovnError('node_error', `no answer within ${silenceMs / 1000} s`)),
        silenceMs,
      );
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', wake);
  }
}
