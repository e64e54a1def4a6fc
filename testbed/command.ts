// npm run testbed: a cloud of namespaces that stays, to try things in. What it made, `--down` removes.
import { Command, InvalidArgumentError } from 'commander';

import { throwUsageErrors } from '../common/config.js';
import { ConfigError, errorMessage, IovnError } from '../common/errors.js';
import { planStanding, type StandingPlan } from './standing-plan.js';
import { StandingTestbed } from './standing-testbed.js';

interface Flags {
  readonly nodes: number;
  readonly vanilla: number;
  readonly vms: number;
  readonly name: string;
  readonly down?: true;
}

function numberFrom(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (number >= minimum && number <= maximum) return number;
    throw new InvalidArgumentError(`Expected a number from ${minimum} to ${maximum}.`);
  };
}

/** It becomes part of file names and of the names of namespaces. */
function parseName(text: string): string {
  if (/^[a-z][a-z0-9]{0,19}$/.test(text)) return text;
  throw new InvalidArgumentError('Expected a word of up to 20 small letters and digits.');
}

function createCommand(): Command {
  const command = new Command('npm run testbed --');
  command.description('Hypervisors, VMs and OVN as namespaces of this machine, for trying things by hand.');
  throwUsageErrors(command);
  return command
    .option('--nodes <N>', 'hypervisors', numberFrom(1, 16), 2)
    .option('--vanilla <N>', "how many of them, the last ones, are OVN's own", numberFrom(0, 16), 0)
    .option('--vms <N>', 'VMs on each hypervisor', numberFrom(1, 16), 1)
    .option('--name <NAME>', 'for several testbeds beside each other', parseName, 'testbed')
    .option('--down', 'remove the testbed with everything in it')
    .allowExcessArguments(false);
}

function describe(bed: StandingTestbed, { nodes, vms }: StandingPlan): readonly string[] {
  const rows = nodes.flatMap(({ name, kind }) => [
    `  ${name.padEnd(8)}${kind}`,
    ...vms
      .filter(({ node }) => node === name)
      .map((vm) => `    ${vm.name.padEnd(6)}${vm.ip.padEnd(12)}${vm.mac}`),
  ]);
  const [first] = vms;
  const last = vms.at(-1);
  return [
    '',
    ...rows,
    '',
    'Try it:',
    `  . ${bed.envFile}`,
    '  iovn status',
    '  iovn ports',
    '  ovn-nbctl show',
    ...(first && last ? [`  on ${first.name} ping -c 3 ${last.ip}`] : []),
    '  on hv1 ovs-vsctl show',
    '',
    'Another VM, vm9, on hv1:',
    '  on central network.sh sw0 vm9 02:00:00:00:00:99 10.0.0.99',
    `  on hv1 vm.sh vm9 02:00:00:00:00:99 10.0.0.99/24 ${bed.namespaceName('vm9')}`,
    '',
    `Logs and databases are in ${bed.folder}. Remove it all:`,
    `  npm run testbed -- --down${bed.name === 'testbed' ? '' : ` --name ${bed.name}`}`,
  ];
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function execute(flags: Flags): Promise<void> {
  const bed = new StandingTestbed(flags.name);
  if (flags.down === true) {
    const existed = await bed.down();
    print(existed ? `testbed '${bed.name}' is removed` : `there is no testbed '${bed.name}'`);
    return;
  }
  const plan = planStanding({ nodes: flags.nodes, vanilla: flags.vanilla, vmsPerNode: flags.vms });
  if (bed.isUp) {
    throw new IovnError(
      'testbed_is_up',
      `testbed '${bed.name}' is up: . ${bed.envFile}, or remove it with --down`,
    );
  }
  await bed.up(plan, (text) => print(`  ${text}`));
  for (const line of describe(bed, plan)) print(line);
}

try {
  const command = createCommand().parse();
  await execute(command.opts<Flags>());
} catch (error) {
  process.stderr.write(`testbed: ${errorMessage(error)}\n`);
  const isUsage =
    error instanceof ConfigError || (error instanceof IovnError && error.code === 'invalid_testbed');
  process.exitCode = isUsage ? 2 : 1;
}
