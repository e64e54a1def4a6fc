import path from 'node:path';

import { option } from '../common/config.js';
import { tlsOptions, type TlsSettings } from '../common/credentials.js';
import { ConfigError } from '../common/errors.js';
import { formatListenAddress, type ListenAddress, parseListenAddress } from '../common/listen-address.js';
import { type InspectClient, inspectClient } from './inspect-client.js';
import { agentClient, fleetClient, type NodeClient } from './node-client.js';

export const connectionOptions = {
  controller: option({
    flag: '--controller',
    argument: 'HOST:PORT',
    description: 'the controller to ask; 127.0.0.1:6650 when not set',
    parse: parseListenAddress,
    default: { host: '127.0.0.1', port: 6650 },
  }),
  agent: option({
    flag: '--agent',
    argument: 'SOCKET',
    description: "ask this hypervisor's agent at its socket, and no controller",
    parse: String,
  }),
  stateDir: option({
    flag: '--state-dir',
    argument: 'DIR',
    description: "the same by the agent's state directory: its --state-dir, /var/lib/iovn by default",
    parse: parseFolder,
  }),
  ...tlsOptions,
  json: option({ flag: '--json', description: 'print the answer as JSON, for scripts' }),
};

/** A name, absolute or not: only the operator's shell knows where it is. */
function parseFolder(text: string): string {
  if (text !== '') return text;
  throw new ConfigError('expected a folder');
}

export interface ConnectionSettings extends TlsSettings {
  readonly controller: ListenAddress;
  readonly agent: string | undefined;
  readonly stateDir: string | undefined;
}

/** The ways to whoever answers; each is opened when it is asked for. */
export class Connection {
  readonly #settings: ConnectionSettings;
  readonly #socket: string | undefined;
  readonly #opened: (InspectClient | NodeClient)[] = [];

  /** Throws ConfigError when it is not clear which agent is meant. */
  constructor(settings: ConnectionSettings) {
    const { agent, stateDir } = settings;
    if (agent !== undefined && stateDir !== undefined)
      throw new ConfigError('--agent and --state-dir both name an agent: leave one of them out');
    this.#settings = settings;
    this.#socket = stateDir === undefined ? agent : path.resolve(stateDir, 'agent.sock');
  }

  /** Who is asked, for people. */
  get target(): string {
    return this.#socket ?? formatListenAddress(this.#settings.controller);
  }

  /** Whether one agent is asked and no controller. */
  get isLocal(): boolean {
    return this.#socket !== undefined;
  }

  /** Throws ConfigError when only an agent may be asked, or the settings do not allow the connection. */
  controller(): InspectClient {
    if (this.isLocal)
      throw new ConfigError('only a controller can answer this: leave --agent and --state-dir away');
    const client = inspectClient(this.#settings.controller, this.#settings);
    this.#opened.push(client);
    return client;
  }

  /** Throws ConfigError when the settings do not allow the connection. */
  nodes(): NodeClient {
    const socket = this.#socket;
    const client =
      socket === undefined ? fleetClient(this.#settings.controller, this.#settings) : agentClient(socket);
    this.#opened.push(client);
    return client;
  }

  close(): void {
    for (const client of this.#opened) client.close();
  }
}
