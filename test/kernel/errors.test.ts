import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { programNames } from '../../agent/data-plane.js';
import {
  codeOfErrno,
  errnoName,
  kernelError,
  requireKernel,
  verifierReason,
} from '../../agent/libbpf/kernel-error.js';
import { packageRoot } from '../../common/package-root.js';
import { enterPrivateNamespaces } from '../support/private-namespace.js';
import { makeBpffsDir, open } from './support.js';

enterPrivateNamespaces();

const fixture = path.join(packageRoot, 'test', 'kernel', 'fixtures', 'open-data-plane.ts');
const node = [process.execPath, '--import=tsx', fixture];

function makeFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'iovn-kernel-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function openInChild(wrapper: readonly string[], ...args: string[]): { code: string; message: string } {
  const [program = '', ...rest] = [...wrapper, ...node, ...args];
  const { stdout, stderr } = spawnSync(program, rest, {
    encoding: 'utf8',
    timeout: 60_000,
    cwd: packageRoot,
  });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as { code: string; message: string };
}

test('without capabilities the message says what is needed', (t) => {
  const powerless = ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--'];
  const result = openInChild(powerless, makeBpffsDir());
  t.is(result.code, 'kernel_permission');
  t.regex(result.message, /CAP_BPF.*CAP_NET_ADMIN.*root/);
});

test('bpffs is mounted where it is missing', (t) => {
  const folder = path.join(makeFolder(t), 'bpf');
  t.deepEqual(openInChild(['unshare', '--mount', '--'], folder), { code: 'ok', message: '' });
  const unmounted = ['unshare', '--mount', '--', 'sh', '-c', 'umount -a -t bpf; exec "$@"', 'sh'];
  t.deepEqual(openInChild(unmounted, '/sys/fs/bpf/iovn'), { code: 'ok', message: '' });
});

test('a folder with a dot in its name can not be on bpffs', (t) => {
  t.throws(() => open(t, { bpffsDir: `${makeBpffsDir()}/a.b` }), { code: 'kernel_failure', message: /dots/ });
});

test('a missing object is named', (t) => {
  const objectFile = '/nonexistent/vif.bpf.o';
  t.throws(() => open(t, { bpffsDir: makeBpffsDir(), objectFile }), {
    code: 'kernel_not_found',
    message: /\/nonexistent\/vif\.bpf\.o/,
  });
});

test('something else than an object is refused', (t) => {
  const objectFile = path.join(makeFolder(t), 'text.o');
  writeFileSync(objectFile, 'not an ELF file');
  t.throws(() => open(t, { bpffsDir: makeBpffsDir(), objectFile }), { message: /object text/ });
});

function compile(folder: string, name: string, body: string): string {
  const source = path.join(folder, `${name}.bpf.c`);
  const objectFile = path.join(folder, `${name}.bpf.o`);
  const includes = [`-I/usr/include/${os.machine()}-linux-gnu`];
  writeFileSync(
    source,
    `#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n${body}\nchar LICENSE[] SEC("license") = "GPL";\n`,
  );
  execFileSync('clang', ['-O2', '-g', '-target', 'bpf', ...includes, '-c', source, '-o', objectFile]);
  return objectFile;
}

test('what the verifier refuses is told in its own words', (t) => {
  const body = 'SEC("tc") int vif_ingress(struct __sk_buff *skb) { return *(int *)(long)skb->mark; }';
  const objectFile = compile(makeFolder(t), 'refused', body);
  const error = t.throws(() => open(t, { bpffsDir: makeBpffsDir(), objectFile }), {
    code: 'kernel_verifier',
  });
  t.regex(error.message, /invalid mem access/);
  t.notRegex(error.message, /processed \d+ insns/);
});

test('an object without the maps and programs of the data plane is refused', (t) => {
  const folder = makeFolder(t);
  mkdirSync(folder, { recursive: true });
  const other = compile(folder, 'other', 'SEC("tc") int other(struct __sk_buff *skb) { return 0; }');
  t.throws(() => open(t, { bpffsDir: makeBpffsDir(), objectFile: other }), {
    code: 'kernel_not_found',
    message: /vif_ingress/,
  });
  const mapless = compile(
    folder,
    'mapless',
    programNames.map((name) => `SEC("tc") int ${name}(struct __sk_buff *skb) { return 0; }`).join('\n'),
  );
  t.throws(() => open(t, { bpffsDir: makeBpffsDir(), objectFile: mapless }), {
    code: 'kernel_not_found',
    message: /map ports/,
  });
});

test('kernels before 6.1 are refused by name', (t) => {
  for (const release of ['6.1.0-9-amd64', '6.18.44', '7.0', 'unreadable'])
    t.notThrows(() => requireKernel(release));
  for (const release of ['5.15.0', '6.0.19', '4.19']) {
    t.throws(() => requireKernel(release), { code: 'kernel_unsupported', message: new RegExp(release) });
  }
});

test('errors carry a stable code and the name of the errno', (t) => {
  const { EPERM, ENODEV, E2BIG, EBUSY, EEXIST } = os.constants.errno;
  t.deepEqual(
    [EPERM, ENODEV, E2BIG, EBUSY, EEXIST, 524].map((errno) => codeOfErrno(errno)),
    [
      'kernel_permission',
      'kernel_no_device',
      'kernel_map_full',
      'kernel_failure',
      'kernel_exists',
      'kernel_unsupported',
    ],
  );
  t.deepEqual([EPERM, 524, 3999, 0].map(errnoName), ['EPERM', 'ENOTSUPP', 'errno 3999', 'errno 0']);
  const error = kernelError('attach to interface 5', ENODEV, { ifindex: 5 });
  t.is(error.errno, ENODEV);
  t.is(error.fields['ifindex'], 5);
  t.regex(error.message, /^cannot attach to interface 5: ENODEV/);
});

test('the reason in a verifier log is its end, without statistics', (t) => {
  const log = `${'0: (b7) r0 = 0\n'.repeat(100)}R1 invalid mem access 'scalar'\nprocessed 5 insns (limit 1000000)\n\0\0`;
  const reason = verifierReason(log).split('\n');
  t.is(reason.at(-1), "R1 invalid mem access 'scalar'");
  t.true(reason.length <= 30);
  t.is(verifierReason(''), '');
});
