import { Server, type ServerCredentials } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';

import { ConfigError, errorMessage } from '../common/errors.js';
import { formatListenAddress, type ListenAddress } from '../common/listen-address.js';
import type { Logger } from '../common/log.js';
import { packageDefinition, v1 } from '../common/proto.js';
import type { ControlPlaneHandlers } from '../generated/proto/iovn/v1/ControlPlane.js';
import type { NodeRelayHandlers } from '../generated/proto/iovn/v1/NodeRelay.js';
import type { Controller } from './controller.js';
import { type Inspector, inspectHandlers } from './inspect.js';
import type { NodeAsker } from '../inspect/node-answers.js';
import {
  type ControllerSelf,
  type FindNodes,
  fleetInspectHandlers,
  nodeAsker,
} from './relay/fleet-inspect.js';
import { NodeLinks } from './relay/node-links.js';
import { serveAgent } from './sessions.js';

export interface ServerOptions {
  readonly controller: Controller;
  readonly inspector: Inspector;
  readonly self: ControllerSelf;
  readonly listen: ListenAddress;
  readonly credentials: ServerCredentials;
  /** Aborting it ends every stream. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}

export interface RunningServer {
  /** With the port chosen where `listen.port` was 0. */
  readonly address: ListenAddress;
  /** The nodes whose agents are connected. */
  readonly nodes: NodeAsker;
  /** What standard gRPC health checking answers. */
  setServing(serving: boolean): void;
}

/** A dead peer is noticed after at most the sum of both, in ms. */
const keepaliveTimeMs = 4000;
const keepaliveTimeoutMs = 4000;

const services = ['', 'iovn.v1.ControlPlane', 'iovn.v1.Inspect', 'iovn.v1.FleetInspect', 'iovn.v1.NodeRelay'];

/** Serves ControlPlane, Inspect, the relay to the nodes, health checking and reflection. Rejects with ConfigError when it can't listen. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { controller, credentials, listen, log, signal } = options;
  const server = new Server({
    'grpc.keepalive_time_ms': keepaliveTimeMs,
    'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.max_receive_message_length': 16 * 1024 * 1024,
    'grpc.max_send_message_length': -1,
  });
  const controlPlane: ControlPlaneHandlers = { Connect: (call) => serveAgent(controller, call, log) };
  server.addService(v1.ControlPlane.service, controlPlane);
  server.addService(v1.Inspect.service, inspectHandlers(options.inspector));
  const links = new NodeLinks((chassis, agentId) => serves(controller, chassis, agentId), log);
  server.addService(v1.NodeRelay.service, { Serve: (call) => links.serve(call) } satisfies NodeRelayHandlers);
  const findNodes: FindNodes = (filter) => options.inspector.knownNodes(filter);
  server.addService(v1.FleetInspect.service, fleetInspectHandlers(findNodes, links, options.self));
  const health = new HealthImplementation(statuses('NOT_SERVING'));
  health.addToServer(server);
  new ReflectionService(packageDefinition).addToServer(server);
  const port = await bind(server, listen, credentials);
  if (signal.aborted) server.forceShutdown();
  else signal.addEventListener('abort', () => server.forceShutdown(), { once: true });
  const address = { host: listen.host, port };
  log.info('listening', { listen: formatListenAddress(address) });
  return {
    address,
    nodes: nodeAsker(findNodes, links, signal),
    setServing: (serving) => {
      for (const service of services) health.setStatus(service, serving ? 'SERVING' : 'NOT_SERVING');
    },
  };
}

function serves({ nodes }: Controller, chassis: string, agentId: string): boolean {
  const node = nodes.get(chassis);
  return node !== undefined && node.connected && node.identity.agentId === agentId;
}

function statuses<S extends string>(value: S): Record<string, S> {
  return Object.fromEntries(services.map((service) => [service, value]));
}

function bind(server: Server, listen: ListenAddress, credentials: ServerCredentials): Promise<number> {
  const text = formatListenAddress(listen);
  return new Promise((resolve, reject) => {
    server.bindAsync(text, credentials, (error, port) => {
      if (error === null) resolve(port);
      else reject(new ConfigError(`--listen '${text}': ${errorMessage(error)}`, { listen: text }));
    });
  });
}
