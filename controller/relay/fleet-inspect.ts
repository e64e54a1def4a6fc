import { once, setMaxListeners } from 'node:events';

import { type ServerWritableStream, status } from '@grpc/grpc-js';

import { errorMessage } from '../../common/errors.js';
import { changeLevel, type LogControl } from '../../common/log.js';
import { type SupportFile, supportParts } from '../../common/support-files.js';
import type { FleetInspectHandlers } from '../../generated/proto/iovn/v1/FleetInspect.js';
import type { FleetQuery } from '../../generated/proto/iovn/v1/FleetQuery.js';
import type { FleetReply, FleetReplyInput } from '../../generated/proto/iovn/v1/FleetReply.js';
import type { NodeQueryInput } from '../../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeAnswer, NodeAsker } from '../../inspect/node-answers.js';
import type { SupportPart, SupportPartInput } from '../../generated/proto/iovn/v1/SupportPart.js';
import type { SupportQuery } from '../../generated/proto/iovn/v1/SupportQuery.js';
import type { NodeLinks } from './node-links.js';

/** A node that somebody may ask for. */
export interface KnownNode {
  readonly name: string;
  readonly connected: boolean;
  /** Of the last connect or disconnect, epoch ms; 0 = not seen since the controller started. */
  readonly sinceMs: number;
}

/** Those with this chassis name or hostname; all for ''. */
export type FindNodes = (filter: string) => readonly KnownNode[];

/** What is asked about the controller itself. */
export interface ControllerSelf {
  readonly log: LogControl;
  readonly supportFiles: readonly SupportFile[];
}

type Call = ServerWritableStream<FleetQuery, FleetReply | FleetReplyInput>;

/** The FleetInspect service: asks the nodes side by side, so that one that does not answer holds up no other. */
export function fleetInspectHandlers(
  findNodes: FindNodes,
  links: Pick<NodeLinks, 'get'>,
  self: ControllerSelf,
): FleetInspectHandlers {
  return {
    Ask: (call) => void answer(call, findNodes, links),
    Level: ({ request }, callback) => {
      try {
        callback(null, { level: changeLevel(self.log, request.level) });
      } catch (error) {
        callback({ code: status.INVALID_ARGUMENT, details: errorMessage(error) });
      }
    },
    Support: (call) => void writeSupport(call, self.supportFiles),
  };
}

async function writeSupport(
  call: ServerWritableStream<SupportQuery, SupportPart | SupportPartInput>,
  files: readonly SupportFile[],
): Promise<void> {
  const abort = new AbortController();
  call.on('cancelled', () => abort.abort());
  for await (const part of supportParts(files)) {
    if (!call.write(part)) await once(call, 'drain', { signal: abort.signal }).catch(() => undefined);
    if (abort.signal.aborted) return;
  }
  call.end();
}

async function answer(call: Call, findNodes: FindNodes, links: Pick<NodeLinks, 'get'>): Promise<void> {
  const { node: filter, query } = call.request;
  const nodes = findNodes(filter);
  if (query === null || nodes.length === 0) {
    const details = query === null ? 'no question' : `there is no node '${filter}'`;
    call.emit('error', { code: query === null ? status.INVALID_ARGUMENT : status.NOT_FOUND, details });
    return;
  }
  const abort = new AbortController();
  /* One per node. */
  setMaxListeners(0, abort.signal);
  call.on('cancelled', () => abort.abort());
  const relay = async (node: KnownNode): Promise<void> => {
    for await (const { outcome } of askNode(node, query, links, abort.signal))
      await write(call, { node: node.name, ...outcome }, abort.signal);
  };
  await Promise.all(nodes.map(relay));
  call.end();
}

async function write(call: Call, reply: FleetReplyInput, signal: AbortSignal): Promise<void> {
  if (signal.aborted || call.write(reply)) return;
  await once(call, 'drain', { signal }).catch(() => undefined);
}

/** The same for the controller's own questions; of several nodes one after the other. */
export function nodeAsker(
  findNodes: FindNodes,
  links: Pick<NodeLinks, 'get'>,
  signal: AbortSignal,
): NodeAsker {
  /* One per question. */
  setMaxListeners(0, signal);
  return {
    async *ask(query, filter = '') {
      for (const node of findNodes(filter)) yield* askNode(node, query, links, signal);
    },
  };
}

async function* askNode(
  node: KnownNode,
  query: NodeQueryInput,
  links: Pick<NodeLinks, 'get'>,
  signal: AbortSignal,
): AsyncGenerator<NodeAnswer> {
  const link = links.get(node.name);
  if (link === undefined) {
    yield { node: node.name, outcome: { error: absence(node) } };
    return;
  }
  try {
    for await (const reply of link.ask(query, signal)) yield { node: node.name, outcome: { reply } };
  } catch (error) {
    yield { node: node.name, outcome: { error: errorMessage(error) } };
  }
}

function absence({ connected, sinceMs }: KnownNode): string {
  if (connected) return 'its agent has not opened its relay to this controller yet';
  if (sinceMs === 0) return 'its agent has not been seen since this controller started';
  return `its agent is not connected since ${new Date(sinceMs).toISOString()}`;
}
