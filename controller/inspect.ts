import { type handleUnaryCall, status } from '@grpc/grpc-js';

import { errorMessage } from '../common/errors.js';
import type { Health } from '../common/metrics-server.js';
import { packageVersion } from '../common/package-root.js';
import type { Connection } from '../generated/proto/iovn/v1/Connection.js';
import type { FdbInput } from '../generated/proto/iovn/v1/Fdb.js';
import type { InspectHandlers } from '../generated/proto/iovn/v1/Inspect.js';
import type { NodeInput } from '../generated/proto/iovn/v1/Node.js';
import type { NodesInput } from '../generated/proto/iovn/v1/Nodes.js';
import type { PortStatus } from '../generated/proto/iovn/v1/PortStatus.js';
import type { StatusInput } from '../generated/proto/iovn/v1/Status.js';
import type { SwitchesInput } from '../generated/proto/iovn/v1/Switches.js';
import type { DatabaseStatus } from '../ovsdb/database.js';
import type { Controller } from './controller.js';
import { listFdb } from './fdb-status.js';
import type { Snapshot } from './metrics.js';
import type { Node } from './node.js';
import type { NorthboundDatabase } from './northbound.js';
import { countWaiting, listPorts } from './port-status.js';
import type { KnownNode } from './relay/fleet-inspect.js';
import { agentIdKey, type Chassis, type SouthboundDatabase } from './southbound.js';
import { listSwitches } from './switch-status.js';
import { listUnsupported, type Unsupported } from './unsupported.js';

export interface InspectorOptions {
  readonly controller: Controller;
  readonly northbound: NorthboundDatabase;
  readonly southbound: SouthboundDatabase;
}

/** What the controller says about itself: to `iovn`, to Prometheus, to health checks. */
export class Inspector {
  readonly #options: InspectorOptions;
  #unsupported: readonly Unsupported[] = [];

  constructor(options: InspectorOptions) {
    this.#options = options;
  }

  health(): Health {
    const { northbound, southbound } = this.#options;
    const databases = [northbound, southbound];
    const ok = databases.every(({ status: { state, populated } }) => state === 'connected' && populated);
    return { ok, databases: this.databases() };
  }

  databases(): Connection[] {
    const { northbound, southbound } = this.#options;
    return [northbound, southbound].map((database) => connectionOf(database.name, database.status));
  }

