import { chmodSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';

import { credentials, Server, ServerCredentials, status } from '@grpc/grpc-js';

import { errorMessage, IovnError } from '../common/errors.js';
import { v1 } from '../common/proto.js';
import type { AgentControlHandlers } from '../generated/proto/iovn/v1/AgentControl.js';
import type { NodeInspectHandlers } from '../generated/proto/iovn/v1/NodeInspect.js';
import type { DecommissionReport } from '../generated/proto/iovn/v1/DecommissionReport.js';
import { type Ask, serveAsk } from './inspect/serve-ask.js';

const maximumSocketPath = 107;

/** Whether a process answers at a unix socket. */
export async function isListening(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath);
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}

/** What the socket's services are made of. */
export interface ControlSocketHandlers {
  readonly decommission: () => Promise<readonly string[]>;
  readonly ask: Ask;
}

/**
 * The services of the agent's socket (AgentControl, NodeInspect), which only its owner can use; whoever holds it is the one
 * agent of its state directory.
 */
export class ControlSocket {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Throws IovnError 'agent_running' when another agent has the socket, 'control_socket' when it can't be made. */
  static async open(
    socketPath: string,
    { decommission, ask }: ControlSocketHandlers,
  ): Promise<ControlSocket> {
    if (Buffer.byteLength(socketPath) > maximumSocketPath) {
      throw new IovnError(
        'control_socket',
        `${socketPath}: too long for a unix socket; choose a shorter --state-dir`,
      );
    }
    if (await isListening(socketPath)) {
      throw new IovnError(
        'agent_running',
        `another agent uses this state directory: it answers at ${socketPath}`,
      );
    }
    const server = new Server();
    const handlers: AgentControlHandlers = {
      Decommission: (_call, callback) => {
        decommission().then(
          (problems) => callback(null, { problems: [...problems] }),
          (error: unknown) => callback({ code: status.INTERNAL, details: errorMessage(error) }),
        );
      },
    };
    server.addService(v1.AgentControl.service, handlers);
    const inspect: NodeInspectHandlers = { Ask: (call) => void serveAsk(call, ask) };
    server.addService(v1.NodeInspect.service, inspect);
    try {
      rmSync(socketPath, { force: true });
      await bind(server, socketPath);
      chmodSync(socketPath, 0o600);
    } catch (error) {
      throw new IovnError(
        'control_socket',
        `cannot listen at ${socketPath}: ${errorMessage(error)}`,
        {},
        error,
      );
    }
    return new ControlSocket(server);
  }

  /** Lets calls under way finish for `graceMs`, then closes. */
  async close(graceMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#server.forceShutdown(), graceMs);
      this.#server.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

function bind(server: Server, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

/** Asks the agent behind the socket to decommission its node; resolves with what it could not do. Throws IovnError 'control_call'. */
export async function requestDecommission(socketPath: string, timeoutMs: number): Promise<readonly string[]> {
  const client = new v1.AgentControl(`unix:${socketPath}`, credentials.createInsecure());
  try {
    const report = await new Promise<DecommissionReport | undefined>((resolve, reject) => {
      client.Decommission({}, { deadline: Date.now() + timeoutMs }, (error, answer) => {
        if (error) reject(error);
        else resolve(answer);
      });
    });
    return report?.problems ?? [];
  } catch (error) {
    const message = `the running agent did not decommission its node: ${errorMessage(error)}`;
    throw new IovnError('control_call', message, {}, error);
  } finally {
    client.close();
  }
}
