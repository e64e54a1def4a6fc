import { option } from '../common/config.js';
import { tlsOptions, type TlsSettings } from '../common/credentials.js';
import { ConfigError } from '../common/errors.js';
import { type ListenAddress, parseListenAddress } from '../common/listen-address.js';
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
    description: "ask this hypervisor's agent, at agent.sock in its state directory, and no controller",
    parse: String,
  }),
  ...tlsOptions,
  json: option({ flag: '--json', description: 'print the answer as JSON, for scripts' }),
};

export interface ConnectionSettings extends TlsSettings {
  readonly controller: ListenAddress;
  readonly agent: string | undefined;
}

/** The ways to whoever answers; each is opened when it is asked for. */
export class Connection {
  readonly #settings: ConnectionSettings;
  readonly #opened: (InspectClient | NodeClient)[] = [];

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
  }

  /** Whether one agent is asked and no controller. */
  get isLocal(): boolean {
    return this.#settings.agent !== undefined;
  }

  /** Throws ConfigError when only an agent may be asked, or the settings do not allow the connection. */
  controller(): InspectClient {
    if (this.isLocal) throw new ConfigError('only a controller can answer this: leave --agent away');
    const client = inspectClient(this.#settings.controller, this.#settings);
    this.#opened.push(client);
    return client;
  }

  /** Throws ConfigError when the settings do not allow the connection. */
  nodes(): NodeClient {
    const { agent, controller } = this.#settings;
    const client = agent === undefined ? fleetClient(controller, this.#settings) : agentClient(agent);
    this.#opened.push(client);
    return client;
  }

  close(): void {
    for (const client of this.#opened) client.close();
  }
}
