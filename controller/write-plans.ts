import type { Logger } from '../common/log.js';
import type { Operation } from '../ovsdb/operations.js';
import type { ClaimBoard } from './claim-board.js';
import type { Decision } from './claims.js';
import { type FdbWishes, planWish } from './fdb-learning.js';
import type { Interests } from './interests.js';
import type { Metrics } from './metrics.js';
import type { Model } from './model.js';
import type { Node } from './node.js';
import { bindingOperations, chassisOperations, removeChassisOperations } from './sb-operations.js';
import type { SouthboundDatabase } from './southbound.js';

export interface WritePlansOptions {
  readonly model: Model;
  readonly board: ClaimBoard;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly interests: Interests;
  readonly fdbWishes: FdbWishes;
  readonly southbound: SouthboundDatabase;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly now: () => number;
}

/** What the southbound database lacks now, subject by subject: `port:NAME`, `chassis:NAME`, `FDB:NAME`. */
export class WritePlans {
  readonly #options: WritePlansOptions;

  constructor(options: WritePlansOptions) {
    this.#options = options;
  }

  /** `prefix` keeps the uuid-names of several subjects apart. */
  plan(subject: string, prefix: string): readonly Operation[] {
    const name = nameOf(subject);
    if (subject.startsWith('FDB:')) return this.#planFdb(name);
    return subject.startsWith('port:') ? this.#planPort(name) : this.#planChassis(name, prefix);
  }

  #planPort(name: string): readonly Operation[] {
    const { board, model } = this.#options;
    const decision = board.decision(name);
    if (decision === undefined) return [];
    const operations = bindingOperations(model, decision);
    if (operations.length > 0) this.#count(name, decision);
    return operations;
  }

  #planFdb(name: string): readonly Operation[] {
    const { fdbWishes, metrics, model, southbound } = this.#options;
    const wish = fdbWishes.take(name);
    const planned = wish && planWish(model, wish, southbound.hasColumn('FDB', 'timestamp'));
    if (planned === undefined) {
      fdbWishes.written(name);
      return [];
    }
    metrics.fdbWrites.inc({ kind: planned.kind });
    return [planned.operation];
  }

  #count(port: string, { main, binding, additional, activated }: Decision): void {
    const { metrics, log, model } = this.#options;
    for (const { node, chassis, interface: device } of additional) {
      if (chassis === undefined || binding.additional_chassis.includes(chassis)) continue;
      metrics.claims.inc();
      log.info('claiming port for an additional chassis', { port, chassis: node, interface: device });
    }
    if (activated.length > 0) log.info('port activated on additional chassis', { port, chassis: activated });
    if (main.kind === 'plug' && main.plug.chassis !== binding.chassis) {
      metrics.claims.inc();
      const from = model.chassisName(binding.chassis);
      log.info('claiming port', { port, chassis: main.plug.node, interface: main.plug.interface, from });
    } else if (main.kind === 'release') {
      metrics.releases.inc();
      log.info('releasing port', { port, chassis: model.chassisName(binding.chassis) });
    }
  }

  #planChassis(name: string, prefix: string): readonly Operation[] {
    const { board, interests, model, nodes, now, log } = this.#options;
    const node = nodes.get(name);
    if (!node?.connected) return [];
    if (node.decommissioning) return removeChassisOperations(model, name);
    const isSettled = node.reported && board.isSettled(model, node, interests.of(name));
    const { operations, problems, adopted } = chassisOperations(model, {
      config: node.config,
      agentId: node.identity.agentId,
      nbCfg: isSettled ? node.nbCfgApplied : undefined,
      nowMs: now(),
      prefix,
    });
    if (adopted) log.warn('adopting the rows of a chassis that was not ours', { chassis: name });
    this.#tellProblems(node, problems);
    return operations;
  }

  #tellProblems(node: Node, problems: readonly string[]): void {
    for (const problem of problems) {
      if (!node.problems.includes(problem))
        this.#options.log.error('chassis problem', { chassis: node.name, problem });
    }
    node.problems = problems;
  }
}

/** `kind:name` without its kind. */
export function nameOf(subject: string): string {
  return subject.slice(subject.indexOf(':') + 1);
}
