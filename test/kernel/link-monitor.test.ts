import { spawnSync } from 'node:child_process';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { type LinkMonitor, openLinkMonitor } from '../../agent/netlink/link-monitor.js';
import { createVeth, deleteLink, readLinks, setUp } from '../../agent/netlink/requests.js';
import { type Logger, silentLogger } from '../../common/log.js';
import { packageRoot } from '../../common/package-root.js';
import { waitFor } from '../../testbed/wait.js';
import { createGuest, enterPrivateNamespaces, findIfindex, runSync } from '../support/private-namespace.js';
import { parseMac } from '../../common/addresses.js';

enterPrivateNamespaces();

function openMonitor(t: ExecutionContext, log: Logger = silentLogger): LinkMonitor {
  const stop = new AbortController();
  const monitor = openLinkMonitor({ signal: stop.signal, log });
  t.teardown(async () => {
    stop.abort();
    await monitor.stopped;
  });
  return monitor;
}

test.serial('interfaces that are there, come, change and go', async (t) => {
  createVeth('early0', 'early1');
  const monitor = openMonitor(t);
  t.is(monitor.links.get('early0')?.kind, 'veth');
  t.true(monitor.links.get('lo')?.adminUp);

  let calls = 0;
  const stopListening = monitor.onChange(() => calls++);
  createVeth('late0', 'late1');
  await waitFor('late0 is seen', () => monitor.links.has('late0') && monitor.links.has('late1'));
  t.true(calls > 0);
  const ifindex = findIfindex('late0');
  t.is(monitor.byIndex.get(ifindex)?.name, 'late0');
  t.false(monitor.links.get('late0')?.operUp);

  setUp(ifindex);
  setUp(findIfindex('late1'));
  await waitFor('late0 has carrier', () => monitor.links.get('late0')?.operUp);
  runSync('ip', 'link', 'set', 'late1', 'down');
  await waitFor('late0 has lost its carrier', () => monitor.links.get('late0')?.operUp === false);
  t.true(monitor.links.get('late0')?.adminUp);

  runSync('ip', 'link', 'set', 'late0', 'mtu', '1400', 'address', '02:00:00:00:00:77');
  await waitFor('the new MTU and MAC', () => monitor.links.get('late0')?.mtu === 1400);
  await waitFor('the new MAC', () => String(monitor.links.get('late0')?.mac) === '02:00:00:00:00:77');

  stopListening();
  const callsBefore = calls;
  deleteLink(ifindex);
  await waitFor('both are gone', () => !monitor.links.has('late0') && !monitor.links.has('late1'));
  t.false(monitor.byIndex.has(ifindex));
  t.is(calls, callsBefore);
});

test.serial('names follow renames, swaps included', async (t) => {
  createVeth('name0', 'name1');
  const [first, second] = [findIfindex('name0'), findIfindex('name1')];
  const monitor = openMonitor(t);
  for (const [from, to] of [
    ['name0', 'name2'],
    ['name1', 'name0'],
    ['name2', 'name1'],
  ] as const) {
    runSync('ip', 'link', 'set', from, 'name', to);
  }
  await waitFor('the names are swapped', () => monitor.links.get('name1')?.ifindex === first);
  t.is(monitor.links.get('name0')?.ifindex, second);
  t.false(monitor.links.has('name2'));
  t.is(monitor.byIndex.get(first)?.name, 'name1');
});

test.serial('a veth whose other end moves away is seen to have it elsewhere', async (t) => {
  const monitor = openMonitor(t);
  createVeth('stay0', 'stay1');
  await waitFor('both ends know each other', () =>
    ['stay0', 'stay1'].every((name) => monitor.links.get(name)?.peerIfindex !== undefined),
  );
  t.false(monitor.links.get('stay0')?.peerInOtherNamespace);
  const guest = createGuest({ name: 'guest', mac: '02:00:00:00:00:01', address: '10.0.0.1/24' });
  t.teardown(() => guest.stop());
  await waitFor(
    'the end that was moved while down is elsewhere',
    () => monitor.links.get('guest')?.peerInOtherNamespace,
  );

  runSync(
    'sh',
    '-c',
    guest.command(['ip', 'link', 'set', 'eth0', 'netns', String(process.pid), 'name', 'back']).join(' '),
  );
  await waitFor('it is back', () => monitor.links.has('back'));
  await waitFor('and known to be', () => monitor.links.get('guest')?.peerInOtherNamespace === false);
});

test.serial('notifications that were lost are made up for', async (t) => {
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (message) => warnings.push(message) };
  createVeth('lost0', 'lost1');
  createVeth('flap0', 'flap1');
  const monitor = openMonitor(t, log);
  /* All in one go, while this process' event loop stands still: far more than the socket's buffer holds. */
  const flapping = Array.from(
    { length: 12_000 },
    (_, i) => `link set flap0 mtu ${i % 2 === 0 ? 1300 : 1301}`,
  );
  const commands = [...flapping, 'link del lost0', 'link add born0 type veth peer name born1'];
  const { status, stderr } = spawnSync('ip', ['-batch', '-'], {
    input: commands.join('\n'),
    encoding: 'utf8',
  });
  t.is(status, 0, stderr);
  await waitFor('the loss is noticed', () => warnings.length > 0);
  await waitFor('what went is gone', () => !monitor.links.has('lost0') && !monitor.links.has('lost1'));
  await waitFor('what came is there', () => monitor.links.has('born0') && monitor.links.has('born1'));
  await waitFor('what changed has changed', () => monitor.links.get('flap0')?.mtu === 1301);
});

test.serial('a process that monitors links ends when it wants to', (t) => {
  const fixture = path.join(packageRoot, 'test', 'kernel', 'fixtures', 'monitor-links.ts');
  for (const [ending, expected] of [
    ['abort', 0],
    ['exit', 0],
    ['throw', 1],
  ] as const) {
    const args = ['--import=tsx', fixture, ending];
    const { status, stdout } = spawnSync(process.execPath, args, {
      encoding: 'utf8',
      timeout: 20_000,
      cwd: packageRoot,
    });
    t.is(status, expected, ending);
    t.regex(stdout, /^\d+ links/);
  }
});

test.serial('the first end of a pair gets the address that is asked for', (t) => {
  const mac = parseMac('02:00:00:00:00:77');
  createVeth('mac0', 'mac1', mac);
  t.is(readLinks().find(({ name }) => name === 'mac0')?.mac, mac);
  t.not(readLinks().find(({ name }) => name === 'mac1')?.mac, mac);
  deleteLink(findIfindex('mac0'));
});

test.serial('requests that the kernel refuses', (t) => {
  createVeth('taken0', 'taken1');
  t.throws(() => createVeth('taken0', 'other'), { code: 'kernel_exists', message: /taken0/ });
  t.throws(() => createVeth('new0', 'taken1'), { code: 'kernel_exists' });
  t.false(readLinks().some(({ name }) => name === 'new0'));
  const ifindex = findIfindex('taken0');
  deleteLink(ifindex);
  t.throws(() => deleteLink(ifindex), { code: 'kernel_no_device' });
  t.throws(() => setUp(ifindex), { code: 'kernel_no_device' });
});
