import { Command } from 'commander';

import { addOptions, option, resolveSettings, throwUsageErrors } from '../common/config.js';
import { tlsOptions } from '../common/credentials.js';
import { ConfigError, errorMessage } from '../common/errors.js';
import { parseListenAddress } from '../common/listen-address.js';
import { packageVersion } from '../common/package-root.js';
import {
  type CommandOutput,
  listFdb,
  listNodes,
  listPorts,
  type PortFilter,
  showNode,
  showStatus,
} from './commands.js';
import { type InspectClient, inspectClient } from './inspect-client.js';

const options = {
  controller: option({
    flag: '--controller',
    argument: 'HOST:PORT',
    description: 'the controller to ask; 127.0.0.1:6650 when not set',
    parse: parseListenAddress,
    default: { host: '127.0.0.1', port: 6650 },
  }),
  ...tlsOptions,
  json: option({ flag: '--json', description: "print the controller's reply as JSON, for scripts" }),
};

/** Connects, runs one command and prints what it gives. */
async function execute(
  program: Command,
  command: (client: InspectClient) => Promise<CommandOutput>,
): Promise<void> {
  const settings = resolveSettings('iovn', options, program.opts());
  const client = inspectClient(settings.controller, settings);
  try {
    const { json, lines } = await command(client);
    process.stdout.write(settings.json ? `${json}\n` : `${lines.join('\n')}\n`);
  } finally {
    client.close();
  }
}

function createProgram(): Command {
  const program = new Command('iovn').version(packageVersion);
  program.description('Looks into an IOVisor-OVN network through its controller.');
  program.configureHelp({ showGlobalOptions: true });
  addOptions(program, options);
  throwUsageErrors(program);
  program
    .command('status')
    .description('databases, nodes and ports in numbers, and what is asked for but not done')
    .action(() => execute(program, showStatus));
  program
    .command('ports')
    .description('logical ports: where they are, whether they are up, and what is wrong')
    .option('--switch <SWITCH>', 'only those of this logical switch (name or uuid)')
    .option('--node <NODE>', 'only those bound on this node (chassis name or hostname)')
    .action((filter: PortFilter) => execute(program, (client) => listPorts(client, filter)));
  program
    .command('fdb')
    .description('MACs that switches have learnt')
    .option('--switch <SWITCH>', 'only those of this logical switch (name or uuid)')
    .action((filter: PortFilter) => execute(program, (client) => listFdb(client, filter.switch)));
  const node = program.command('node').description('hypervisors');
  node
    .command('list')
    .description('all hypervisors')
    .action(() => execute(program, listNodes));
  node
    .command('show')
    .description('one hypervisor, its interfaces and its kernel maps')
    .argument('<NODE>', 'chassis name or hostname')
    .action((name: string) => execute(program, (client) => showNode(client, name)));
  return program;
}

try {
  await createProgram().parseAsync();
} catch (error) {
  process.stderr.write(`iovn: ${errorMessage(error)}\n`);
  process.exitCode = error instanceof ConfigError ? 2 : 1;
}
