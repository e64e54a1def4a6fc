import { existsSync } from 'node:fs';
import path from 'node:path';

import test from 'ava';

import { deleteLink } from '../../agent/netlink/requests.js';
import type { Ifindex } from '../../common/addresses.js';
import { createDevice, enterPrivateNamespaces, runSync } from '../support/private-namespace.js';
import { makeBpffsDir, modes, open } from './support.js';

enterPrivateNamespaces();

function filters(device: string): string {
  return runSync('tc', 'filter', 'show', 'dev', device, 'ingress');
}

function qdiscs(device: string): string {
  return runSync('tc', 'qdisc', 'show', 'dev', device);
}

test('auto takes tcx where the kernel has it', (t) => {
  const [major = 0, minor = 0] = runSync('uname', '-r').split('.').map(Number);
  const hasTcx = major > 6 || (major === 6 && minor >= 6);
  t.is(open(t, { bpffsDir: makeBpffsDir() }).attachMode, hasTcx ? 'tcx' : 'clsact');
});

for (const attachMode of modes) {
  test(`${attachMode}: attach, again, and detach`, (t) => {
    const plane = open(t, { bpffsDir: makeBpffsDir(), attachMode });
    const ifindex = createDevice(`${attachMode}0`);
    t.deepEqual(plane.readAttachments(), []);
    plane.attach(ifindex);
    t.deepEqual(plane.readAttachments(), [{ ifindex, intact: true }]);
    plane.attach(ifindex);
    t.deepEqual(plane.readAttachments(), [{ ifindex, intact: true }]);
    plane.detach(ifindex);
    t.deepEqual(plane.readAttachments(), []);
    t.is(filters(`${attachMode}0`), '');
    t.notRegex(qdiscs(`${attachMode}0`), /clsact/);
    plane.detach(ifindex);
  });

  test(`${attachMode}: an interface that does not exist`, (t) => {
    const plane = open(t, { bpffsDir: makeBpffsDir(), attachMode });
    t.throws(() => plane.attach(123456 as Ifindex), { code: 'kernel_no_device', message: /123456/ });
    t.deepEqual(plane.readAttachments(), []);
  });

  test(`${attachMode}: an interface that vanishes is defunct until it is detached`, (t) => {
    const plane = open(t, { bpffsDir: makeBpffsDir(), attachMode });
    const ifindex = createDevice(`${attachMode}1`);
    plane.attach(ifindex);
    deleteLink(ifindex);
    t.deepEqual(plane.readAttachments(), [{ ifindex, intact: false }]);
    plane.detach(ifindex);
    t.deepEqual(plane.readAttachments(), []);
  });

  test(`${attachMode}: a new interface with the number of a vanished one is attached anew`, (t) => {
    const plane = open(t, { bpffsDir: makeBpffsDir(), attachMode });
    const ifindex = 5000 as Ifindex;
    const create = (): string =>
      runSync(
        'ip',
        'link',
        'add',
        `${attachMode}2`,
        'index',
        '5000',
        'type',
        'veth',
        'peer',
        'name',
        `${attachMode}2p`,
      );
    create();
    plane.attach(ifindex);
    deleteLink(ifindex);
    create();
    t.teardown(() => deleteLink(ifindex));
    t.deepEqual(plane.readAttachments(), [{ ifindex, intact: false }]);
    plane.attach(ifindex);
    t.deepEqual(plane.readAttachments(), [{ ifindex, intact: true }]);
  });

  test(`${attachMode}: another process finds the attachments, and destroy removes everything`, (t) => {
    const bpffsDir = makeBpffsDir();
    const ifindex = createDevice(`${attachMode}3`);
    const first = open(t, { bpffsDir, attachMode });
    first.attach(ifindex);
    first.close();
    const second = open(t, { bpffsDir, attachMode });
    t.deepEqual(second.readAttachments(), [{ ifindex, intact: true }]);
    second.destroy();
    t.false(existsSync(bpffsDir));
    t.is(filters(`${attachMode}3`), '');
    t.notRegex(qdiscs(`${attachMode}3`), /clsact/);
  });

  test(`moving to ${attachMode} leaves nothing of the other way`, (t) => {
    const bpffsDir = makeBpffsDir();
    const ifindex = createDevice(`to${attachMode}`);
    const other = open(t, { bpffsDir, attachMode: attachMode === 'tcx' ? 'clsact' : 'tcx' });
    other.attach(ifindex);
    other.close();
    const plane = open(t, { bpffsDir, attachMode });
    t.deepEqual(plane.readAttachments(), [{ ifindex, intact: false }]);
    plane.attach(ifindex);
    t.deepEqual(plane.readAttachments(), [{ ifindex, intact: true }]);
    t.is(filters(`to${attachMode}`) !== '', attachMode === 'clsact');
    t.is(existsSync(path.join(bpffsDir, 'links', String(ifindex))), attachMode === 'tcx');
    t.is(existsSync(path.join(bpffsDir, 'filters', String(ifindex))), attachMode === 'clsact');
  });
}

