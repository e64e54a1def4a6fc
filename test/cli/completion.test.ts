import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { complete, completionScripts, type NameKind } from '../../cli/completion.js';
import { networkNames } from '../../cli/network-names.js';
import { createProgram } from '../../cli/program.js';
import { packageRoot } from '../../common/package-root.js';
import { serveInspect } from '../support/fake-inspect.js';

const names: Readonly<Record<NameKind, readonly string[]>> = {
  NODE: ['hv1', 'hv2', 'other'],
  PORT: ['vm2', 'vm1', 'has space', 'lp:1', 'lp:2'],
  SWITCH: ['sw0'],
  MAP: ['ports', 'fdb'],
};

/** What the words, of which the last is typed so far, can become. */
function offered(...words: string[]): Promise<readonly string[]> {
  return complete(createProgram(), words, (kind) => Promise.resolve(names[kind]));
}

test.serial('commands, options, and the values that they take', async (t) => {
  t.deepEqual(await offered('s'), ['status', 'support-bundle', 'switch']);
  t.deepEqual(await offered('switch', ''), ['help', 'show']);
  t.deepEqual(await offered('tables', 'd'), ['dump']);
  t.deepEqual(await offered('drops', '--f'), ['--follow']);
  t.true((await offered('drops', '--')).includes('--json'), 'options of all commands');
  t.deepEqual(await offered('why', ''), ['lp:1', 'lp:2', 'vm1', 'vm2']);
  t.deepEqual(await offered('why', 'vm1', ''), []);
  t.deepEqual(await offered('drops', '--node', 'h'), ['hv1', 'hv2']);
  t.deepEqual(await offered('--json', '--controller', 'status', 'ports', '--switch', ''), ['sw0']);
  t.deepEqual(await offered('switch', 'show', ''), ['sw0']);
  t.deepEqual(await offered('tables', 'dump', 'f'), ['fdb']);
  t.deepEqual(await offered('log-level', 'd'), ['debug']);
  t.deepEqual(await offered('monitor', '--type', 'i'), ['intent']);
  t.deepEqual(await offered('completion', ''), ['bash', 'fish', 'zsh']);
  t.deepEqual(await offered('trace', '--pcap', ''), [], 'files');
});

test.serial('names are asked of whom the options before say; nobody there, no names', async (t) => {
  const { target, close } = await serveInspect({
    status: {},
    nodes: [{ chassis: { name: 'hv1' } }],
    ports: [{ name: 'vm1' }],
    switches: [{ name: 'sw0' }],
    fdb: [],
    fleet: { hv1: [{ modules: { maps: [{ name: 'ports' }] } }] },
  });
  t.teardown(close);
  const before = ['--insecure', '--controller', target, 'drops'];
  t.deepEqual(await networkNames(before, 'NODE', 30_000), ['hv1']);
  t.deepEqual(await networkNames(before, 'PORT', 30_000), ['vm1']);
  t.deepEqual(await networkNames(before, 'SWITCH', 30_000), ['sw0']);
  t.deepEqual(await networkNames(before, 'MAP', 30_000), ['ports']);
  t.deepEqual(await networkNames(['--insecure', '--controller', '127.0.0.1:1'], 'NODE', 30_000), []);
  t.deepEqual(await networkNames(['--controller', 'nonsense'], 'NODE', 30_000), []);
  t.deepEqual(await networkNames(['--state-dir', '/nowhere'], 'NODE', 30_000), []);
});

/** A folder with an `iovn` that runs this checkout's sources, or whatever `body` is. */
function pathWithIovn(t: ExecutionContext, body: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'iovn-completion-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  writeFileSync(path.join(folder, 'iovn'), `#!/bin/sh\n${body}\n`);
  chmodSync(path.join(folder, 'iovn'), 0o755);
  return `${folder}:${process.env['PATH'] ?? ''}`;
}

/** What bash offers where the cursor is at the end of the line. */
function bash(PATH: string, line: string): readonly string[] {
  const script = `${completionScripts.bash}
COMP_LINE=$1 COMP_POINT=\${#1}
_iovn
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const output = execFileSync('bash', ['-euo', 'pipefail', '-c', script, 'bash', line], {
    env: { ...process.env, PATH },
  });
  return output.toString().split('\n').filter(Boolean);
}

test.serial('bash: the script asks iovn itself', (t) => {
  const main = path.join(packageRoot, 'cli/main.ts');
  const loader = path.join(packageRoot, 'node_modules/tsx/dist/esm/index.mjs');
  const PATH = pathWithIovn(t, `exec '${process.execPath}' --import='${loader}' '${main}' "$@"`);
  t.deepEqual(bash(PATH, 'iovn sw'), ['switch']);
  t.deepEqual(bash(PATH, 'iovn completion '), ['bash', 'fish', 'zsh']);
  const script = execFileSync('iovn', ['completion', 'bash'], { env: { ...process.env, PATH } });
  t.is(script.toString(), completionScripts.bash);
});

test.serial('bash: words with colons are completed after the last one, and a failure offers nothing', (t) => {
  const PATH = pathWithIovn(t, `printf '%s\\n' lp:1 lp:2; echo "$@" >&2`);
  t.deepEqual(bash(PATH, 'iovn why lp:'), ['1', '2']);
  t.deepEqual(bash(PATH, 'iovn why '), ['lp:1', 'lp:2']);
  t.deepEqual(bash(pathWithIovn(t, 'exit 1'), 'iovn why '), []);
});
