import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { redact } from '../../cli/redact.js';
import { runIovn } from '../../cli/run.js';
import type { NodeReplyInput } from '../../generated/proto/iovn/v1/NodeReply.js';
import { type InspectData, serveInspect } from '../support/fake-inspect.js';

const secret = 'hunter2-correct-horse';
const key = `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----`;

const node: readonly NodeReplyInput[] = [
  { ports: { chassis: 'hv1', ports: [{ name: 'lp1', slot: 1 }] } },
  { modules: { maps: [{ name: 'ports', entries: 1, capacity: 64 }] } },
  {
    drops: { drops: [{ port: 'lp1', reason: 'hairpin', packet: 'a > b', head: Uint8Array.of(0xab, 0xcd) }] },
  },
  { verification: { entries_compared: 5 } },
  { table: { entries: [{ key: '{"slot":1}', value: '{"portKey":2}' }] } },
  { table: { entries: [{ key: '{"slot":2}', value: '{"portKey":3}' }] } },
  { support: { file: 'log.jsonl', text: '{"msg":"starting","password":"' } },
  { support: { file: 'log.jsonl', text: `${secret}"}\n` } },
  { support: { file: 'metrics.txt', error: 'the registry is broken' } },
  { support: { file: '../../escape.txt', text: 'x' } },
];

const data: InspectData = {
  status: {
    version: '0.1.0',
    databases: [{ database: 'OVN_Northbound', remote: `ssl://ovn:${secret}@10.0.0.1` }],
  },
  nodes: [],
  ports: [],
  switches: [],
  fdb: [],
  fleet: { hv1: node, '../hv2': 'its agent is not connected' },
  supportParts: [{ file: 'settings.json', text: JSON.stringify({ tlsKey: key, logLevel: 'info' }) }],
};

function folder(t: ExecutionContext): string {
  const made = mkdtempSync(path.join(tmpdir(), 'iovn-test-'));
  t.teardown(() => rmSync(made, { recursive: true }));
  return made;
}

async function iovn(t: ExecutionContext, ...args: string[]) {
  const { target, close } = await serveInspect(data);
  t.teardown(close);
  const output = { stdout: '', stderr: '' };
  const status = await runIovn(['--controller', target, '--insecure', ...args], {
    write: (text) => (output.stdout += text),
    warn: (text) => (output.stderr += text),
  });
  return { status, ...output };
}

interface Manifest {
  readonly parts: readonly { readonly file: string; readonly error?: string }[];
}

test.serial('a bundle: what there is, what could not be had, and nothing secret', async (t) => {
  const made = folder(t);
  const file = path.join(made, 'bundle.tar.gz');
  const left = readdirSync(tmpdir()).filter((name) => name.startsWith('iovn-support-'));
  const { status, stdout, stderr } = await iovn(t, 'support-bundle', '-o', file);
  t.deepEqual([status, stdout], [3, `${file}\n`], stderr);
  t.regex(stderr, /nodes\/%2E%2E%2Fhv2\/ports\.json could not be had: its agent is not connected/);
  t.is(statSync(file).mode & 0o777, 0o600);
  t.deepEqual(
    readdirSync(tmpdir()).filter((name) => name.startsWith('iovn-support-')),
    left,
  );

  mkdirSync(path.join(made, 'out'));
  execFileSync('tar', ['-xzf', file, '-C', path.join(made, 'out'), '--strip-components=1']);
  const read = (name: string): string => readFileSync(path.join(made, 'out', name), 'utf8');
  const manifest = JSON.parse(read('manifest.json')) as Manifest;
  const had = manifest.parts.filter(({ error }) => error === undefined).map((part) => part.file);
  t.deepEqual(had, [
    'controller/fdb.json',
    'controller/nodes.json',
    'controller/ports.json',
    'controller/settings.json',
    'controller/status.json',
    'controller/switches.json',
    'nodes/hv1/drops.json',
    'nodes/hv1/log.jsonl',
    'nodes/hv1/modules.json',
    'nodes/hv1/ports.json',
    'nodes/hv1/tables/ports.jsonl',
    'nodes/hv1/verify.json',
  ]);
  t.is(manifest.parts.find((part) => part.file === 'nodes/hv1/metrics.txt')?.error, 'the registry is broken');
  t.is(
    manifest.parts.find((part) => part.file === 'nodes/hv1/unnamed')?.error,
    'the name of the file can not be used',
  );
  t.is(read('nodes/hv1/tables/ports.jsonl').split('\n')[1], '{"key":{"slot":2},"value":{"portKey":3}}');
  t.like(JSON.parse(read('nodes/hv1/drops.json')), { drops: [{ packet: 'a > b', head: '' }] });
  for (const name of [...had, 'manifest.json']) t.false(read(name).includes(secret), name);
  t.like(JSON.parse(read('controller/settings.json')), { logLevel: 'info' });
  t.deepEqual(JSON.parse(read('nodes/hv1/log.jsonl')), { msg: 'starting', password: '[removed]' });
});

test.serial('a bundle overwrites nothing unless it is told to', async (t) => {
  const file = path.join(folder(t), 'bundle.tar.gz');
  writeFileSync(file, 'mine', { mode: 0o644 });
  const refused = await iovn(t, 'support-bundle', '-o', file);
  t.deepEqual(
    [refused.status, refused.stderr],
    [1, `iovn: ${file} is there already: give another name, or --force\n`],
  );
  t.is(readFileSync(file, 'utf8'), 'mine');
  t.is((await iovn(t, 'support-bundle', '-o', file, '--force')).status, 3);
  t.is(statSync(file).mode & 0o777, 0o600);
  const nowhere = await iovn(t, 'support-bundle', '-o', path.join(file, 'below'));
  t.is(nowhere.status, 1);
  t.regex(nowhere.stderr, /below can not be written: /);
});

test.serial('no bundle is made where nobody answers', async (t) => {
  const made = folder(t);
  const file = path.join(made, 'bundle.tar.gz');
  const output: string[] = [];
  const status = await runIovn(['--state-dir', made, 'support-bundle', '-o', file], {
    write: () => undefined,
    warn: (text) => void output.push(text),
  });
  t.is(status, 1);
  t.regex(output.join(''), new RegExp(`^iovn: no connection to the agent at ${made}/agent\\.sock: `));
  t.false(existsSync(file));
});

test('what looks like a secret is removed, and nothing else', (t) => {
  t.is(redact(`a ${key} b`), 'a [removed] b');
  t.is(redact(JSON.stringify({ pem: key })), '{"pem":"[removed]"}');
  t.is(
    redact('tcp://user:pw@10.0.0.1:6641 ssl:10.0.0.1:6642'),
    'tcp://[removed]@10.0.0.1:6641 ssl:10.0.0.1:6642',
  );
  t.is(redact('{"db_password": "a\\"b", "x": 1}'), '{"db_password": "[removed]", "x": 1}');
  t.is(redact('password=abc, next'), 'password=[removed], next');
  const metrics = 'iovn_agent_port_received_packets_total{port="vm1",switch="sw0"} 7\n';
  t.is(redact(metrics), metrics);
});