test('tcx: a link that somebody detached is not intact, and is replaced', (t) => {
  const bpffsDir = makeBpffsDir();
  const plane = open(t, { bpffsDir, attachMode: 'tcx' });
  const ifindex = createDevice('forced');
  plane.attach(ifindex);
  runSync('bpftool', 'link', 'detach', 'pinned', path.join(bpffsDir, 'links', String(ifindex)));
  t.deepEqual(plane.readAttachments(), [{ ifindex, intact: false }]);
  plane.attach(ifindex);
  t.deepEqual(plane.readAttachments(), [{ ifindex, intact: true }]);
});

test('clsact: a filter that somebody deleted is not intact, and comes back', (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir(), attachMode: 'clsact' });
  const ifindex = createDevice('deleted');
  plane.attach(ifindex);
  runSync('tc', 'filter', 'delete', 'dev', 'deleted', 'ingress');
  t.deepEqual(plane.readAttachments(), [{ ifindex, intact: false }]);
  plane.attach(ifindex);
  t.deepEqual(plane.readAttachments(), [{ ifindex, intact: true }]);
});

test("clsact: another program in our filter's place is not ours", (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir(), attachMode: 'clsact' });
  const other = open(t, { bpffsDir: makeBpffsDir(), attachMode: 'clsact', maxPorts: 32 });
  const ifindex = createDevice('usurped');
  plane.attach(ifindex);
  other.attach(ifindex);
  t.deepEqual(plane.readAttachments(), [{ ifindex, intact: false }]);
  t.deepEqual(other.readAttachments(), [{ ifindex, intact: true }]);
});

test('clsact: two programs on one interface, and the last to go takes the qdisc along', (t) => {
  const bpffsDir = makeBpffsDir();
  const ifindex = createDevice('both');
  const programs = ['tunnel_ingress', 'uplink_ingress'] as const;
  for (const [first, last] of [programs, programs.toReversed()] as const) {
    const plane = open(t, { bpffsDir, attachMode: 'clsact' });
    for (const program of programs) plane.attach(ifindex, program);
    t.is(filters('both').match(/filter .* handle/g)?.length, 2);
    plane.detach(ifindex, first);
    t.deepEqual(plane.readAttachments(last), [{ ifindex, intact: true }]);
    plane.close();
    const restarted = open(t, { bpffsDir, attachMode: 'clsact' });
    t.regex(qdiscs('both'), /clsact/);
    restarted.detach(ifindex, last);
    t.notRegex(qdiscs('both'), /clsact/);
    restarted.close();
  }
});

test("clsact: a qdisc that is not ours, or has somebody's filter, stays", (t) => {
  const plane = open(t, { bpffsDir: makeBpffsDir(), attachMode: 'clsact' });
  const theirs = createDevice('theirs');
  runSync('tc', 'qdisc', 'add', 'dev', 'theirs', 'clsact');
  plane.attach(theirs);
  plane.detach(theirs);
  t.regex(qdiscs('theirs'), /clsact/);

  const shared = createDevice('shared');
  plane.attach(shared);
  const match = ['u32', 'match', 'u32', '0', '0'];
  runSync('tc', 'filter', 'add', 'dev', 'shared', 'egress', 'prio', '7', 'protocol', 'all', ...match);
  plane.detach(shared);
  t.regex(qdiscs('shared'), /clsact/);
  t.is(filters('shared'), '');
});
