import { readdirSync } from 'node:fs';
import path from 'node:path';

import test from 'ava';

import { packageRoot } from '../../common/package-root.js';
import { run } from '../../testbed/process.js';

const provisioning = path.join(packageRoot, 'deploy', 'provision');

/** Vagrant's start alone takes seconds. */
function validate(env: Readonly<Record<string, string>>) {
  return run(['env', '-C', packageRoot, 'vagrant', 'validate'], { env, timeoutMs: 60_000 });
}

test.serial('vagrant takes the Vagrantfile, for hypervisors of either kind', async (t) => {
  const { status, stdout, stderr } = await validate({ NODES: '3', VANILLA: '1' });
  t.is(status, 0, stdout + stderr);
  t.regex(stdout, /validated successfully/);
});

test.serial('vagrant refuses more vanilla hypervisors than there are hypervisors', async (t) => {
  const { status, stderr } = await validate({ NODES: '1', VANILLA: '2' });
  t.not(status, 0);
  t.regex(stderr, /VANILLA: from 0 to NODES/);
});

test('shellcheck has nothing to say about the provisioning scripts', async (t) => {
  const scripts = readdirSync(provisioning).map((name) => path.join(provisioning, name));
  t.true(scripts.length >= 6);
  const { status, stdout } = await run(['shellcheck', '-x', '-P', provisioning, ...scripts]);
  t.is(status, 0, stdout);
});
