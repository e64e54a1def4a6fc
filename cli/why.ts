import { gatherPortFacts, whyPage, type WhyPage } from '../inspect/why.js';
import { type CommandOutput, exitCodes } from './commands.js';
import type { InspectClient } from './inspect-client.js';
import { formatJson, toPlain } from './json.js';
import type { NodeClient } from './node-client.js';
import { formatPairs, formatTable } from './table.js';

/** `iovn why`. Asks the controller, where there is one to be asked, and the nodes. Throws IovnError `unknown_port`. */
export async function showWhy(
  name: string,
  controller: InspectClient | undefined,
  nodes: NodeClient,
): Promise<CommandOutput> {
  const facts = await gatherPortFacts(name, controller, nodes);
  const page = whyPage(facts, Date.now() / 1000);
  return {
    json: formatJson({
      port: name,
      status: facts.status === undefined ? null : toPlain('PortStatus', facts.status),
      nodes: facts.found.map(({ node, port }) => ({ node, ...toPlain('NodePort', port) })),
      drops: facts.drops.map((drop) => toPlain('Drop', drop)),
      problems: page.problems,
      advice: page.advice,
    }),
    lines: whyLines(page),
    status: facts.silent.length === 0 ? 0 : exitCodes.incomplete,
  };
}

function whyLines(page: WhyPage): readonly string[] {
  const { facts, problems, advice } = page;
  return [
    ...formatPairs(facts),
    '',
    ...(problems.length === 0 ? ['Nothing is known to be wrong with it.'] : list('What is wrong', problems)),
    '',
    ...droppedLines(page),
    ...(advice.length === 0 ? [] : ['', ...list('What can be done', advice)]),
  ];
}

function list(heading: string, items: readonly string[]): readonly string[] {
  return [heading, ...items.map((item) => `  - ${item}`)];
}

function droppedLines({ drops, noDrops }: WhyPage): readonly string[] {
  if (drops.length === 0) return [noDrops];
  const rows = drops.map((drop) => [
    drop.reason,
    drop.direction,
    drop.packets,
    drop.first,
    drop.last,
    drop.decidedBy,
  ]);
  const table = formatTable(['REASON', 'WAY', 'PACKETS', 'FIRST', 'LAST', 'DECIDED BY'], rows);
  const samples = drops.flatMap(({ reason, text, packet }) => [
    `${reason}: ${text}`,
    ...(packet === '' ? [] : [`  last: ${packet}`]),
  ]);
  return ['Dropped at it', ...[...table, '', ...samples].map((line) => (line === '' ? '' : `  ${line}`))];
}
