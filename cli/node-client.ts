import { credentials } from '@grpc/grpc-js';

import { channelCredentials, type TlsSettings } from '../common/credentials.js';
import { formatListenAddress, type ListenAddress } from '../common/listen-address.js';
import { v1 } from '../common/proto.js';
import type { FleetReply } from '../generated/proto/iovn/v1/FleetReply.js';
import type { NodeQueryInput } from '../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReply } from '../generated/proto/iovn/v1/NodeReply.js';
import type { NodeAsker } from '../inspect/node-answers.js';
import { messages, streamTimeoutMs } from './inspect-client.js';

/** Asks hypervisors, through a controller or at the agent's own socket. Throws IovnError as InspectClient does. */
export interface NodeClient extends NodeAsker {
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
