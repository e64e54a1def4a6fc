import { controllerAddress, executable } from './controller.js';
import type { NetworkNamespace } from './namespace.js';
import { type CommandOptions, type CommandResult, type Daemon, run } from './process.js';
import type { Testbed } from './testbed.js';
import { waitFor } from './wait.js';

const metricsUrl = 'http://127.0.0.1:9651';

export interface NodeAgentParts {
  /** Chassis name. */
  readonly name: string;
  readonly namespace: NetworkNamespace;
  /** The Open_vSwitch database of the machine, whoever made it. */
  readonly remote: string;
  readonly agentArgs?: readonly string[];
}

/** iovn-agent on one machine, not started yet. */
export class NodeAgent {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  readonly remote: string;
  readonly agent: Daemon;
  /** What the agent keeps over restarts. */
  readonly stateFolder: string;
  /** Where the agent pins. */
  readonly bpffs: string;
  /** Command line of the agent, as in `ps`. */
  readonly agentCommand: readonly string[];

  constructor(bed: Testbed, { name, namespace, remote, agentArgs = [] }: NodeAgentParts) {
    this.name = name;
    this.namespace = namespace;
    this.remote = remote;
    this.stateFolder = bed.file(`${name}-state`);
    this.bpffs = bed.bpffs(name);
    const flags = ['--ovsdb', remote, '--controller', controllerAddress, '--insecure'];
    const places = ['--state-dir', this.stateFolder, '--bpffs', this.bpffs, '--metrics', '127.0.0.1:9651'];
    const level = ['--log-level', 'info'];
    this.agentCommand = [executable('iovn-agent'), ...flags, ...places, ...level, ...agentArgs];
    this.agent = bed.daemon({ name: `${name}-agent`, command: namespace.command(this.agentCommand) });
  }

  /** Starts the agent, and returns when it is healthy: it has its database, its controller and its intent. */
  async startAgent(): Promise<void> {
    this.agent.start();
    await this.agentHealthy();
  }

  async agentHealthy(): Promise<void> {
    await waitFor(
      `the agent of ${this.name} is healthy`,
      async () => (await this.get('/healthz')).status === 200,
    );
  }

  /** The agent's executable with its flags and some more, beside the running agent or without it. */
  runAgent(args: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return run(this.namespace.command([...this.agentCommand, ...args]), options);
  }

  /** /metrics or /healthz. */
  get(route: string): Promise<{ readonly status: number; readonly body: string }> {
    return this.namespace.get(`${metricsUrl}${route}`);
  }
}
