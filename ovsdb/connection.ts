import type net from 'node:net';

import { errorMessage, IovnError } from '../common/errors.js';
import {
  asError,
  NotConnectedError,
  ProtocolError,
  RequestError,
  RequestTimeoutError,
  SessionError,
} from './errors.js';
import { type Message, MessageReader } from './framing.js';
import type { FramingLimits } from './framing-limits.js';
import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.js';
import { KeepAlive } from './keep-alive.js';
import type { PieceSink } from './piece-cutter.js';
import { TimeSlice } from './time-slice.js';

/** Unsent bytes and unanswered requests at which a connection takes no more. */
const maximumBacklogBytes = 64 * 1024 * 1024;
const maximumPending = 10_000;

/** Runs when the answer is read; what follows on the connection waits until it is done. */
export type ReplyHandler<T> = (result: Json, sink: PieceSink | undefined) => T | Promise<T>;

export interface ConnectionHandlers {
  /** A notification other than those of JSON-RPC itself. What follows waits until it is done. */
  notification(
    method: string,
    params: readonly Json[],
    sink: PieceSink | undefined,
  ): Promise<void> | undefined;
  /** Takes the rows out of a message that is too big to be parsed in one go. */
  createSink(): PieceSink;
}

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

interface Pending {
  readonly method: string;
  readonly settle: (message: JsonObject, sink: PieceSink | undefined) => Promise<void> | undefined;
  readonly fail: (reason: Error) => void;
}

/** JSON-RPC 1.0 (RFC 7047 §4) over a connected socket: requests, notifications, echo both ways. */
export class Connection {
  readonly #socket: net.Socket;
  readonly #pending = new Map<number, Pending>();
  readonly #keepAlive: KeepAlive;
  #nextId = 1;
  #closedBy: IovnError | undefined;

