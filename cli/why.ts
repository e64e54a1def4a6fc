import type { Drop } from '../generated/proto/iovn/v1/Drop.js';
import type { Node } from '../generated/proto/iovn/v1/Node.js';
import type { PortStatus } from '../generated/proto/iovn/v1/PortStatus.js';
import { IovnError } from '../common/errors.js';
import { type CommandOutput, exitCodes, suggestion } from './commands.js';
import type { InspectClient } from './inspect-client.js';
import { formatJson, toPlain } from './json.js';
import { collect, type NodeClient } from './node-client.js';
import { type FoundPort, unknownPort } from './node-commands.js';
import { adviceFor } from './advice.js';
import { rowText } from './nb-row.js';
import { formatDuration, formatPairs, formatTable } from './table.js';

/** All that is known of a port at the moment. */
export interface PortFacts {
  readonly name: string;
  /** What the controller says; undefined when only an agent is asked. */
  readonly status: PortStatus | undefined;
  /** The node to which it is bound; undefined likewise, and when there is none. */
  readonly node: Node | undefined;
  /** What nodes that have it in their kernel say. */
  readonly found: readonly FoundPort[];
  readonly drops: readonly Drop[];
  /** Nodes that do not answer, one sentence each. */
  readonly silent: readonly string[];
}

/** `iovn why`. Asks the controller, where there is one to be asked, and the nodes. Throws IovnError `unknown_port`. */
export async function showWhy(
  name: string,
  controller: InspectClient | undefined,
  nodes: NodeClient,
): Promise<CommandOutput> {
  const facts = await gather(name, controller, nodes);
  const problems = problemsOf(facts);
  const advice = facts.drops.map((drop) => adviceFor(drop)).filter((each) => each !== '');
  return {
    json: formatJson({
      port: name,
      status: facts.status === undefined ? null : toPlain('PortStatus', facts.status),
      nodes: facts.found.map(({ node, port }) => ({ node, ...toPlain('NodePort', port) })),
      drops: facts.drops.map((drop) => toPlain('Drop', drop)),
      problems,
      advice,
    }),
    lines: whyView(facts, problems, [...new Set(advice)], Date.now() / 1000),
    status: facts.silent.length === 0 ? 0 : exitCodes.incomplete,
  };
}

async function gather(
  name: string,
  controller: InspectClient | undefined,
  nodes: NodeClient,
): Promise<PortFacts> {
  const status = controller && (await findStatus(controller, name));
  const chassis = status === undefined || status.chassis === '' ? undefined : status.chassis;
  const node = chassis === undefined ? undefined : (await controller?.listNodes(chassis))?.nodes[0];
  /* Other chassis may be vanilla OVN's: only one that runs an agent can be asked. */
  const isAsked = controller === undefined || node !== undefined;
  if (!isAsked) return { name, status, node, found: [], drops: [], silent: [] };
  const ports = await collect(nodes.ask({ ports: { port: name } }, chassis), (reply) => reply.ports);
  const dropped = await collect(nodes.ask({ drops: { port: name } }, chassis), (reply) => reply.drops);
  const found = [...ports.answers].flatMap(([each, pieces]) =>
    pieces.flatMap((of) => of.ports.map((port) => ({ node: each === '' ? of.chassis : each, of, port }))),
  );
  if (controller === undefined && found.length === 0) throw await unknownPort(nodes, name);
  const silent = Array.from(ports.errors, ([each, error]) => `${each}: ${error}`);
  const drops = [...dropped.answers.values()].flat().flatMap((each) => each.drops);
  return { name, status, node, found, drops, silent };
}

async function findStatus(controller: InspectClient, name: string): Promise<PortStatus> {
  const { ports } = await controller.listPorts();
  const status = ports.find((port) => port.name === name);
  if (status !== undefined) return status;
  const names = ports.map((port) => port.name);
  throw new IovnError('unknown_port', `there is no logical port '${name}'${suggestion(name, names)}`);
}

