import { IovnError } from '../../common/errors.js';
import type { TracedHop } from '../../generated/proto/iovn/v1/TracedHop.js';
import { collect, unknownPort } from '../../inspect/node-answers.js';
import type { NodeClient } from '../node-client.js';

/** What one node did with the packet, or why it is not known. */
export interface Hop {
  readonly node: string;
  readonly outcome: { readonly hop: TracedHop } | { readonly error: string };
}

/** Where a packet starts. */
export interface Origin {
  readonly port: string;
  /** Logical_Switch.name of which the port must be; any when undefined. */
  readonly switch?: string;
}

/**
 * Follows a frame from its port across the nodes, each of which runs its own programs on it. What comes through a tunnel
 * goes to local ports only, so there are no hops behind the second ones. `isLocal`: only one node can be asked.
 */
export async function followPacket(
  client: NodeClient,
  origin: Origin,
  frame: Uint8Array,
  isLocal: boolean,
): Promise<readonly Hop[]> {
  const node = await findNode(client, origin);
  const first = await traceAt(client, node, { frame, port: origin.port });
  if ('error' in first.outcome) return [first];
  const hops = [first];
  for (const { event, chassis, frame: packet, text } of first.outcome.hop.steps) {
    if (event !== 'tunnel') continue;
    const hindrance = isLocal ? 'only this node is asked' : text;
    const next = hindrance
      ? { node: chassis, outcome: { error: hindrance } }
      : await traceAt(client, chassis, { frame: packet, port: '' });
    hops.push(next);
  }
  return hops;
}

/** The node in whose kernel the port is. Throws IovnError `unknown_port`, `wrong_switch`. */
async function findNode(client: NodeClient, origin: Origin): Promise<string> {
  const { answers } = await collect(client.ask({ ports: { port: origin.port } }), ({ ports }) => ports);
  for (const [node, pieces] of answers) {
    const port = pieces.flatMap(({ ports }) => ports)[0];
    if (port === undefined) continue;
    if (origin.switch !== undefined && origin.switch !== port.switch && origin.switch !== port.switch_uuid)
      throw new IovnError('wrong_switch', `port ${origin.port} is of switch ${port.switch}`);
    return node;
  }
  throw await unknownPort(client, origin.port);
}

async function traceAt(
  client: NodeClient,
  node: string,
  trace: { readonly frame: Uint8Array; readonly port: string },
): Promise<Hop> {
  const query = { trace: { ...trace, frame: Buffer.from(trace.frame) } };
  const { answers, errors } = await collect(client.ask(query, node), (reply) => reply.trace);
  const hop = [...answers.values()][0]?.[0];
  if (hop !== undefined) return { node, outcome: { hop } };
  return { node, outcome: { error: [...errors.values()][0] ?? 'no answer' } };
}
