import { isDeepStrictEqual } from 'node:util';

import type { ChannelCredentials } from '@grpc/grpc-js';

import { Backoff, sleep } from '../common/backoff.js';
import { deadline } from '../common/deadline.js';
import { ConfigError, errorMessage, IovnError } from '../common/errors.js';
import { formatListenAddress, type ListenAddress, parseListenAddresses } from '../common/listen-address.js';
import type { Logger } from '../common/log.js';
import type { v1 } from '../common/proto.js';
import type { AgentStatusInput } from '../generated/proto/iovn/v1/AgentStatus.js';
import type { AppliedInput } from '../generated/proto/iovn/v1/Applied.js';
import type { ChassisInput } from '../generated/proto/iovn/v1/Chassis.js';
import type { HelloInput } from '../generated/proto/iovn/v1/Hello.js';
import type { InterfaceInput } from '../generated/proto/iovn/v1/Interface.js';
import type { LearnedMacInput } from '../generated/proto/iovn/v1/LearnedMac.js';
import type { RelayHelloInput } from '../generated/proto/iovn/v1/RelayHello.js';
import type { Update } from '../generated/proto/iovn/v1/Update.js';
import { ControllerStream, type StreamEnd } from './controller-stream.js';
import type { LearnedOutlet } from './fdb/sightings.js';
import type { ControllerOutlet } from './reconciler.js';
import type { ChassisConfig } from './vswitch/node-config.js';

/** How it stands with what the intent comes from. */
export interface IntentSourceStatus {
  /** One of `SessionStatus.state`, or 'standalone': there is no controller, and the intent comes from a file. */
  readonly state: string;
  /** HOST:PORT of a controller, '' while none is known, or the file's path. */
  readonly controller: string;
  /** Epoch ms of the last change of `state`. */
  readonly sinceMs: number;
  readonly error: string | undefined;
}

export interface SessionStatus extends IntentSourceStatus {
  readonly state: 'waiting' | 'connecting' | 'connected' | 'refused' | 'backoff';
}

/** Limits on waiting, in ms. */
export interface SessionTiming {
  readonly connectTimeoutMs: number;
  readonly backoffInitialMs: number;
  readonly backoffMaximumMs: number;
  readonly refusedInitialMs: number;
  readonly refusedMaximumMs: number;
}

export const defaultSessionTiming: SessionTiming = {
  connectTimeoutMs: 3000,
  backoffInitialMs: 200,
  backoffMaximumMs: 5000,
  refusedInitialMs: 4000,
  refusedMaximumMs: 30_000,
};

export interface SessionOptions {
  /** From --controller; otherwise the local database says where the controllers are. */
  readonly controllers: readonly ListenAddress[] | undefined;
  /** Throws ConfigError when the controller may not be called that way. */
  readonly credentials: (address: ListenAddress) => ChannelCredentials;
  readonly identity: Omit<HelloInput, 'chassis'>;
  /** Called for each Update; `stream` is the number of the stream that it came by. */
  readonly onUpdate: (update: Update, stream: number) => void;
  /** Answers what a controller asks about this node, until `signal` aborts. */
  readonly serveRelay?: (
    client: InstanceType<typeof v1.NodeRelay>,
    hello: RelayHelloInput,
    signal: AbortSignal,
  ) => void;
  readonly now: () => number;
  readonly timing?: Partial<SessionTiming>;
  readonly log: Logger;
}

function toMessage(chassis: ChassisConfig): ChassisInput {
  return {
    name: chassis.name,
    hostname: chassis.hostname,
    encaps: chassis.encaps.map((encap) => ({ ...encap, options: { ...encap.options } })),
    other_config: { ...chassis.otherConfig },
    transport_zones: [...chassis.transportZones],
  };
}

/**
 * The agent's stream to a controller: opened as soon as the node knows who it is, tried again for ever, with the next
 * controller of the list each time. What the node has to say is kept and said again on each new stream.
 */