/** What keeps the port from working, in sentences. */
export function problemsOf({ status, found, silent }: PortFacts): readonly string[] {
  const ofNodes = found.flatMap(({ node, of, port }) => [
    ...(port.problem === '' ? [] : [`${port.interface} on ${node}: ${port.problem}`]),
    ...(port.link_up ? [] : [`${port.interface} on ${node}: the link is down`]),
    ...(of.controller_state === 'connected'
      ? []
      : [`${node} has no controller (${of.controller_state}): it keeps to what it was last told`]),
  ]);
  const all = [...(status?.problems ?? []), ...ofNodes, ...silent];
  return all.filter((each, index) => all.findIndex((other) => other.includes(each)) === index);
}

function whyView(
  facts: PortFacts,
  problems: readonly string[],
  advice: readonly string[],
  now: number,
): readonly string[] {
  return [
    ...formatPairs([...identity(facts, now), ...facts.found.flatMap((each) => programmed(each))]),
    '',
    ...(problems.length === 0 ? ['Nothing is known to be wrong with it.'] : list('What is wrong', problems)),
    '',
    ...droppedLines(facts, now),
    ...(advice.length === 0 ? [] : ['', ...list('What can be done', advice)]),
  ];
}

function list(heading: string, items: readonly string[]): readonly string[] {
  return [heading, ...items.map((item) => `  - ${item}`)];
}

type Pair = readonly [name: string, value: string];

function identity({ name, status, node, found }: PortFacts, now: number): readonly Pair[] {
  const [first] = found;
  const owner = status?.switch ?? first?.port.switch ?? '';
  const security = status?.port_security ?? first?.port.port_security ?? [];
  return [
    ['Port', `${name} of switch ${owner}`],
    ['NB row', first === undefined ? '' : `Logical_Switch_Port ${first.port.port_uuid}`],
    ['Bound', status === undefined ? '' : boundText(status, node, now)],
    ['Up', status === undefined ? '' : status.up ? 'yes' : 'no'],
    ['Enabled', (status?.enabled ?? first?.port.enabled ?? true) ? 'yes' : 'no'],
    ['Addresses', status?.addresses.join(', ') ?? ''],
    ['Port security', security.length === 0 ? 'none: it may send from any address' : security.join(', ')],
  ];
}

function boundText({ chassis }: PortStatus, node: Node | undefined, now: number): string {
  if (chassis === '') return 'no';
  if (node === undefined) return `to ${chassis}, which is not one of our nodes`;
  const state = node.connected ? 'connected' : 'not connected';
  return `to ${chassis}, whose agent is ${state}${node.since === 0 ? '' : ` for ${formatDuration(now - node.since)}`}`;
}

function programmed({ node, of, port }: FoundPort): readonly Pair[] {
  const link = port.link_up ? 'up' : 'down';
  const vlan = port.vlan === 0 ? '' : `, VLAN ${port.vlan}`;
  return [
    ['Interface', `${port.interface}${vlan} on ${node}, ifindex ${port.ifindex}, link ${link}`],
    ['Programmed', `${port.installed ? 'yes' : 'no'}: slot ${port.slot}, hook ${of.attach_mode}`],
    [
      'Packets',
      `${port.received_packets} from the VM, ${port.sent_packets} to it, ${port.dropped_packets} dropped`,
    ],
  ];
}

function droppedLines({ drops, found }: PortFacts, now: number): readonly string[] {
  if (drops.length === 0)
    return [found.length === 0 ? 'No node has it in its kernel.' : 'Nothing was dropped at it.'];
  const ago = (at: number): string => (at === 0 ? 'not seen' : `${formatDuration(now - at)} ago`);
  const rows = drops.map((drop) => [
    drop.reason,
    drop.direction,
    drop.packets,
    ago(drop.first_seen),
    ago(drop.last_seen),
    rowText(drop),
  ]);
  const table = formatTable(['REASON', 'WAY', 'PACKETS', 'FIRST', 'LAST', 'DECIDED BY'], rows);
  const samples = drops.flatMap(({ reason, text, packet }) => [
    `${reason}: ${text}`,
    ...(packet === '' ? [] : [`  last: ${packet}`]),
  ]);
  return ['Dropped at it', ...[...table, '', ...samples].map((line) => (line === '' ? '' : `  ${line}`))];
}
