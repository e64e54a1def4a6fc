import type { NodeQueryInput } from '../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReply } from '../generated/proto/iovn/v1/NodeReply.js';
import { type Collected, collect, unknownPort } from '../inspect/node-answers.js';
import { type CommandOutput, exitCodes } from './commands.js';
import { formatJson, toPlain } from './json.js';
import type { NodeClient } from './node-client.js';
import { dropsView, mappingView, modulesView, verificationView } from './node-views.js';
import { formatTable } from './table.js';

export interface NodeFilter {
  readonly node?: string;
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** A message that comes in pieces, put together: lists one behind the other, everything else from the last piece. */
function together<T extends object>(pieces: readonly T[]): T | undefined {
  const last = pieces.at(-1);
  if (last === undefined || pieces.length === 1) return last;
  const lists = Object.keys(last).flatMap((name): [string, unknown][] => {
    const parts = pieces.map((piece): unknown => Reflect.get(piece, name));
    return parts.every(isList) ? [[name, parts.flat()]] : [];
  });
  return { ...last, ...Object.fromEntries(lists) };
}

interface Answered<T> {
  readonly nodes: readonly (readonly [node: string, message: T])[];
  /** Why others do not answer, by node. */
  readonly errors: ReadonlyMap<string, string>;
  readonly output: (lines: readonly string[]) => CommandOutput;
}

/** Asks, and begins the output: the answers as JSON, and a warning for each node that gave none. */
export async function askNodes<T extends object>(
  client: NodeClient,
  node: string | undefined,
  query: NodeQueryInput,
  messageType: string,
  pick: (reply: NodeReply) => T | null | undefined,
): Promise<Answered<T>> {
  const { answers, errors }: Collected<T> = await collect(client.ask(query, node), pick);
  const nodes = [...answers].flatMap(([name, pieces]) => {
    const message = together(pieces);
    return message === undefined ? [] : [[name, message] as const];
  });
  nodes.sort(([a], [b]) => (a < b ? -1 : 1));
  const json = formatJson([
    ...nodes.map(([name, message]) => ({ node: name, ...toPlain(messageType, message) })),
    ...Array.from(errors, ([name, error]) => ({ node: name, error })),
  ]);
  const warnings = Array.from(errors, ([name, error]) => `node ${name}: ${error}`).sort();
  const status = errors.size === 0 ? 0 : exitCodes.incomplete;
  return { nodes, errors, output: (lines) => ({ json, lines, warnings, status }) };
}

/** `iovn drops` */
export async function listDrops(
  client: NodeClient,
  { node, port = '' }: NodeFilter & { readonly port?: string },
): Promise<CommandOutput> {
  const { nodes, output } = await askNodes(client, node, { drops: { port } }, 'Drops', ({ drops }) => drops);
  const drops = nodes.flatMap(([name, message]) => message.drops.map((drop) => ({ node: name, drop })));
  return output(dropsView(drops, Date.now() / 1000));
}

/** The programs of the nodes and how full their maps are. */
function askModules(client: NodeClient, node: string | undefined) {
  return askNodes(client, node, { modules: {} }, 'Modules', ({ modules }) => modules);
}

/** `iovn modules` */
export async function listModules(client: NodeClient, { node }: NodeFilter): Promise<CommandOutput> {
  const { nodes, output } = await askModules(client, node);
  return output(modulesView(nodes));
}

/** `iovn tables list` */
export async function listTables(client: NodeClient, { node }: NodeFilter): Promise<CommandOutput> {
  const { nodes, output } = await askModules(client, node);
  const rows = nodes.flatMap(([name, { maps }]) =>
    maps.map((map) => [name, map.name, map.entries, map.capacity]),
  );
  return output(formatTable(['NODE', 'MAP', 'ENTRIES', 'CAPACITY'], rows));
}

/** `iovn tables dump` */
export async function dumpTable(
  client: NodeClient,
  map: string,
  { node, limit }: NodeFilter & { readonly limit?: number },
): Promise<CommandOutput> {
  const query = { table: { map, limit: limit ?? 0 } };
  const { nodes, output } = await askNodes(client, node, query, 'TableDump', ({ table }) => table);
  const entries = nodes.flatMap(([name, dump]) => dump.entries.map((entry) => ({ name, ...entry })));
  const lines = entries.map(({ name, key, value }) => `${name === '' ? '' : `${name} `}${key} ${value}`);
  return {
    ...output(lines.length === 0 ? ['no entries'] : lines),
    json: formatJson(
      entries.map(({ name, key, value }) => ({
        node: name,
        key: JSON.parse(key) as unknown,
        value: JSON.parse(value) as unknown,
      })),
    ),
  };
}

/** `iovn mapping`. Throws IovnError `unknown_port`. */
export async function showMapping(
  client: NodeClient,
  name: string | undefined,
  { node }: NodeFilter,
): Promise<CommandOutput> {
  const query = { ports: { port: name ?? '' } };
  const { nodes, output } = await askNodes(client, node, query, 'NodePorts', ({ ports }) => ports);
  const found = nodes.flatMap(([each, of]) =>
    of.ports.map((port) => ({ node: each || of.chassis, of, port })),
  );
  const result = output(mappingView(found));
  if (name !== undefined && found.length === 0 && result.status === 0) throw await unknownPort(client, name);
  return result;
}

/** `iovn verify`: fails when something differs. */
export async function verifyNodes(client: NodeClient, { node }: NodeFilter): Promise<CommandOutput> {
  const { nodes, output } = await askNodes(
    client,
    node,
    { verify: {} },
    'Verification',
    ({ verification }) => verification,
  );
  const clean = nodes.every(([, { problem, differences }]) => problem === '' && differences.length === 0);
  const result = output(verificationView(nodes));
  return clean ? result : { ...result, status: exitCodes.failure };
}
