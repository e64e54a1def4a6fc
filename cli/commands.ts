import { IovnError } from '../common/errors.js';
import type { Fdb } from '../generated/proto/iovn/v1/Fdb.js';
import type { Nodes } from '../generated/proto/iovn/v1/Nodes.js';
import type { Ports } from '../generated/proto/iovn/v1/Ports.js';
import { suggestion } from '../inspect/nearest.js';
import type { InspectClient } from './inspect-client.js';
import { toJson } from './json.js';
import { fdbView, nodesView, nodeView, portsView, statusView, switchesView, switchView } from './views.js';

/** The same answer for scripts and for people. */
export interface CommandOutput {
  readonly json: string;
  readonly lines: readonly string[];
  /** For people, on standard error. */
  readonly warnings?: readonly string[];
  /** One of `exitCodes`, 0 when absent. */
  readonly status?: number;
}

/** What `iovn --help` says of them. */
export const exitCodes = { failure: 1, usage: 2, incomplete: 3 } as const;

export interface PortFilter {
  readonly switch?: string;
  readonly node?: string;
}

function nowSeconds(): number {
  return Date.now() / 1000;
}

/** Throws IovnError, as the others here do, when the controller can't be asked. */
export async function showStatus(client: InspectClient): Promise<CommandOutput> {
  const reply = await client.getStatus();
  return { json: toJson('Status', reply), lines: statusView(reply, nowSeconds()) };
}

export async function listNodes(client: InspectClient): Promise<CommandOutput> {
  const reply = await client.listNodes();
  return { json: toJson('Nodes', reply), lines: nodesView(reply.nodes, nowSeconds()) };
}

/** Throws IovnError `unknown_node`, which names one that is similar. */
export async function showNode(client: InspectClient, name: string): Promise<CommandOutput> {
  const reply = await orEmpty(client.listNodes(name), { nodes: [] } satisfies Nodes);
  const [node] = reply.nodes;
  if (node === undefined) throw await unknownNode(client, name);
  return { json: toJson('Node', node), lines: nodeView(node, nowSeconds()) };
}

/** Throws IovnError `unknown_node` or `unknown_switch`. An existing switch or node without ports gives none. */
export async function listPorts(client: InspectClient, filter: PortFilter): Promise<CommandOutput> {
  const reply = await orEmpty(client.listPorts(filter), { ports: [] } satisfies Ports);
  if (reply.ports.length === 0) await checkFilter(client, filter);
  return { json: toJson('Ports', reply), lines: portsView(reply.ports) };
}

/** Throws IovnError `unknown_switch`. */
export async function listFdb(
  client: InspectClient,
  logicalSwitch: string | undefined,
): Promise<CommandOutput> {
  const reply = await orEmpty(client.listFdb(logicalSwitch), { entries: [] } satisfies Fdb);
  if (reply.entries.length === 0 && logicalSwitch !== undefined) {
    await checkFilter(client, { switch: logicalSwitch });
  }
  return { json: toJson('Fdb', reply), lines: fdbView(reply.entries, nowSeconds()) };
}

/** All switches, or those of a name, with their ports. Throws IovnError `unknown_switch`. */
export async function showSwitches(client: InspectClient, name: string | undefined): Promise<CommandOutput> {
  const reply = await client.listSwitches(name);
  if (name === undefined) return { json: toJson('Switches', reply), lines: switchesView(reply.switches) };
  if (reply.switches.length === 0) throw await unknownSwitch(client, name);
  const pages = reply.switches.map((each) => switchView(each));
  return {
    json: toJson('Switches', reply),
    lines: pages.flatMap((page, index) => (index === 0 ? page : ['', ...page])),
  };
}

async function checkFilter(client: InspectClient, filter: PortFilter): Promise<void> {
  if (filter.node !== undefined) {
    const found = await orEmpty(client.listNodes(filter.node), { nodes: [] } satisfies Nodes);
    if (found.nodes.length === 0) throw await unknownNode(client, filter.node);
  }
  if (filter.switch !== undefined) {
    const { switches } = await client.listSwitches(filter.switch);
    if (switches.length === 0) throw await unknownSwitch(client, filter.switch);
  }
}

/** A controller may say that it does not know a name, or just find nothing. */
function orEmpty<T>(reply: Promise<T>, empty: T): Promise<T> {
  return reply.catch((error: unknown) => {
    if (error instanceof IovnError && error.code === 'not_found') return empty;
    throw error;
  });
}

export async function unknownNode(client: InspectClient, name: string): Promise<IovnError> {
  const { nodes } = await client.listNodes();
  const names = nodes.flatMap(({ chassis }) => (chassis === null ? [] : [chassis.name, chassis.hostname]));
  return new IovnError('unknown_node', `there is no node '${name}'${suggestion(name, names)}`);
}

async function unknownSwitch(client: InspectClient, name: string): Promise<IovnError> {
  const { switches } = await client.listSwitches();
  const names = switches.map((each) => each.name);
  return new IovnError('unknown_switch', `there is no switch '${name}'${suggestion(name, names)}`);
}