  status(): StatusInput {
    const { controller } = this.#options;
    const { model, store } = controller;
    const seen = model.nbCfg();
    const connected = [...controller.nodes.values()].filter((node) => node.connected);
    const acknowledged = connected.map((node) => model.chassisPrivate(node.name)?.nb_cfg ?? 0);
    const resources = this.#resources();
    return {
      version: packageVersion,
      started_at: controller.startedMs / 1000,
      databases: this.databases(),
      nb_cfg_nb: seen.northbound,
      nb_cfg_sb: seen.southbound,
      nb_cfg_nodes: acknowledged.length === 0 ? 0 : Math.min(...acknowledged),
      nodes_connected: connected.length,
      absent_nodes: this.knownNodes('')
        .filter((node) => !node.connected)
        .map(({ name, sinceMs }) => ({ name, since: sinceMs / 1000 })),
      switches: resources.get('Switch') ?? 0,
      ports: resources.get('Port') ?? 0,
      ports_up: this.#portsUp(),
      unsupported: [...this.#listUnsupported()],
      invalid: [...store.invalid(), ...controller.fdbStore.invalid()],
    };
  }

  nodes(filter: string): NodesInput {
    const nodes = this.#nodeNames().map((name) => this.#node(name));
    return { nodes: nodes.filter(({ chassis }) => matches(filter, chassis?.name, chassis?.hostname)) };
  }

  knownNodes(filter: string): KnownNode[] {
    const { nodes, model } = this.#options.controller;
    return this.#nodeNames().flatMap((name) => {
      const node = nodes.get(name);
      const hostname = node?.config.hostname ?? model.chassis(name)?.hostname;
      if (!matches(filter, name, hostname)) return [];
      return { name, connected: node?.connected ?? false, sinceMs: node?.sinceMs ?? 0 };
    });
  }

  ports(logicalSwitch: string, node: string): { ports: PortStatus[] } {
    return { ports: listPorts(this.#options.controller, { logicalSwitch, node }) };
  }

  switches(filter: string): SwitchesInput {
    return { switches: listSwitches(this.#options.controller, filter) };
  }

  fdb(logicalSwitch: string): FdbInput {
    return { entries: listFdb(this.#options.controller.model, logicalSwitch) };
  }

  snapshot(): Snapshot {
    const { controller, northbound, southbound } = this.#options;
    const { northbound: nbCfgNorthbound, southbound: nbCfgSouthbound } = controller.model.nbCfg();
    const unsupported = new Map<string, number>();
    for (const { kind } of this.#listUnsupported()) unsupported.set(kind, (unsupported.get(kind) ?? 0) + 1);
    return {
      databases: [northbound, southbound].map(({ name, status: { state, reconnects } }) => ({
        database: name,
        connected: state === 'connected',
        reconnects,
      })),
      nodes: this.#nodeNames().map((chassis) => {
        const node = controller.nodes.get(chassis);
        return {
          chassis,
          connected: node?.connected ?? false,
          generationSent: node?.generationSent ?? 0,
          generationApplied: node?.generationApplied ?? 0,
          nbCfg: controller.model.chassisPrivate(chassis)?.nb_cfg ?? 0,
          portsWaiting: countWaiting(controller, node),
        };
      }),
      nbCfgNorthbound,
      nbCfgSouthbound,
      resources: this.#resources(),
      unsupported,
      invalidRows: controller.store.invalid().length + controller.fdbStore.invalid().length,
      fdbRows: controller.model.sb.fdb.size,
      fdbWaiting: controller.fdbWaiting,
    };
  }

  /** Every chassis that an agent serves or has registered. */
  #nodeNames(): readonly string[] {
    const { nodes, model } = this.#options.controller;
    const names = new Set(nodes.keys());
    for (const chassis of model.sb.chassis) if (chassis.external_ids.has(agentIdKey)) names.add(chassis.name);
    return [...names].sort();
  }

  #listUnsupported(): readonly Unsupported[] {
    const { controller } = this.#options;
    if (controller.takeUnsupportedChanged()) this.#unsupported = listUnsupported(controller.model);
    return this.#unsupported;
  }

  #resources(): ReadonlyMap<string, number> {
    const counts = new Map([
      ['Switch', 0],
      ['Port', 0],
    ]);
    for (const [, resources] of this.#options.controller.store.datapaths()) {
      for (const { kind } of resources.values()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    return counts;
  }

  #portsUp(): number {
    let count = 0;
    for (const { up } of this.#options.controller.model.sb.portBinding) if (up === true) count += 1;
    return count;
  }

  #node(name: string): NodeInput {
    const { controller } = this.#options;
    const node = controller.nodes.get(name);
    const nbCfg = controller.model.chassisPrivate(name)?.nb_cfg ?? 0;
    if (node === undefined) return { ...absentNode(controller.model.chassis(name)), nb_cfg: nbCfg };
    const view = [...controller.view(name).values()].flatMap((resources) => [...resources.values()]);
    return {
      ...nodeMessage(
        node,
        [...node.problems, controller.writeFailure('chassis', name) ?? ''].filter(Boolean),
      ),
      nb_cfg: nbCfg,
      switches: view.filter(({ kind }) => kind === 'Switch').length,
      ports: view.filter(({ kind }) => kind === 'Port').length,
    };
  }
}

/** The Inspect service. */
export function inspectHandlers(inspector: Inspector): InspectHandlers {
  return {
    GetStatus: answer(() => inspector.status()),
    ListNodes: answer(({ node }) => inspector.nodes(node)),
    ListFdb: answer((request) => inspector.fdb(request.switch)),
    ListSwitches: answer((request) => inspector.switches(request.switch)),
    ListPorts: answer((request) => inspector.ports(request.switch, request.node)),
  };
}

function answer<Request, Response>(
  compute: (request: Request) => Response,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    let response: Response;
    try {
      response = compute(call.request);
    } catch (error) {
      callback({ code: status.INTERNAL, details: errorMessage(error) });
      return;
    }
    callback(null, response);
  };
}

/** Whether an object with these names is asked for; an empty filter asks for all. */
export function matches(filter: string, ...names: readonly (string | undefined)[]): boolean {
  return filter === '' || names.includes(filter);
}

const stateNames = { connected: 'connected', connecting: 'connecting', backoff: 'backing off' } as const;

function connectionOf(database: string, of: DatabaseStatus): Connection {
  return {
    database,
    remote: of.remote,
    state: stateNames[of.state],
    since: of.sinceMs / 1000,
    error: of.error ?? '',
  };
}

function nodeMessage(node: Node, problems: readonly string[]): NodeInput {
  const { config, identity } = node;
  return {
    chassis: {
      name: config.name,
      hostname: config.hostname,
      encaps: config.encaps.map(({ type, ip, options }) => ({
        type,
        ip,
        options: Object.fromEntries(options),
      })),
      other_config: Object.fromEntries(config.otherConfig),
      transport_zones: [...config.transportZones],
    },
    connected: node.connected,
    since: node.sinceMs / 1000,
    peer: identity.peer,
    agent_version: identity.agentVersion,
    kernel_release: identity.kernelRelease,
    kernel_features: [...identity.kernelFeatures],
    generation_sent: node.generationSent,
    generation_applied: node.generationApplied,
    last_apply_seconds: node.lastApplySeconds,
    errors: [
      ...problems.map((message) => ({ id: { kind: 'Chassis', name: node.name }, code: 'chassis', message })),
      ...node.errors.values(),
    ],
    interfaces: [...node.interfaces],
    status: node.status ?? null,
  };
}

/** A chassis of ours whose agent has not been seen since this controller started. */
function absentNode(chassis: Chassis | undefined): NodeInput {
  return {
    chassis: {
      name: chassis?.name ?? '',
      hostname: chassis?.hostname ?? '',
      other_config: Object.fromEntries(chassis?.other_config ?? []),
      transport_zones: [...(chassis?.transport_zones ?? [])],
    },
    connected: false,
  };
}
