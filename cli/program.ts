import { Argument, Command, InvalidArgumentError } from 'commander';

import { addOptions, resolveSettings, throwUsageErrors } from '../common/config.js';
import { ConfigError } from '../common/errors.js';
import { logLevels } from '../common/log.js';
import { packageVersion } from '../common/package-root.js';
import {
  type CommandOutput,
  exitCodes,
  listFdb,
  listNodes,
  listPorts,
  type PortFilter,
  showNode,
  showStatus,
  showSwitches,
} from './commands.js';
import { Connection, connectionOptions } from './connection.js';
import { completionScripts, shells } from './completion.js';
import { eventTypes, follow } from './follow.js';
import { logLevel } from './log-level.js';
import {
  dumpTable,
  listDrops,
  listModules,
  listTables,
  type NodeFilter,
  showMapping,
  verifyNodes,
} from './node-commands.js';
import { supportBundle } from './support-bundle.js';
import { top } from './top.js';
import { tracePackets, type TraceSettings } from './trace/command.js';
import { showWhy } from './why.js';

const exitCodeHelp = `
Exit codes:
  0  done
  ${exitCodes.failure}  it failed, or \`verify\` found differences; standard error says why
  ${exitCodes.usage}  wrong usage or settings
  ${exitCodes.incomplete}  some nodes did not answer; what the others said is printed

Nothing that iovn does can stop traffic.`;

interface PortAndNode extends NodeFilter {
  readonly port?: string;
}

/** Where a command's answer goes, and what it tells people beside it. */
export interface Output {
  readonly write: (text: string) => void;
  readonly warn: (text: string) => void;
}

const standardOutput: Output = {
  write: (text) => void process.stdout.write(text),
  warn: (text) => void process.stderr.write(text),
};

/** `iovn`'s commands; `status` is the exit code of the one that has run. */
export class Program extends Command {
  readonly output: Output;
  status = 0;

  constructor(output: Output) {
    super('iovn');
    this.output = output;
  }
}

/** Connects, runs one command and prints what it gives. */
async function execute(
  program: Program,
  command: (connection: Connection) => Promise<CommandOutput>,
): Promise<void> {
  const settings = resolveSettings('iovn', connectionOptions, program.opts());
  const connection = new Connection(settings);
  try {
    const { json, lines, warnings = [], status = 0 } = await command(connection);
    program.output.write(settings.json ? `${json}\n` : lines.map((line) => `${line}\n`).join(''));
    program.output.warn(warnings.map((warning) => `iovn: ${warning}\n`).join(''));
    program.status = status;
  } finally {
    connection.close();
  }
}

/** Prints what comes until it ends, or `count` times. */
async function print(
  program: Program,
  command: (connection: Connection, json: boolean) => AsyncIterable<string>,
  count = Number.POSITIVE_INFINITY,
): Promise<void> {
  const settings = resolveSettings('iovn', connectionOptions, program.opts());
  const connection = new Connection(settings);
  let printed = 0;
  try {
    for await (const text of command(connection, settings.json)) {
      program.output.write(`${text}\n`);
      printed += 1;
      if (printed >= count) return;
    }
  } finally {
    connection.close();
  }
}

export function createProgram(output = standardOutput): Program {
  const program = new Program(output).version(packageVersion);
  program.description('Looks into an IOVisor-OVN network, through its controller or one of its agents.');
  program.configureHelp({ showGlobalOptions: true });
  program.addHelpText('after', exitCodeHelp);
  addOptions(program, connectionOptions);
  throwUsageErrors(program);
  addNetworkCommands(program);
  addPacketCommands(program);
  addNodeCommands(program);
  return program;
}

