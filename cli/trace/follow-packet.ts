import { IovnError } from '../../common/errors.js';
import type { NodePort } from '../../generated/proto/iovn/v1/NodePort.js';
import type { TracedHop } from '../../generated/proto/iovn/v1/TracedHop.js';
import type { TraceStep } from '../../generated/proto/iovn/v1/TraceStep.js';
import { collect, unknownPort } from '../../inspect/node-answers.js';
import type { NodeClient } from '../node-client.js';

/** What one node did with the packet, or why it is not known. */
export interface Hop {
  readonly node: string;
  readonly outcome: { readonly hop: TracedHop } | { readonly error: string };
}

/** Where a packet starts. */
export interface Origin {
  /** Of a localnet port: it comes from the physical network, to every node that is connected to it. */
  readonly port: string;
  /** Logical_Switch.name of which the port must be; any when undefined. */
  readonly switch?: string;
  /** Chassis name or hostname of the only node where it is to start. */
  readonly node?: string;
}

/**
 * Follows a frame from its port across the nodes, each of which runs its own programs on it. What comes through a tunnel or
 * from a physical network goes to local ports only, so there are no hops behind the second ones. `isLocal`: only one node can
 * be asked.
 */
export async function followPacket(
  client: NodeClient,
  origin: Origin,
  frame: Uint8Array,
  isLocal: boolean,
): Promise<readonly Hop[]> {
  const { nodes, silent } = await findNodes(client, origin);
  const hops: Hop[] = [];
  for (const node of nodes) hops.push(await traceAt(client, node, { frame, port: origin.port }));
  hops.push(...silent);
  const [first] = hops;
  if (first === undefined || hops.length > 1 || 'error' in first.outcome) return hops;
  for (const step of first.outcome.hop.steps) {
    if (step.event === 'tunnel') hops.push(await throughTunnel(client, step, isLocal));
    if (step.event === 'uplink')
      hops.push(...(await throughPhysicalNetwork(client, step, first.node, isLocal)));
  }
  return hops;
}

async function throughTunnel(
  client: NodeClient,
  { chassis, frame }: TraceStep,
  isLocal: boolean,
): Promise<Hop> {
  if (isLocal) return { node: chassis, outcome: { error: 'only this node is asked' } };
  try {
    return await traceAt(client, chassis, { frame, port: '' });
  } catch (error) {
    /* A chassis of vanilla OVN's. */
    if (!(error instanceof IovnError) || error.code !== 'not_found') throw error;
    return { node: chassis, outcome: { error: 'it runs no agent of ours' } };
  }
}

/** Every other node that has the localnet port sees the frame. */
async function throughPhysicalNetwork(
  client: NodeClient,
  { port, frame }: TraceStep,
  sender: string,
  isLocal: boolean,
): Promise<readonly Hop[]> {
  if (isLocal)
    return [{ node: `others on the network of ${port}`, outcome: { error: 'only this node is asked' } }];
  const { found, errors } = await findPort(client, port);
  const hops: Hop[] = [];
  for (const { node } of found) if (node !== sender) hops.push(await traceAt(client, node, { frame, port }));
  return [...hops, ...silentHops(errors)];
}

interface Holder {
  readonly node: string;
  readonly port: NodePort;
}

/** The nodes in whose kernel the port is, by name, and those that do not say. */
async function findPort(
  client: NodeClient,
  name: string,
  node?: string,
): Promise<{ readonly found: readonly Holder[]; readonly errors: ReadonlyMap<string, string> }> {
  const { answers, errors } = await collect(
    client.ask({ ports: { port: name } }, node),
    ({ ports }) => ports,
  );
  const found = [...answers].flatMap(([each, pieces]) =>
    pieces.flatMap(({ ports }) => ports.map((port) => ({ node: each, port }))),
  );
  return { found: found.toSorted((a, b) => (a.node < b.node ? -1 : 1)), errors };
}

/**
 * Where the packet is to start: for a localnet port at all nodes that have it, and `silent` are those that may. Throws
 * IovnError `unknown_port`, `wrong_switch`.
 */
async function findNodes(
  client: NodeClient,
  origin: Origin,
): Promise<{ readonly nodes: readonly string[]; readonly silent: readonly Hop[] }> {
  const { found, errors } = await findPort(client, origin.port, origin.node);
  const [first] = found;
  if (first === undefined) throw await unknownPort(client, origin.port);
  const { switch: owner, switch_uuid: uuid, type } = first.port;
  if (origin.switch !== undefined && origin.switch !== owner && origin.switch !== uuid)
    throw new IovnError('wrong_switch', `port ${origin.port} is of switch ${owner}`);
  if (type !== 'localnet') return { nodes: [first.node], silent: [] };
  return { nodes: found.map(({ node }) => node), silent: silentHops(errors) };
}

function silentHops(errors: ReadonlyMap<string, string>): readonly Hop[] {
  return Array.from(errors, ([node, error]) => ({ node, outcome: { error } }));
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
