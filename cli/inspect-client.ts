import { type ClientReadableStream, type ServiceError, status } from '@grpc/grpc-js';

import { channelCredentials, type TlsSettings } from '../common/credentials.js';
import { IovnError } from '../common/errors.js';
import { formatListenAddress, type ListenAddress } from '../common/listen-address.js';
import { v1 } from '../common/proto.js';
import type { Fdb } from '../generated/proto/iovn/v1/Fdb.js';
import type { LogLevel } from '../generated/proto/iovn/v1/LogLevel.js';
import type { Nodes } from '../generated/proto/iovn/v1/Nodes.js';
import type { Ports } from '../generated/proto/iovn/v1/Ports.js';
import type { Status } from '../generated/proto/iovn/v1/Status.js';
import type { SupportPart } from '../generated/proto/iovn/v1/SupportPart.js';
import type { Switches } from '../generated/proto/iovn/v1/Switches.js';

const timeoutMs = 5000;
/** A hundred thousand ports or learnt MACs. */
const maximumReplyBytes = 64 * 1024 * 1024;

/** What a controller says by itself. Calls reject with IovnError: `unreachable`, `not_found` or `refused`. */
export interface InspectClient {
  getStatus(): Promise<Status>;
  listNodes(node?: string): Promise<Nodes>;
  listPorts(filter?: { readonly switch?: string; readonly node?: string }): Promise<Ports>;
  listFdb(logicalSwitch?: string): Promise<Fdb>;
  listSwitches(logicalSwitch?: string): Promise<Switches>;
  /** Sets how much the controller logs; '' only asks. */
  logLevel(level: string): Promise<LogLevel>;
  /** What the controller gives to a support bundle. */
  support(): AsyncIterable<SupportPart>;
  close(): void;
}

type Callback<T> = (error: ServiceError | null, reply?: T) => void;

/** Throws ConfigError when the settings do not allow the connection. */
export function inspectClient(address: ListenAddress, tls: TlsSettings): InspectClient {
  const target = formatListenAddress(address);
  const who = `the controller at ${target}`;
  const options = { 'grpc.max_receive_message_length': maximumReplyBytes };
  const client = new v1.Inspect(target, channelCredentials(tls, address), options);
  const fleet = new v1.FleetInspect(target, channelCredentials(tls, address), options);
  const call = <T>(start: (deadline: { readonly deadline: number }, callback: Callback<T>) => unknown) =>
    new Promise<T>((resolve, reject) => {
      start({ deadline: Date.now() + timeoutMs }, (error, reply) => {
        if (error === null && reply !== undefined) resolve(reply);
        else reject(callError(who, error, timeoutMs));
      });
    });
  return {
    getStatus: () => call((deadline, callback) => client.getStatus({}, deadline, callback)),
    listNodes: (node = '') => call((deadline, callback) => client.listNodes({ node }, deadline, callback)),
    listPorts: (filter = {}) => call((deadline, callback) => client.listPorts(filter, deadline, callback)),
    listFdb: (logicalSwitch = '') =>
      call((deadline, callback) => client.listFdb({ switch: logicalSwitch }, deadline, callback)),
    listSwitches: (logicalSwitch = '') =>
      call((deadline, callback) => client.listSwitches({ switch: logicalSwitch }, deadline, callback)),
    logLevel: (level) => call((deadline, callback) => fleet.level({ level }, deadline, callback)),
    support: () => messages(fleet.support({}, { deadline: Date.now() + streamTimeoutMs }), who),
    close: () => {
      client.close();
      fleet.close();
    },
  };
}

/** Of answers that come in pieces. A controller gives up a silent node sooner. */
export const streamTimeoutMs = 30_000;

/** What comes by a stream of messages of the type. Throws IovnError, as the calls do. */
export async function* messages<T>(call: ClientReadableStream<T>, who: string): AsyncGenerator<T> {
  try {
    /* A stream of gRPC is one of objects of the method's type. */
    for await (const message of call) yield message as T;
  } catch (error) {
    if (isServiceError(error)) throw callError(who, error, streamTimeoutMs);
    throw error;
  } finally {
    call.cancel();
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && Object.values(status).includes(error.code as status);
}

/** What a failed call means to an operator; `who` begins the sentence. */
export function callError(who: string, error: ServiceError | null, limitMs: number): IovnError {
  const details = error?.details ?? 'an empty reply';
  if (error?.code === status.NOT_FOUND) return new IovnError('not_found', details);
  if (error?.code === status.DEADLINE_EXCEEDED) {
    return new IovnError('unreachable', `no answer from ${who} within ${limitMs / 1000} s`);
  }
  if (error?.code === status.UNAVAILABLE) {
    const why = details.replace(/^.*Last error: (Error: )?/, '').replace(/\. Resolution note:.*$/, '');
    return new IovnError('unreachable', `no connection to ${who}: ${why}`);
  }
  return new IovnError('refused', `${who} says: ${details}`);
}
