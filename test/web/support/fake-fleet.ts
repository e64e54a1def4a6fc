import { credentials } from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';

import { serveRelay } from '../../../agent/inspect/relay-client.js';
import type { Ask } from '../../../agent/inspect/serve-ask.js';
import { startHttpServer } from '../../../common/http-server.js';
import { silentLogger } from '../../../common/log.js';
import { v1 } from '../../../common/proto.js';
import { webRoutes } from '../../../controller/web/web-routes.js';
import type { DropInput } from '../../../generated/proto/iovn/v1/Drop.js';
import type { NodeQuery } from '../../../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReplyInput } from '../../../generated/proto/iovn/v1/NodeReply.js';
import { collect } from '../../../inspect/node-answers.js';
import { waitFor } from '../../../testbed/wait.js';
import type { FakeAgent } from '../../controller/support/fake-agent.js';
import { Harness } from '../../controller/support/harness.js';

/** Per second, of one port. */
export interface FakeTraffic {
  readonly packets: number;
  readonly bytes: number;
}

/** A node that answers questions about ports and drops from what a test says. */
export interface FakeNode {
  readonly agent: FakeAgent;
  readonly ports: readonly string[];
  readonly traffic: Map<string, FakeTraffic>;
  /** `packets` are per second. */
  readonly drops: Map<string, DropInput & { readonly perSecond: number }>;
  /** Questions of either kind that have come. */
  asked: number;
  /** It takes questions and does not answer. */
  silent: boolean;
  leave(): void;
}

/** A controller with its web page, over databases in memory, and nodes without kernels. */
export class FakeFleet {
  readonly harness: Harness;
  readonly url: string;
  readonly nodes = new Map<string, FakeNode>();
  readonly #web: AbortController;

  private constructor(harness: Harness, url: string, web: AbortController) {
    this.harness = harness;
    this.url = url;
    this.#web = web;
  }

  static async start(t: Pick<ExecutionContext, 'teardown'>, intervalMs = 2000): Promise<FakeFleet> {
    const harness = await Harness.start();
    const { controller, inspector } = harness;
    const web = new AbortController();
    const routes = webRoutes({ controller, inspector, nodes: harness.nodes, intervalMs });
    const listen = { host: '127.0.0.1', port: 0 };
    const common = { flag: '--web', signal: web.signal, log: silentLogger } as const;
    const { port } = await startHttpServer({ ...common, listen, routes });
    const fleet = new FakeFleet(harness, `http://127.0.0.1:${port}/`, web);
    t.teardown(() => {
      for (const node of fleet.nodes.values()) node.leave();
      fleet.close();
      harness.stop();
    });
    return fleet;
  }

  /** Waits until what is plugged in is up and all nodes can be asked; forgets that they were. */
  async ready(): Promise<void> {
    const { inspector, nodes } = this.harness;
    let plugged = 0;
    for (const node of this.nodes.values()) plugged += node.ports.length;
    await waitFor('the ports are up', () => inspector.status().ports_up === plugged);
    await waitFor('the nodes can be asked', async () => {
      const { answers } = await collect(nodes.ask({ ports: { port: '' } }), ({ ports }) => ports);
      return answers.size === this.nodes.size;
    });
    for (const node of this.nodes.values()) node.asked = 0;
  }

  /** The web server goes away, as with the controller. */
  close(): void {
    this.#web.abort();
  }

  /** A node whose agent has these ports plugged in and a tunnel to each other node. */
  join(name: string, ip: string, ports: readonly string[], others: readonly string[] = []): FakeNode {
    const abort = new AbortController();
    const agent = this.harness.agent(name, { ip });
    const startedMs = Date.now();
    const node: FakeNode = {
      agent,
      ports,
      traffic: new Map(),
      drops: new Map(),
      asked: 0,
      silent: false,
      leave: () => {
        abort.abort();
        agent.close();
      },
    };
    this.nodes.set(name, node);
    agent.plugAll(ports);
    const tunnels = others.map((chassis) => ({ chassis, type: 'geneve', interface: 'eth0', mtu: 1442 }));
    agent.send({ status: { attach_mode: 'tcx', tunnels } });
    const ask: Ask = async function* (query) {
      node.asked += 1;
      if (node.silent) await new Promise((resolve) => abort.signal.addEventListener('abort', resolve));
      yield answer(node, name, query, (Date.now() - startedMs) / 1000);
    };
    const client = new v1.NodeRelay(this.harness.address, credentials.createInsecure());
    const identity = { chassis: name, agent_id: `id-${name}` };
    void serveRelay(client, identity, ask, silentLogger, abort.signal).finally(() => client.close());
    return node;
  }
}

function answer(node: FakeNode, chassis: string, query: NodeQuery, seconds: number): NodeReplyInput {
  const count = (perSecond: number): string => String(Math.floor(perSecond * seconds));
  if (query.drops) {
    const wanted = query.drops.port;
    const drops = [...node.drops.values()].filter(({ port }) => wanted === '' || wanted === port);
    return {
      drops: { drops: drops.map(({ perSecond, ...drop }) => ({ ...drop, packets: count(perSecond) })) },
    };
  }
  const wanted = query.ports?.port ?? '';
  const shown = node.ports.filter((port) => wanted === '' || wanted === port);
  return {
    ports: {
      chassis,
      controller_state: 'connected',
      attach_mode: 'tcx',
      read_at: Date.now() / 1000,
      ports: shown.map((name, index) => {
        const { packets, bytes } = node.traffic.get(name) ?? { packets: 0, bytes: 0 };
        return {
          name,
          slot: index + 1,
          interface: `tap-${name}`,
          ifindex: index + 10,
          binding: `binding-of-${name}`,
          port_uuid: `uuid-of-${name}`,
          installed: true,
          link_up: true,
          enabled: true,
          received_packets: count(packets),
          received_bytes: count(bytes),
          sent_packets: count(packets / 2),
          sent_bytes: count(bytes / 2),
        };
      }),
    },
  };
}
