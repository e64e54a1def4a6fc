import type { Drop } from '../generated/proto/iovn/v1/Drop.js';
import type { Modules } from '../generated/proto/iovn/v1/Modules.js';
import type { NodeEvent } from '../generated/proto/iovn/v1/NodeEvent.js';
import type { ProgramStatus } from '../generated/proto/iovn/v1/ProgramStatus.js';
import type { Verification } from '../generated/proto/iovn/v1/Verification.js';
import { formatDuration } from '../common/duration.js';
import { rowText } from '../inspect/nb-row.js';
import type { FoundPort } from '../inspect/node-answers.js';
import { formatTable, printable } from './table.js';

type PerNode<T> = readonly (readonly [node: string, message: T])[];

/** `iovn drops`. `now` in seconds since the epoch. */
export function dropsView(
  drops: readonly { readonly node: string; readonly drop: Drop }[],
  now: number,
): readonly string[] {
  if (drops.length === 0) return ['nothing was dropped'];
  const rows = drops.map(({ node, drop }) => [
    node,
    drop.port,
    drop.switch,
    drop.direction,
    drop.reason,
    drop.packets,
    ago(drop.first_seen, now),
    ago(drop.last_seen, now),
    rowText({ ...drop, row_uuid: '' }),
    drop.packet,
  ]);
  return formatTable(
    ['NODE', 'PORT', 'SWITCH', 'WAY', 'REASON', 'PACKETS', 'FIRST', 'LAST', 'DECIDED BY', 'LAST PACKET'],
    rows,
  );
}

function ago(at: number, now: number): string {
  return at === 0 ? '' : `${formatDuration(now - at)} ago`;
}

/** `iovn monitor`: one line. */
export function eventLine(node: string, event: NodeEvent): string {
  const time = new Date(event.at * 1000).toISOString();
  const where = [event.port, event.interface].filter((each) => each !== '').join('@');
  const lost = event.lost === '0' ? '' : ` (${event.lost} events before it were left out)`;
  return printable(
    [time, node, event.type, where, event.text].filter((each) => each !== '').join(' ') + lost,
  );
}

/** `iovn modules` */
export function modulesView(nodes: PerNode<Modules>): readonly string[] {
  const rows = nodes.flatMap(([node, { programs, run_statistics: counts }]) =>
    programs.map((program) => [
      node,
      program.name,
      String(program.id),
      program.tag,
      program.hook,
      program.interfaces.join(' '),
      counts ? program.runs : '',
      counts ? perRun(program) : '',
      program.verified_instructions,
      program.memory_bytes,
    ]),
  );
  const silent = nodes.filter(([, each]) => !each.run_statistics).map(([node]) => node);
  const hint =
    silent.length === 0
      ? []
      : ['', 'Runs are counted only while the kernel is told to: sysctl kernel.bpf_stats_enabled=1'];
  return [
    ...formatTable(
      ['NODE', 'PROGRAM', 'ID', 'TAG', 'HOOK', 'ATTACHED TO', 'RUNS', 'NS/RUN', 'VERIFIED', 'MEMORY'],
      rows,
    ),
    ...hint,
  ];
}

function perRun({ runs, run_ns: ns }: ProgramStatus): string {
  return runs === '0' ? '' : (Number(ns) / Number(runs)).toFixed(0);
}

/** `iovn mapping` */
export function mappingView(found: readonly FoundPort[]): readonly string[] {
  if (found.length === 0) return ['no ports'];
  const rows = found.map(({ node, of, port }) => [
    port.name,
    port.switch,
    node,
    port.vlan === 0 ? port.interface : `${port.interface} vlan ${port.vlan}`,
    of.attach_mode,
    String(port.slot),
    `${port.datapath_key}/${port.port_key}`,
    port.modules.map(({ name, maps }) => `${name}: ${maps.join(' ')}`).join('; '),
    port.problem,
  ]);
  return formatTable(
    ['PORT', 'SWITCH', 'NODE', 'INTERFACE', 'HOOK', 'SLOT', 'KEYS', 'IOMODULES AND MAPS', 'PROBLEM'],
    rows,
  );
}

/** `iovn verify` */
export function verificationView(nodes: PerNode<Verification>): readonly string[] {
  const rows = nodes.flatMap(([node, { differences }]) =>
    differences.map((each) => [node, each.kind, each.map, each.key, each.wanted, each.actual, each.owner]),
  );
  const summaries = nodes.map(([node, each]) => {
    const name = node === '' ? 'this node' : node;
    if (each.problem !== '') return `${name}: ${each.problem}`;
    const repaired = each.repaired === '0' ? '' : `, ${each.repaired} repaired since the agent started`;
    return `${name}: ${each.entries_compared} compared, ${each.differences.length} differ${repaired}`;
  });
  const table = formatTable(['NODE', 'WHAT', 'MAP', 'KEY', 'WANTED', 'ACTUAL', 'CONCERNS'], rows);
  return table.length === 0 ? summaries : [...summaries, '', ...table];
}
