import { IovnError } from '../common/errors.js';
import type { NodePort } from '../generated/proto/iovn/v1/NodePort.js';
import type { NodePorts } from '../generated/proto/iovn/v1/NodePorts.js';
import type { NodeQueryInput } from '../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReply } from '../generated/proto/iovn/v1/NodeReply.js';
import { suggestion } from './nearest.js';

/** One thing that a node has answered, or why it does not. */
export interface NodeAnswer {
  /** Chassis name; '' for the agent at a socket. */
  readonly node: string;
  readonly outcome: { readonly reply: NodeReply } | { readonly error: string };
}

/** A way to ask hypervisors. */
export interface NodeAsker {
  /** `node` is a chassis name or hostname; undefined = all. Ends when everything is said. */
  ask(query: NodeQueryInput, node?: string): AsyncIterable<NodeAnswer>;
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

/** A port with the node that has it. */
export interface FoundPort {
  readonly node: string;
  readonly of: NodePorts;
  readonly port: NodePort;
}

/** That no node has the port in its kernel, with a similar name that one has. */
export async function unknownPort(nodes: NodeAsker, name: string): Promise<IovnError> {
  const { answers } = await collect(nodes.ask({ ports: { port: '' } }), ({ ports }) => ports);
  const names = [...answers.values()].flat().flatMap(({ ports }) => ports.map((port) => port.name));
  return new IovnError('unknown_port', `no node has a port '${name}'${suggestion(name, names)}`);
}
