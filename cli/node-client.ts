import { credentials } from '@grpc/grpc-js';

import { channelCredentials, type TlsSettings } from '../common/credentials.js';
import { IovnError } from '../common/errors.js';
import { formatListenAddress, type ListenAddress } from '../common/listen-address.js';
import { v1 } from '../common/proto.js';
import type { FleetReply } from '../generated/proto/iovn/v1/FleetReply.js';
import type { NodeQueryInput } from '../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReply } from '../generated/proto/iovn/v1/NodeReply.js';
import { messages, streamTimeoutMs } from './inspect-client.js';

/** One thing that a node has answered, or why it does not. */
export interface NodeAnswer {
  /** Chassis name; '' for the agent at a socket. */
  readonly node: string;
  readonly outcome: { readonly reply: NodeReply } | { readonly error: string };
}

/** Asks hypervisors, through a controller or at the agent's own socket. Throws IovnError as InspectClient does. */
export interface NodeClient {
  /** `node` is a chassis name or hostname; undefined = all. Ends when everything is said. */
  ask(query: NodeQueryInput, node?: string): AsyncIterable<NodeAnswer>;
  close(): void;
}

const maximumReplyBytes = 64 * 1024 * 1024;
const options = { 'grpc.max_receive_message_length': maximumReplyBytes };

/** Throws ConfigError when the settings do not allow the connection. */
export function fleetClient(address: ListenAddress, tls: TlsSettings): NodeClient {
  const target = formatListenAddress(address);
  const client = new v1.FleetInspect(target, channelCredentials(tls, address), options);
  return {
    async *ask(query, node = '') {
      const call = client.Ask({ node, query }, callOptions(query));
      for await (const reply of messages<FleetReply>(call, `the controller at ${target}`)) {
        if (reply.reply) yield { node: reply.node, outcome: { reply: reply.reply } };
        else yield { node: reply.node, outcome: { error: reply.error ?? '' } };
      }
    },
    close: () => client.close(),
  };
}

/** The agent behind a unix socket. */
export function agentClient(socket: string): NodeClient {
  const client = new v1.NodeInspect(`unix:${socket}`, credentials.createInsecure(), options);
  return {
    async *ask(query) {
      const call = client.Ask(query, callOptions(query));
      for await (const reply of messages<NodeReply>(call, `the agent at ${socket}`))
        yield { node: '', outcome: { reply } };
    },
    close: () => client.close(),
  };
}

function callOptions(query: NodeQueryInput): { readonly deadline?: number } {
  return query.monitor ? {} : { deadline: Date.now() + streamTimeoutMs };
}

/** The replies to a question that each node answers by a message or by some pieces of one, by node, and who did not answer. */
export interface Collected<T> {
  readonly answers: ReadonlyMap<string, readonly T[]>;
  readonly errors: ReadonlyMap<string, string>;
}

/** `pick` takes the part of a reply that answers the question. */
export async function collect<T>(
  answers: AsyncIterable<NodeAnswer>,
  pick: (reply: NodeReply) => T | null | undefined,
): Promise<Collected<T>> {
  const found = new Map<string, T[]>();
  const errors = new Map<string, string>();
  for await (const { node, outcome } of answers) {
    if ('error' in outcome) errors.set(node, outcome.error);
    else {
      const picked = pick(outcome.reply);
      if (picked === null || picked === undefined) {
        throw new IovnError('refused', `node ${node} answered another question`);
      }
      found.set(node, [...(found.get(node) ?? []), picked]);
    }
  }
  return { answers: found, errors };
}
