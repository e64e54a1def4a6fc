import type { ClientDuplexStream } from '@grpc/grpc-js';

import { Backoff, sleep } from '../../common/backoff.js';
import { errorMessage } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import type { v1 } from '../../common/proto.js';
import type { NodeQuery } from '../../generated/proto/iovn/v1/NodeQuery.js';
import type { RelayHelloInput } from '../../generated/proto/iovn/v1/RelayHello.js';
import type { RelayQuery } from '../../generated/proto/iovn/v1/RelayQuery.js';
import type { RelayReplyInput } from '../../generated/proto/iovn/v1/RelayReply.js';
import { type Ask, writeInTurn } from './serve-ask.js';

type Client = InstanceType<typeof v1.NodeRelay>;
type Call = ClientDuplexStream<RelayReplyInput, RelayQuery>;

/** Queries that are answered at the same time; a follower is one for as long as it stays. */
const maximumQueries = 32;
const backoffMs = { initialMs: 500, maximumMs: 30_000 };

/** Keeps a NodeRelay.Serve stream to the controller open, again and again, and answers what comes by it, until `signal` aborts. */
export async function serveRelay(
  client: Client,
  hello: RelayHelloInput,
  ask: Ask,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff(backoffMs);
  while (!signal.aborted) {
    const call = client.Serve();
    const queries = new RelayedQueries(call, ask);
    const abort = (): void => call.cancel();
    signal.addEventListener('abort', abort);
    const reason = await new Promise<string>((resolve) => {
      call.on('data', (message: RelayQuery) => {
        backoff.reset();
        queries.receive(message);
      });
      call.on('error', (error) => resolve(errorMessage(error)));
      call.on('end', () => resolve('the controller closed the stream'));
      call.write({ hello });
    });
    signal.removeEventListener('abort', abort);
    queries.abort();
    log.debug('the controller can not ask this node for now', { reason });
    await sleep(backoff.nextMs(), signal);
  }
}

/** The queries that have come by one stream and are not answered yet. */
class RelayedQueries {
  readonly #call: Call;
  readonly #ask: Ask;
  readonly #running = new Map<number, AbortController>();

  constructor(call: Call, ask: Ask) {
    this.#call = call;
    this.#ask = ask;
  }

  receive({ id, query, cancel }: RelayQuery): void {
    if (cancel) this.#running.get(id)?.abort();
    else if (query) void this.#answer(id, query);
  }

  abort(): void {
    for (const running of this.#running.values()) running.abort();
  }

  async #answer(id: number, query: NodeQuery): Promise<void> {
    const end = (error: string): void => void this.#call.write({ id, end: { error } });
    if (this.#running.size >= maximumQueries) {
      end(`the node answers ${maximumQueries} others already`);
      return;
    }
    const abort = new AbortController();
    this.#running.set(id, abort);
    try {
      for await (const reply of this.#ask(query, abort.signal)) {
        await writeInTurn(this.#call, { id, reply } satisfies RelayReplyInput, abort.signal);
        if (abort.signal.aborted) break;
      }
      end('');
    } catch (error) {
      end(errorMessage(error));
    } finally {
      this.#running.delete(id);
    }
  }
}