  constructor(socket: net.Socket, inactivityProbeMs: number) {
    this.#socket = socket;
    // What goes wrong is seen by `read`; an error event that nobody listens to would end the process.
    socket.on('error', () => undefined);
    this.#keepAlive = new KeepAlive(
      inactivityProbeMs,
      () => this.#send({ method: 'echo', params: ['probe'], id: 'echo' }),
      () =>
        this.close(
          new SessionError(
            'connection_lost',
            `no answer to a probe after ${inactivityProbeMs} ms of silence`,
          ),
        ),
    );
  }

  /** Why the connection ended; undefined while it is open. */
  get closedBy(): IovnError | undefined {
    return this.#closedBy;
  }

  /** Reads until the connection ends, then throws why. To be called once. */
  async read(handlers: ConnectionHandlers, limits?: FramingLimits): Promise<never> {
    const reader = new MessageReader(() => handlers.createSink(), limits);
    const slice = new TimeSlice();
    try {
      for await (const chunk of this.#socket as AsyncIterable<Buffer>) {
        this.#keepAlive.received();
        for (const message of reader.push(chunk)) {
          await this.#dispatch(message, handlers);
          this.#keepAlive.received();
          await slice.pause();
        }
        await slice.pause();
      }
      this.close(new SessionError('connection_lost', 'the server closed the connection'));
    } catch (error) {
      this.close(
        error instanceof IovnError
          ? error
          : new SessionError('connection_lost', `connection lost: ${errorMessage(error)}`, error),
      );
    }
    throw this.#closedBy ?? new SessionError('connection_lost', 'connection lost');
  }

  /**
   * Sends a request. Throws RequestError when the server refuses it, NotConnectedError when the connection is or gets
   * closed, RequestTimeoutError, or the signal's reason; in the last two cases the request is cancelled (RFC 7047 §4.1.4).
   */
  request<T>(
    method: string,
    params: readonly Json[],
    options: RequestOptions,
    handle: ReplyHandler<T>,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#requireCapacity();
      options.signal?.throwIfAborted();
      const id = this.#nextId++;
      const giveUp = (reason: unknown): void => {
        this.#settled(id, stop);
        this.#send({ method: 'cancel', params: [id], id: null });
        reject(asError(reason));
      };
      const onAbort = (): void => giveUp(options.signal?.reason);
      const timer = setTimeout(
        () => giveUp(new RequestTimeoutError(method, options.timeoutMs)),
        options.timeoutMs,
      );
      const stop = (): void => {
        clearTimeout(timer);
        options.signal?.removeEventListener('abort', onAbort);
      };
      options.signal?.addEventListener('abort', onAbort);
      this.#pending.set(id, {
        method,
        settle: (message, sink) => {
          this.#settled(id, stop);
          return answer(method, message, sink, handle, resolve, reject);
        },
        fail: (reason) => {
          this.#settled(id, stop);
          reject(reason);
        },
      });
      this.#send({ method, params, id });
    });
  }

  /** Ends the connection; unanswered requests fail. Later calls change nothing. */
  close(reason: IovnError): void {
    if (this.#closedBy !== undefined) return;
    this.#closedBy = reason;
    this.#keepAlive.stop();
    this.#socket.destroy();
    for (const { method, fail } of [...this.#pending.values()]) {
      fail(
        new NotConnectedError(`${method}: connection lost before the answer: ${reason.message}`, {
          sent: true,
        }),
      );
    }
  }

  #settled(id: number, stop: () => void): void {
    stop();
    this.#pending.delete(id);
  }

  #requireCapacity(): void {
    if (this.#closedBy !== undefined) {
      throw new NotConnectedError(`not connected: ${this.#closedBy.message}`, { sent: false });
    }
    if (this.#pending.size >= maximumPending || this.#socket.writableLength > maximumBacklogBytes) {
      throw new NotConnectedError('too many requests are waiting for the server', { sent: false });
    }
  }

  #send(message: JsonObject): void {
    if (this.#closedBy === undefined) this.#socket.write(JSON.stringify(message));
  }

  #dispatch({ value, sink }: Message, handlers: ConnectionHandlers): Promise<void> | undefined {
    if (!isJsonObject(value)) throw new ProtocolError('a message is not an object');
    const { method, id = null } = value;
    if (typeof method !== 'string') {
      // An answer that nobody waits for (cancelled, timed out, to a probe) is dropped.
      return typeof id === 'number' ? this.#pending.get(id)?.settle(value, sink) : undefined;
    }
    const params = value['params'];
    if (!isJsonArray(params)) throw new ProtocolError(`${method}: params is not an array`);
    if (id === null) return handlers.notification(method, params, sink);
    this.#answerPeer(method, params, id);
    return undefined;
  }

  #answerPeer(method: string, params: readonly Json[], id: Json): void {
    if (this.#socket.writableLength > maximumBacklogBytes) {
      throw new SessionError('connection_lost', 'the server sends requests but does not read the answers');
    }
    this.#send(
      method === 'echo' ? { result: params, error: null, id } : { result: null, error: 'unknown method', id },
    );
  }
}

function answer<T>(
  method: string,
  message: JsonObject,
  sink: PieceSink | undefined,
  handle: ReplyHandler<T>,
  resolve: (value: T) => void,
  reject: (reason: unknown) => void,
): Promise<void> | undefined {
  const { error = null, result = null } = message;
  if (error !== null) {
    reject(requestError(method, error));
    return undefined;
  }
  let handled: T | Promise<T>;
  try {
    handled = handle(result, sink);
  } catch (failure) {
    reject(failure);
    throw failure;
  }
  if (!(handled instanceof Promise)) {
    resolve(handled);
    return undefined;
  }
  return handled.then(resolve, (failure: unknown) => {
    reject(failure);
    throw failure;
  });
}

function requestError(method: string, error: Json): RequestError {
  if (!isJsonObject(error))
    return new RequestError(method, typeof error === 'string' ? error : JSON.stringify(error), undefined);
  const { error: name, details } = error;
  return new RequestError(
    method,
    typeof name === 'string' ? name : JSON.stringify(error),
    typeof details === 'string' ? details : undefined,
  );
}