function addNetworkCommands(program: Program): void {
  program
    .command('status')
    .description('databases, nodes and ports in numbers, and what is asked for but not done')
    .action(() => execute(program, (connection) => showStatus(connection.controller())));
  program
    .command('ports')
    .description('logical ports: where they are, whether they are up, and what is wrong')
    .option('--switch <SWITCH>', 'only those of this logical switch (name or uuid)')
    .option('--node <NODE>', 'only those bound on this node (chassis name or hostname)')
    .action((filter: PortFilter) =>
      execute(program, (connection) => listPorts(connection.controller(), filter)),
    );
  program
    .command('switch')
    .description('logical switches')
    .command('show')
    .description(
      'a switch with its ports and groups, localnets, keys and nodes; all in a list when none is named',
    )
    .argument('[SWITCH]', 'name or uuid')
    .action((name: string | undefined) =>
      execute(program, (connection) => showSwitches(connection.controller(), name)),
    );
  program
    .command('fdb')
    .description('MACs that switches have learnt')
    .option('--switch <SWITCH>', 'only those of this logical switch (name or uuid)')
    .action((filter: PortFilter) =>
      execute(program, (connection) => listFdb(connection.controller(), filter.switch)),
    );
  program
    .command('mapping')
    .description('what a logical port is on its node: interface, hook, slot, IOModules and maps')
    .argument('[PORT]', 'all when absent')
    .option('--node <NODE>', 'only on this node (chassis name or hostname)')
    .action((port: string | undefined, filter: NodeFilter) =>
      execute(program, (connection) => showMapping(connection.nodes(), port, filter)),
    );
}

function addPacketCommands(program: Program): void {
  program
    .command('why')
    .description('everything about one port on a page: bound, up, programmed, what it drops and why')
    .argument('<PORT>', 'Logical_Switch_Port.name')
    .action((port: string) =>
      execute(program, (connection) =>
        showWhy(port, connection.isLocal ? undefined : connection.controller(), connection.nodes()),
      ),
    );
  program
    .command('trace')
    .description(
      'what would become of a packet, decision by decision and node by node; nothing is sent, counted or learnt',
    )
    .argument(
      '[WORDS...]',
      '[SWITCH] MICROFLOW, as for ovn-trace: sw0 \'inport == "vm1" && eth.src == … && ip4.dst == …\'',
    )
    .option('--pcap <FILE>', 'trace the frames of a capture instead of a microflow')
    .option('--inport <PORT>', 'the logical port that sends them; a localnet port is the physical network')
    .option(
      '--node <NODE>',
      'where it starts, when the port is on several nodes (a localport, a localnet port)',
    )
    .option('--detailed', 'show the bytes')
    .action((words: readonly string[], settings: TraceSettings) =>
      execute(program, (connection) => tracePackets(connection.nodes(), connection.isLocal, words, settings)),
    );
  program
    .command('drops')
    .description('what is dropped: where, why, since when, which NB row decided, and the last such packet')
    .option('--node <NODE>', 'only on this node (chassis name or hostname)')
    .option('--port <PORT>', 'only at this logical port')
    .option('--follow', 'show drops as they happen, a few per second of each port and reason')
    .action(({ follow: live, ...filter }: PortAndNode & { readonly follow?: boolean }) =>
      live === true
        ? print(program, (connection, json) =>
            follow(connection.nodes(), { ...filter, types: ['drop'] }, json),
          )
        : execute(program, (connection) => listDrops(connection.nodes(), filter)),
    );
  program
    .command('monitor')
    .description('events as they happen: drops, learnt MACs, links, new intent, and when it is applied')
    .option('--node <NODE>', 'only on this node (chassis name or hostname)')
    .option('--port <PORT>', 'only at this logical port')
    .option('--type <TYPES>', `only these, with commas between: ${eventTypes.join(', ')}`, parseEventTypes)
    .action(({ type = [], ...filter }: PortAndNode & { readonly type?: readonly string[] }) =>
      print(program, (connection, json) => follow(connection.nodes(), { ...filter, types: type }, json)),
    );
  program
    .command('top')
    .description('the busiest ports')
    .option('--node <NODE>', 'only on this node (chassis name or hostname)')
    .option('--interval <SECONDS>', 'between two readings', parsePositive, 1)
    .option('--rows <N>', 'ports shown', parsePositive, 20)
    .option('--once', 'one page only')
    .action((given: NodeFilter & { interval: number; rows: number; once?: boolean }) => {
      const options = { node: given.node, intervalMs: given.interval * 1000, rows: given.rows };
      const count = given.once === true ? 1 : Number.POSITIVE_INFINITY;
      return print(program, (connection, json) => top(connection.nodes(), options, json), count);
    });
}

