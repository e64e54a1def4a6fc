import { formatDuration } from '../common/duration.js';
import { IovnError } from '../common/errors.js';
import type { Drop } from '../generated/proto/iovn/v1/Drop.js';
import type { NodePorts } from '../generated/proto/iovn/v1/NodePorts.js';
import type { PortStatus } from '../generated/proto/iovn/v1/PortStatus.js';
import { adviceFor } from './advice.js';
import { rowText } from './nb-row.js';
import { suggestion } from './nearest.js';
import { collect, type FoundPort, type NodeAsker, unknownPort } from './node-answers.js';

/** What is asked of a controller about a port. */
export interface PortSource {
  /** All logical ports. */
  listPorts(): Promise<{ readonly ports: readonly PortStatus[] }>;
  /** The chassis with this name that runs our agent, or none. */
  listNodes(chassis: string): Promise<{ readonly nodes: readonly NodeState[] }>;
}

interface NodeState {
  readonly connected: boolean;
  /** Of the last connect or disconnect, seconds since the epoch; 0 = not known. */
  readonly since: number;
}

/** All that is known of a port at the moment. */
export interface PortFacts {
  readonly name: string;
  /** What the controller says; undefined when only an agent is asked. */
  readonly status: PortStatus | undefined;
  /** The node to which it is bound; undefined likewise, and when there is none. */
  readonly node: NodeState | undefined;
  /** What nodes that have it in their kernel say. */
  readonly found: readonly FoundPort[];
  readonly drops: readonly Drop[];
  /** Nodes that do not answer, one sentence each. */
  readonly silent: readonly string[];
}

/** The page about a port, for people: `iovn why` prints it and the web page shows it. */
export interface WhyPage {
  /** Names and values. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** What keeps it from working, in sentences. */
  readonly problems: readonly string[];
  readonly drops: readonly WhyDrop[];
  /** What there is to say when `drops` is empty, else ''. */
  readonly noDrops: string;
  /** What can be done. */
  readonly advice: readonly string[];
}

export interface WhyDrop {
  readonly reason: string;
  readonly text: string;
  readonly direction: string;
  /** A decimal number. */
  readonly packets: string;
  /** How long ago. */
  readonly first: string;
  readonly last: string;
  /** The NB row and column; '' where none did. */
  readonly decidedBy: string;
  /** The last one, in words; '' when none was seen. */
  readonly packet: string;
}

/** Asks the controller, where there is one to be asked, and the nodes. Throws IovnError `unknown_port`. */
export async function gatherPortFacts(
  name: string,
  controller: PortSource | undefined,
  nodes: NodeAsker,
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

async function findStatus(controller: PortSource, name: string): Promise<PortStatus> {
  const { ports } = await controller.listPorts();
  const status = ports.find((port) => port.name === name);
  if (status !== undefined) return status;
  const names = ports.map((port) => port.name);
  throw new IovnError('unknown_port', `there is no logical port '${name}'${suggestion(name, names)}`);
}

/** `now` in seconds since the epoch. */
export function whyPage(facts: PortFacts, now: number): WhyPage {
  const advice = facts.drops.map((drop) => adviceFor(drop)).filter((each) => each !== '');
  const nothing = facts.found.length === 0 ? 'No node has it in its kernel.' : 'Nothing was dropped at it.';
  const pairs = [...identity(facts, now), ...facts.found.flatMap((each) => programmed(each))];
  return {
    facts: pairs.filter(([, value]) => value !== ''),
    problems: problemsOf(facts),
    drops: facts.drops.map((drop) => whyDrop(drop, now)),
    noDrops: facts.drops.length === 0 ? nothing : '',
    advice: [...new Set(advice)],
  };
}

function problemsOf({ status, found, silent }: PortFacts): readonly string[] {
  const ofNodes = found.flatMap(({ node, of, port }) => [
    ...(port.problem === '' ? [] : [`${port.interface} on ${node}: ${port.problem}`]),
    ...(port.link_up ? [] : [`${port.interface} on ${node}: the link is down`]),
    ...sourceProblems(node, of),
  ]);
  const all = [...(status?.problems ?? []), ...ofNodes, ...silent];
  return all.filter((each, index) => all.findIndex((other) => other.includes(each)) === index);
}

/** Of where the node has its intent from. */
function sourceProblems(
  node: string,
  { controller_state: state, controller_error: error }: NodePorts,
): readonly string[] {
  if (state === 'standalone') return error === '' ? [] : [error];
  return state === 'connected'
    ? []
    : [`${node} has no controller (${state}): it keeps to what it was last told`];
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

function boundText({ chassis }: PortStatus, node: NodeState | undefined, now: number): string {
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

function whyDrop(drop: Drop, now: number): WhyDrop {
  const ago = (at: number): string => (at === 0 ? 'not seen' : `${formatDuration(now - at)} ago`);
  return {
    reason: drop.reason,
    text: drop.text,
    direction: drop.direction,
    packets: drop.packets,
    first: ago(drop.first_seen),
    last: ago(drop.last_seen),
    decidedBy: rowText(drop),
    packet: drop.packet,
  };
}
