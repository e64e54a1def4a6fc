import { type CommandResult, run, runOk } from '../../testbed/process.js';
import { Testbed } from '../../testbed/testbed.js';

import test from 'ava';

import { inOwnNetworkNamespace, interfaceTowards, isVirtualLink } from '../../common/virtual-link.js';

const suffix = process.pid.toString(36);

test('the first network namespace is not a test’s own', (t) => {
  t.false(inOwnNetworkNamespace());
});

test.serial('a veth and a bridge of veths are virtual links, other devices are not', async (t) => {
  const [veth, peer, bridge] = [`v${suffix}`, `w${suffix}`, `x${suffix}`] as const;
  await runOk(['ip', 'link', 'add', veth, 'type', 'veth', 'peer', 'name', peer]);
  t.teardown(() => run(['ip', 'link', 'delete', veth]));
  await runOk(['ip', 'link', 'add', bridge, 'type', 'bridge']);
  t.teardown(() => run(['ip', 'link', 'delete', bridge]));
  t.true(isVirtualLink(veth));
  t.true(isVirtualLink(bridge));
  await runOk(['ip', 'link', 'set', veth, 'master', bridge]);
  t.true(isVirtualLink(bridge));
  t.false(isVirtualLink('lo'));
  t.false(isVirtualLink('no-such-device'));
  t.is(interfaceTowards('127.0.0.1'), 'lo');
});

test('inside a namespace --insecure may listen anywhere, in the first one it may not', async (t) => {
  const bed = await Testbed.open();
  t.teardown(() => bed.close());
  const namespace = await bed.namespace('insecure');
  const script = `
    const { serverCredentials } = await import('${import.meta.dirname}/../../common/credentials.ts');
    serverCredentials({ insecure: true }, { host: '0.0.0.0', port: 1 });`;
  const command = [process.execPath, '--import=tsx', '--input-type=module', '-e', script];
  const inside: CommandResult = await namespace.run(command);
  t.is(inside.status, 0, inside.stderr);
  const outside = await run(command);
  t.not(outside.status, 0);
  t.regex(outside.stderr, /--insecure: will not listen on 0\.0\.0\.0:1 without TLS/);
});
