import type { AgentMessageInput } from '../generated/proto/iovn/v1/AgentMessage.js';

/** The part of a gRPC stream that an outbox writes to. */
export interface MessageSink {
  /** False when it wants no more until it emits 'drain'. */
  write(message: AgentMessageInput): boolean;
  on(event: 'drain', listener: () => void): unknown;
}

type Message = Omit<AgentMessageInput, 'body'>;
type Kind = 'hello' | 'chassis' | 'interfaces' | 'status' | 'applied' | 'learned' | 'decommission';

/** What is sent first when several wait: whoever reads an answer has read the interfaces that belong to it. */
const order: readonly Kind[] = [
  'hello',
  'chassis',
  'interfaces',
  'status',
  'applied',
  'learned',
  'decommission',
];

/**
 * Messages on their way to the controller. Of each kind the newest waits, since it replaces the one before it; so a
 * controller that does not read costs no more than one message of each.
 */
export class Outbox {
  readonly #waiting = new Map<Kind, Message>();
  readonly #sink: MessageSink;
  #writable = true;

  constructor(sink: MessageSink) {
    this.#sink = sink;
    sink.on('drain', () => {
      this.#writable = true;
      this.#flush();
    });
  }

  put<K extends Kind>(kind: K, message: NonNullable<Message[K]>): void {
    this.#waiting.set(kind, { [kind]: message });
    this.#flush();
  }

  /** Whether one of the kind has not been sent yet. */
  isWaiting(kind: Kind): boolean {
    return this.#waiting.has(kind);
  }

  #flush(): void {
    for (const kind of order) {
      const message = this.#waiting.get(kind);
      if (message === undefined) continue;
      if (!this.#writable) return;
      this.#waiting.delete(kind);
      this.#writable = this.#sink.write(message);
    }
  }
}
