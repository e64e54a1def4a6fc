import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import test from 'ava';

import { packageRoot } from '../../common/package-root.js';
import { run } from '../../testbed/process.js';

/*   shell ── . env ── iovn, ovn-nbctl, on
 *   hv1 (ours) ── vm1      hv2 (ours) ── vm2      hv3 (vanilla) ── vm3 */

const name = 'selftest';
const folder = `/run/iovn-testbed/${name}`;

function testbed(...args: string[]) {
  const script = ['--import=tsx', 'testbed/command.ts', '--name', name, ...args];
  return run(['env', '-C', packageRoot, process.execPath, ...script], { timeoutMs: 150_000 });
}

/** As somebody types it who has sourced the testbed's file. */
function shell(command: string) {
  return run(['bash', '-c', `. ${folder}/env && ${command}`]);
}

async function namespaces(): Promise<readonly string[]> {
  const { stdout } = await run(['ip', 'netns', 'list']);
  return stdout
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((each) => each.startsWith(`${name}-`))
    .sort();
}

/** Processes that have a file of the testbed in their command line. */
function processes(): readonly string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .map((pid) => {
      try {
        return readFileSync(path.join('/proc', pid, 'cmdline'), 'utf8');
      } catch {
        return '';
      }
    })
    .filter((command) => command.includes(`${folder}/`));
}

test.before('nothing is left of a run that was killed', async (t) => {
  t.is((await testbed('--down')).status, 0);
});

test.after.always('nothing stays', async (t) => {
  t.is((await testbed('--down')).status, 0);
});

test.serial('wrong flags: one line, and nothing is made', async (t) => {
  for (const [args, message] of [
    [['--nodes', '0'], /Expected a number from 1 to 16/],
    [['--nodes', '2', '--vanilla', '3'], /--vanilla 3: there are only 2 nodes/],
    [['--name', '../x'], /Expected a word/],
    [['--nonsense'], /unknown option '--nonsense'/],
  ] as const) {
    const { status, stderr } = await testbed(...args);
    t.is(status, 2, stderr);
    t.regex(stderr, message);
    t.is(stderr.trim().split('\n').length, 1);
  }
  t.false(existsSync(folder));
});

test.serial('a testbed of three hypervisors stays, and what it says to try works', async (t) => {
  t.timeout(180_000);
  const up = await testbed('--nodes', '3', '--vanilla', '1');
  t.is(up.status, 0, up.stderr);
  t.deepEqual(
    await namespaces(),
    ['central', 'hv1', 'hv2', 'hv3', 'vm1', 'vm2', 'vm3'].map((each) => `${name}-${each}`),
  );
  const suggested = up.stdout.split('\n').map((line) => line.trim());
  const from = suggested.indexOf('Try it:');
  const commands = suggested.slice(from + 1).filter((line) => /^(iovn|ovn-nbctl|on) /.test(line));
  t.true(commands.length >= 7);
  for (const command of commands) {
    const { status, stdout, stderr } = await shell(command);
    t.is(status, 0, `${command}: ${stdout}${stderr}`);
    t.is(stderr, '', command);
  }
  const status = await shell('iovn status');
  t.regex(status.stdout, /Nodes +2 connected/);
  const added = await shell('on vm9 ping -n -c 1 -w 10 10.0.0.3');
  t.is(added.status, 0, added.stdout);
});

test.serial('a second one of the same name is refused', async (t) => {
  const { status, stderr } = await testbed('--nodes', '1');
  t.is(status, 1);
  t.regex(stderr, /is up/);
});

test.serial('--down removes namespaces, processes, pins and files, also of what was killed', async (t) => {
  const agent = Number(readFileSync(path.join(folder, 'hv1', 'iovn-agent.pid'), 'utf8'));
  process.kill(agent, 'SIGKILL');
  t.true(processes().length > 5);
  const { status, stdout } = await testbed('--down');
  t.is(status, 0);
  t.regex(stdout, /is removed/);
  t.deepEqual(await namespaces(), []);
  t.deepEqual(processes(), []);
  t.deepEqual(
    readdirSync('/sys/fs/bpf').filter((each) => each.startsWith(`${name}-`)),
    [],
  );
  t.false(existsSync(folder));
  t.regex((await testbed('--down')).stdout, /there is no testbed/);
});
