import type { ChannelCredentials, ChannelOptions, ClientDuplexStream } from '@grpc/grpc-js';

import { errorMessage } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import { v1 } from '../common/proto.js';
import type { AgentMessageInput } from '../generated/proto/iovn/v1/AgentMessage.js';
import type { ControllerMessage } from '../generated/proto/iovn/v1/ControllerMessage.js';
import type { LearnedMacInput } from '../generated/proto/iovn/v1/LearnedMac.js';
import type { Update } from '../generated/proto/iovn/v1/Update.js';
import { Outbox } from './outbox.js';

/** How a stream ended; `served` when it brought at least one update. */
export interface StreamEnd {
  readonly kind: 'refused' | 'lost';
  readonly served: boolean;
  readonly reason: string;
}

export interface StreamOptions {
  /** HOST:PORT */
  readonly target: string;
  readonly credentials: ChannelCredentials;
  readonly log: Logger;
}

export interface StreamHandlers {
  readonly connectTimeoutMs: number;
  readonly signal: AbortSignal;
  /** The stream takes messages from now on; they are sent when the controller answers. */
  readonly onOpen: () => void;
  /** The first update has come: the controller accepts this node. */
  readonly onServed: () => void;
  /** Called then, with the same connection; `signal` aborts when the stream is over. */
  readonly onRelay?: (client: InstanceType<typeof v1.NodeRelay>, signal: AbortSignal) => void;
  readonly onUpdate: (update: Update) => void;
}

/** A peer that is silently gone is noticed after the sum of the first two. Each attempt has its own connection. */
const channelOptions: ChannelOptions = {
  'grpc.keepalive_time_ms': 3000,
  'grpc.keepalive_timeout_ms': 3000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.max_receive_message_length': 256 * 1024 * 1024,
};

type Call = ClientDuplexStream<AgentMessageInput, ControllerMessage>;

/** One stream to one controller, from connecting to its end. */
export class ControllerStream {
  readonly #client: InstanceType<typeof v1.ControlPlane>;
  readonly #relay: InstanceType<typeof v1.NodeRelay>;
  readonly #life = new AbortController();
  readonly #log: Logger;
  #call: Call | undefined;
  #outbox: Outbox | undefined;
  #served = false;
  #over = false;
  #finish: (end: StreamEnd) => void = () => undefined;
  #decommissioned: () => void = () => undefined;

  constructor({ target, credentials, log }: StreamOptions) {
    this.#client = new v1.ControlPlane(target, credentials, channelOptions);
    this.#relay = new v1.NodeRelay(target, credentials, { channelOverride: this.#client.getChannel() });
    this.#log = log;
  }

  /** Sends a message as soon as the stream takes it. Nothing before the stream is open: `onOpen` says all there is to say. */
  put: Outbox['put'] = (kind, message) => this.#outbox?.put(kind, message);

  /** Sends a batch of learnt MACs; false when the stream is not open or the batch before it still waits. */
  putLearned(macs: readonly LearnedMacInput[]): boolean {
    if (!this.#served || this.#outbox === undefined || this.#outbox.isWaiting('learned')) return false;
    this.#outbox.put('learned', { macs: [...macs] });
    return true;
  }

  /** Resolves when the stream is over, for whatever reason; never rejects. */
  async run(handlers: StreamHandlers): Promise<StreamEnd> {
    const end = new Promise<StreamEnd>((resolve) => {
      this.#finish = resolve;
    });
    const abort = (): void => this.close('the agent stops');
    handlers.signal.addEventListener('abort', abort);
    this.#open(handlers);
    this.#client.waitForReady(Date.now() + handlers.connectTimeoutMs, (error) => {
      if (error !== undefined) this.#lost(`no answer within ${handlers.connectTimeoutMs} ms`);
    });
    if (handlers.signal.aborted) abort();
    const result = await end;
    this.#over = true;
    this.#life.abort();
    handlers.signal.removeEventListener('abort', abort);
    this.#outbox = undefined;
    this.#call?.cancel();
    this.#client.close();
    return result;
  }

  /** Ends the stream from this side. */
  close(reason: string): void {
    this.#lost(reason);
  }

  /** Sends `decommission`; true once the controller has answered it, false when the stream is not open or ends before. */
  async decommission(signal: AbortSignal): Promise<boolean> {
    const call = this.#call;
    if (call === undefined || this.#outbox === undefined) return false;
    return new Promise((resolve) => {
      const giveUp = (): void => resolve(false);
      signal.addEventListener('abort', giveUp, { once: true });
      call.once('close', giveUp);
      this.#decommissioned = () => {
        signal.removeEventListener('abort', giveUp);
        resolve(true);
      };
      this.put('decommission', {});
    });
  }

  #open(handlers: StreamHandlers): void {
    const call = this.#client.Connect();
    this.#call = call;
    this.#outbox = new Outbox(call);
    call.on('data', (message: ControllerMessage) => this.#receive(message, handlers));
    call.on('error', (error) => this.#lost(errorMessage(error)));
    call.on('end', () => this.#lost('the controller closed the stream'));
    handlers.onOpen();
  }

  #lost(reason: string): void {
    this.#finish({ kind: 'lost', served: this.#served, reason });
  }

  #receive({ update, refusal, decommissioned }: ControllerMessage, handlers: StreamHandlers): void {
    if (this.#over) return;
    if (update) this.#receiveUpdate(update, handlers);
    else if (refusal) {
      this.#finish({ kind: 'refused', served: this.#served, reason: `${refusal.code}: ${refusal.message}` });
    } else if (decommissioned) this.#decommissioned();
    else this.#log.debug('message of a kind that this agent does not know');
  }

  #receiveUpdate(update: Update, { onServed, onUpdate, onRelay }: StreamHandlers): void {
    if (!this.#served) {
      if (!update.snapshot) {
        this.#lost('protocol error: the first update of the stream is not a snapshot');
        return;
      }
      this.#served = true;
      onServed();
      onRelay?.(this.#relay, this.#life.signal);
    }
    onUpdate(update);
  }
}
