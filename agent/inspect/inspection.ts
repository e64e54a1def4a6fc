import { readFileSync } from 'node:fs';

import { IovnError } from '../../common/errors.js';
import { changeLevel, type LogControl } from '../../common/log.js';
import { packageVersion } from '../../common/package-root.js';
import { type SupportFile, supportParts } from '../../common/support-files.js';
import type { ModulesInput } from '../../generated/proto/iovn/v1/Modules.js';
import type { NodePortsInput } from '../../generated/proto/iovn/v1/NodePorts.js';
import type { NodeQuery } from '../../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReplyInput } from '../../generated/proto/iovn/v1/NodeReply.js';
import type { TableDumpInput } from '../../generated/proto/iovn/v1/TableDump.js';
import type { VerificationInput } from '../../generated/proto/iovn/v1/Verification.js';
import type { DataPlane } from '../data-plane.js';
import type { DropHistory } from '../drops/drop-history.js';
import type { DropSource } from '../drops/drop-source.js';
import type { LearningPlane } from '../fdb/fdb-table.js';
import { KernelState } from '../kernel-state.js';
import type { ReconcilerView } from '../reconciler.js';
import { traceHop } from '../trace/trace-hop.js';
import type { TraceSource } from '../trace/trace-source.js';
import type { IntentSourceStatus } from '../session.js';
import type { EventFeed } from './event-feed.js';
import type { Places } from './places.js';
import { reportPorts } from './port-report.js';
import type { ProgramSource } from './program-source.js';
import { pieces, programMapUsage, readTable } from './table-reader.js';
import { verify } from './verify.js';

export type InspectedPlane = DataPlane & LearningPlane & DropSource & ProgramSource & TraceSource;

export interface InspectionOptions {
  readonly dataPlane: InspectedPlane;
  readonly view: () => ReconcilerView | undefined;
  readonly places: Places;
  readonly history: DropHistory;
  readonly feed: EventFeed;
  readonly controller: () => IntentSourceStatus;
  readonly databaseState: () => string;
  /** Epoch ms. */
  readonly now: () => number;
  readonly log: LogControl;
  readonly supportFiles: readonly SupportFile[];
}

const statisticsSwitch = '/proc/sys/kernel/bpf_stats_enabled';

/** Answers what is asked about this node (proto/node.proto). It reads; all that it can change is the log's level. */
export class Inspection {
  readonly #options: InspectionOptions;

  constructor(options: InspectionOptions) {
    this.#options = options;
  }

  /** Replies until all is said or `signal` aborts. Throws IovnError, whose message is for whoever asks. */
  async *answer(query: NodeQuery, signal: AbortSignal): AsyncGenerator<NodeReplyInput> {
    const { feed, history, supportFiles } = this.#options;
    if (query.ports) for (const ports of this.#ports(query.ports.port)) yield { ports };
    else if (query.modules) yield { modules: this.#modules() };
    else if (query.table) yield* this.#table(query.table.map, query.table.limit, signal);
    else if (query.drops)
      for (const drops of pieces(history.list(query.drops.port))) yield { drops: { drops } };
    else if (query.verify) for (const verification of this.#verify()) yield { verification };
    else if (query.monitor) {
      const { port, types } = query.monitor;
      for await (const event of feed.watch({ port, types }, signal)) yield { event };
    } else if (query.log_level)
      yield { log_level: { level: changeLevel(this.#options.log, query.log_level.level) } };
    else if (query.support) for await (const support of supportParts(supportFiles)) yield { support };
    else if (query.trace) yield { trace: traceHop(query.trace, this.#options) };
    else throw new IovnError('unknown_query', `this agent (${packageVersion}) does not know the question`);
  }

  *#ports(name: string): Generator<NodePortsInput> {
    const { dataPlane, view, places, controller, databaseState, now } = this.#options;
    const asked = places.all().filter(({ plugged }) => name === '' || plugged.port.name === name);
    const current = view();
    const status = controller();
    const node = {
      chassis: current?.config?.chassis?.name ?? '',
      agent_version: packageVersion,
      controller: status.controller,
      controller_state: status.state,
      controller_since: status.sinceMs / 1000,
      controller_error: status.error ?? '',
      database_state: databaseState(),
      generation_applied: current?.generationApplied ?? '0',
      attach_mode: dataPlane.attachMode,
      read_at: now() / 1000,
    };
    const counters = dataPlane.readCounters(asked.map(({ plugged }) => plugged.slot));
    for (const ports of pieces(reportPorts(asked, current, counters))) yield { ...node, ports };
  }

  #modules(): ModulesInput {
    const { dataPlane, places, view } = this.#options;
    return {
      programs: dataPlane.readPrograms().map((program) => ({
        name: program.name,
        id: program.id,
        tag: program.tag,
        hook: dataPlane.attachMode,
        interfaces: dataPlane
          .readAttachments(program.name)
          .filter(({ intact }) => intact)
          .map(({ ifindex }) => places.interfaceName(ifindex)),
        runs: String(program.runs),
        run_ns: String(program.runNs),
        verified_instructions: program.verifiedInstructions,
        instructions: program.instructions,
        memory_bytes: program.memoryBytes,
      })),
      run_statistics: readFileSync(statisticsSwitch, 'utf8').trim() === '1',
      maps: [...(view()?.usage ?? []), ...programMapUsage(dataPlane)],
      lost_drop_samples: String(dataPlane.lostDropSamples()),
    };
  }

  *#table(map: string, limit: number, signal: AbortSignal): Generator<{ readonly table: TableDumpInput }> {
    for (const entries of readTable(this.#options.dataPlane, map, limit)) {
      if (signal.aborted) return;
      yield { table: { entries } };
    }
  }

  *#verify(): Generator<VerificationInput> {
    const { view, dataPlane, places } = this.#options;
    const current = view();
    const repaired = current?.driftRepaired ?? 0;
    if (current?.wanted === undefined) {
      yield { problem: 'it is not known yet what this node should hold', repaired };
      return;
    }
    const actual = new KernelState(dataPlane);
    const found = verify(current.wanted, actual, (ifindex) => places.interfaceName(ifindex));
    for (const differences of pieces(found.differences))
      yield { entries_compared: found.entriesCompared, differences, repaired };
  }
}