export class ControllerSession implements ControllerOutlet, LearnedOutlet {
  readonly #options: SessionOptions;
  readonly #timing: SessionTiming;
  #controllersFromDatabase: string | undefined;
  #chassis: ChassisConfig | undefined;
  #interfaces: readonly InterfaceInput[] | undefined;
  #agentStatus: AgentStatusInput | undefined;
  #stream: ControllerStream | undefined;
  #streamNumber = 0;
  #status: SessionStatus;
  #changed: () => void = () => undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#timing = { ...defaultSessionTiming, ...options.timing };
    this.#status = { state: 'waiting', controller: '', sinceMs: options.now(), error: undefined };
  }

  get status(): SessionStatus {
    return this.#status;
  }

  setChassis(chassis: ChassisConfig | undefined, controller: string | undefined): void {
    const same = isDeepStrictEqual(chassis, this.#chassis) && controller === this.#controllersFromDatabase;
    if (same) return;
    const isOther = chassis?.name !== this.#chassis?.name || controller !== this.#controllersFromDatabase;
    this.#chassis = chassis;
    this.#controllersFromDatabase = controller;
    if (isOther || chassis === undefined) this.#stream?.close('the node is configured differently now');
    else this.#stream?.put('chassis', toMessage(chassis));
    this.#changed();
  }

  setInterfaces(interfaces: readonly InterfaceInput[]): void {
    if (isDeepStrictEqual(interfaces, this.#interfaces)) return;
    this.#interfaces = interfaces;
    this.#stream?.put('interfaces', { interfaces: [...interfaces] });
    this.#changed();
  }

  setStatus(status: AgentStatusInput): void {
    if (isDeepStrictEqual(status, this.#agentStatus)) return;
    this.#agentStatus = status;
    this.#stream?.put('status', status);
  }

  applied(stream: number, answer: AppliedInput): void {
    if (stream === this.#streamNumber) this.#stream?.put('applied', answer);
  }

  sendLearned(macs: readonly LearnedMacInput[]): boolean {
    return this.#stream?.putLearned(macs) ?? false;
  }

  /**
   * Asks the controller to release this node's ports and to remove its rows, and waits for its answer; for a stream
   * first if there is none. Throws IovnError 'decommission_failed' after `timeoutMs`, or when `signal` aborts.
   */
  async decommission(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const limit = deadline(signal, timeoutMs);
    while (!limit.aborted) {
      if (this.#stream !== undefined && (await this.#stream.decommission(limit))) return;
      await sleep(50, limit);
    }
    const { controller, error } = this.#status;
    const where = controller === '' ? 'no controller is configured' : `controller ${controller}`;
    const why = error ?? 'no answer in time';
    throw new IovnError('decommission_failed', `the controller did not release this node: ${where}: ${why}`);
  }

  /** Runs until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { backoffInitialMs, backoffMaximumMs, refusedInitialMs, refusedMaximumMs } = this.#timing;
    const backoff = new Backoff({ initialMs: backoffInitialMs, maximumMs: backoffMaximumMs });
    const refused = new Backoff({ initialMs: refusedInitialMs, maximumMs: refusedMaximumMs });
    const abort = (): void => {
      this.#stream?.close('the agent stops');
      this.#changed();
    };
    signal.addEventListener('abort', abort);
    for (let attempt = 0; !signal.aborted; attempt++) {
      const addresses = await this.#addresses(signal);
      const address = addresses[attempt % addresses.length];
      if (address === undefined) continue;
      const end = await this.#connect(address, signal);
      this.#report(end, address);
      if (end.kind !== 'refused') refused.reset();
      if (end.served) backoff.reset();
      const isLastOfRound = (attempt + 1) % addresses.length === 0;
      if (end.kind === 'refused') await sleep(refused.nextMs(), signal);
      else if (isLastOfRound || end.served) await sleep(backoff.nextMs(), signal);
    }
    signal.removeEventListener('abort', abort);
  }

  /** Waits until there is somebody to be and somebody to call. Empty when `signal` aborts. */
  async #addresses(signal: AbortSignal): Promise<readonly ListenAddress[]> {
    while (!signal.aborted) {
      const found = this.#findAddresses();
      if (typeof found !== 'string') return found;
      this.#setStatus('waiting', '', found);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
    return [];
  }

  /** The controllers to call, or what is missing for that. */
  #findAddresses(): readonly ListenAddress[] | string {
    if (this.#interfaces === undefined) return 'the local database has not been read yet';
    if (this.#chassis === undefined) return 'the chassis is not configured';
    if (this.#options.controllers !== undefined) return this.#options.controllers;
    const text = this.#controllersFromDatabase;
    if (text === undefined) {
      return 'neither --controller nor Open_vSwitch.external_ids:iovn-controller names a controller';
    }
    try {
      return parseListenAddresses(text);
    } catch (error) {
      return `Open_vSwitch.external_ids:iovn-controller '${text}': ${errorMessage(error)}`;
    }
  }

  async #connect(address: ListenAddress, signal: AbortSignal): Promise<StreamEnd> {
    const target = formatListenAddress(address);
    this.#setStatus('connecting', target, this.#status.state === 'waiting' ? undefined : this.#status.error);
    let credentials: ChannelCredentials;
    try {
      credentials = this.#options.credentials(address);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return { kind: 'lost', served: false, reason: error.message };
    }
    const stream = new ControllerStream({ target, credentials, log: this.#options.log });
    this.#stream = stream;
    const number = ++this.#streamNumber;
    try {
      return await stream.run({
        connectTimeoutMs: this.#timing.connectTimeoutMs,
        signal,
        onOpen: () => this.#greet(stream),
        onRelay: (client, life) => {
          const hello = {
            chassis: this.#chassis?.name ?? '',
            agent_id: this.#options.identity.agent_id ?? '',
          };
          this.#options.serveRelay?.(client, hello, life);
        },
        onServed: () => {
          this.#setStatus('connected', target, undefined);
          this.#options.log.info('connected to the controller', { controller: target });
        },
        onUpdate: (update) => this.#options.onUpdate(update, number),
      });
    } finally {
      this.#stream = undefined;
    }
  }

  #greet(stream: ControllerStream): void {
    if (this.#chassis === undefined) {
      stream.close('the node is configured differently now');
      return;
    }
    stream.put('hello', { ...this.#options.identity, chassis: toMessage(this.#chassis) });
    stream.put('interfaces', { interfaces: [...(this.#interfaces ?? [])] });
    if (this.#agentStatus !== undefined) stream.put('status', this.#agentStatus);
  }

  #report(end: StreamEnd, address: ListenAddress): void {
    const controller = formatListenAddress(address);
    const isNews = this.#status.error !== end.reason;
    this.#setStatus(end.kind === 'refused' ? 'refused' : 'backoff', controller, end.reason);
    if (!isNews) return;
    const message =
      end.kind === 'refused' ? 'the controller refuses this node' : 'no connection to the controller';
    this.#options.log.warn(message, { controller, reason: end.reason });
  }

  #setStatus(state: SessionStatus['state'], controller: string, error: string | undefined): void {
    const { now, log } = this.#options;
    const isNewWait = state === 'waiting' && error !== undefined && error !== this.#status.error;
    if (isNewWait) log.info('waiting before connecting to a controller', { reason: error });
    const sinceMs = state === this.#status.state ? this.#status.sinceMs : now();
    this.#status = { state, controller, sinceMs, error };
  }
}