function addNodeCommands(program: Program): void {
  const nodeOption = ['--node <NODE>', 'only this node (chassis name or hostname)'] as const;
  const list = (): Promise<void> => execute(program, (connection) => listNodes(connection.controller()));
  program.command('nodes').description('all hypervisors').action(list);
  const node = program.command('node').description('hypervisors');
  node.command('list').description('all hypervisors').action(list);
  node
    .command('show')
    .description('one hypervisor, its interfaces and its kernel maps')
    .argument('<NODE>', 'chassis name or hostname')
    .action((name: string) => execute(program, (connection) => showNode(connection.controller(), name)));
  program
    .command('modules')
    .description('eBPF programs: where attached, what they cost')
    .option(...nodeOption)
    .action((filter: NodeFilter) =>
      execute(program, (connection) => listModules(connection.nodes(), filter)),
    );
  const tables = program.command('tables').description('the kernel maps of the nodes');
  tables
    .command('list')
    .description('how full each is')
    .option(...nodeOption)
    .action((filter: NodeFilter) => execute(program, (connection) => listTables(connection.nodes(), filter)));
  tables
    .command('dump')
    .description('the entries of one map, with names and addresses as people write them')
    .argument('<MAP>', 'as `tables list` names it, or fdb')
    .option(...nodeOption)
    .option('--limit <N>', 'entries per node', parsePositive)
    .action((map: string, filter: NodeFilter & { readonly limit?: number }) =>
      execute(program, (connection) => dumpTable(connection.nodes(), map, filter)),
    );
  program
    .command('verify')
    .description(
      'compares what is in the kernel, read anew, with what should be; fails when anything differs',
    )
    .option(...nodeOption)
    .action((filter: NodeFilter) =>
      execute(program, (connection) => verifyNodes(connection.nodes(), filter)),
    );
  program
    .command('log-level')
    .description('shows or sets how much the controller and the agents log, until they are started again')
    .argument('[LEVEL]', logLevels.join(', '))
    .option(...nodeOption)
    .option('--controller-only', 'only the controller')
    .action((level: string | undefined, filter: NodeFilter & { readonly controllerOnly?: boolean }) =>
      execute(program, (connection) => {
        const { node, controllerOnly = false } = filter;
        if (controllerOnly && node !== undefined)
          throw new ConfigError('--controller-only and --node contradict each other');
        const isFleet = !connection.isLocal && node === undefined;
        return logLevel(
          {
            controller: isFleet || controllerOnly ? connection.controller() : undefined,
            nodes: controllerOnly ? undefined : connection.nodes(),
            node,
          },
          level ?? '',
        );
      }),
    );
  addSupportCommands(program);
}

function addSupportCommands(program: Program): void {
  program
    .command('support-bundle')
    .description(
      'one file with what a developer needs, without secrets; a part that can not be had is noted in it',
    )
    .option('-o, --output <FILE>', 'FILE.tar.gz; iovn-support-TIME.tar.gz when not set')
    .option('--force', 'overwrite the file')
    .action(({ output, force }: { readonly output?: string; readonly force?: boolean }) =>
      execute(program, (connection) =>
        supportBundle(connection.isLocal ? undefined : connection.controller(), connection.nodes(), {
          file: output,
          force: force === true,
          target: connection.target,
        }),
      ),
    );
  program
    .command('completion')
    .description(
      'what makes a shell complete commands, options and names; for bash: source <(iovn completion bash)',
    )
    .addArgument(new Argument('<SHELL>', 'whose').choices(shells))
    .action((shell: (typeof shells)[number]) => program.output.write(completionScripts[shell]));
}

function parsePositive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('expected a number above 0');
  return value;
}

function parseEventTypes(text: string): readonly string[] {
  const types = text.split(',');
  const unknown = types.find((type) => !(eventTypes as readonly string[]).includes(type));
  if (unknown !== undefined) throw new InvalidArgumentError(`there is no type '${unknown}'`);
  return types;
}
