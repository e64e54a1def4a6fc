import test from 'ava';

import { OvnCentral } from '../../testbed/central.js';
import { Controller, executable } from '../../testbed/controller.js';
import { Hypervisor } from '../../testbed/hypervisor.js';
import { run } from '../../testbed/process.js';
import { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { Network, openPair, openTestbed } from '../support/network.js';

test.serial('databases that are down at the start are waited for, and named', async (t) => {
  const bed = await openTestbed(t);
  const central = await OvnCentral.create(bed, { start: false });
  const controller = new Controller(bed, central);
  const hypervisor = await Hypervisor.create(bed, central, { name: 'hv1' });
  await hypervisor.ovsdb.stop();
  controller.daemon.start();
  hypervisor.agent.start();
  await waitFor('the controller says that it is not healthy', async () => {
    const { status, body } = await controller.get('/healthz');
    return status === 503 && body.includes('nb.sock');
  });
  await waitFor(
    'the agent says that it is not healthy',
    async () => (await hypervisor.get('/healthz')).status === 503,
  );
  await waitFor('the agent names its database', () => hypervisor.agent.log().includes('ovs.sock'));
  t.true(controller.daemon.log().includes('sb.sock'));

  await hypervisor.startDatabase();
  await central.start();
  await hypervisor.agentHealthy();
  const network = new Network(bed, central, controller, hypervisor);
  const [vm1, vm2] = await network.plugVms(1, 2);
  t.is((await vm1?.ping(vm2?.address ?? ''))?.received, 1);
});

test.serial('an agent with the name of a live one is refused, and nobody suffers', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const ping = vm1.startPing(vm2.address, 50);
  const second = await Hypervisor.create(network.bed, network.central, { name: 'hv2', index: 2 });
  await second.vsctl('--no-wait', 'set', 'Open_vSwitch', '.', 'external_ids:system-id=hv1');
  second.agent.start();
  await waitFor('the second agent says why', () => second.agent.log().includes('chassis_name_taken'));
  await waitFor('it is not healthy', async () => (await second.get('/healthz')).status === 503);
  await network.sync();
  const { sent, received } = await ping.stop();
  t.is(received, sent);
  t.is(await network.central.sbctl('--bare', '--columns=ip', 'list', 'Encap'), '192.0.2.11');

  await second.vsctl('set', 'Open_vSwitch', '.', 'external_ids:system-id=hv2');
  await t.notThrowsAsync(second.agentHealthy());
});

test.serial('a missing system-id is named; setting it is enough', async (t) => {
  const bed = await openTestbed(t);
  const central = await OvnCentral.create(bed);
  const controller = new Controller(bed, central);
  await controller.start();
  const hypervisor = await Hypervisor.create(bed, central, { name: 'hv1' });
  await hypervisor.vsctl('--no-wait', 'remove', 'Open_vSwitch', '.', 'external_ids', 'system-id');
  hypervisor.agent.start();
  await waitFor('the log names it', () => hypervisor.agent.log().includes('system-id'));
  const { status, body } = await hypervisor.get('/healthz');
  t.is(status, 503);
  t.regex(body, /system-id/);
  await hypervisor.vsctl('set', 'Open_vSwitch', '.', 'external_ids:system-id=hv1');
  await hypervisor.agentHealthy();
  t.is(await central.sbctl('--bare', '--columns=name', 'list', 'Chassis'), 'hv1');
});

test.serial('two hypervisors with the same iface-id: one gets the port, traffic there goes on', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const second = await Hypervisor.create(network.bed, network.central, { name: 'hv2', index: 2 });
  await second.startAgent();
  const vm3 = await Vm.create(network.bed, second, { name: 'vm3', mac: vm2.mac, ip: '10.0.0.2/24' });
  await second.plug(vm3.tap, 'vm2');
  await network.sync();
  const holder = await network.central.sbctl('get', 'Port_Binding', 'vm2', 'chassis');
  t.notRegex(holder, /\[\]/);
  t.is((await vm1.ping('10.0.0.1')).received, 1);
});

for (const [name, args, message] of [
  ['iovn-controller', ['--nb', 'foo:bar', '--insecure', '--listen', '127.0.0.1:0'], /--nb 'foo:bar'/],
  [
    'iovn-controller',
    ['--sb', 'tcp:127.0.0.1:x', '--insecure', '--listen', '127.0.0.1:0'],
    /--sb 'tcp:127\.0\.0\.1:x'/,
  ],
  ['iovn-controller', ['--insecure', '--listen', '0.0.0.0:6650'], /--insecure.*0\.0\.0\.0:6650/],
  ['iovn-controller', ['--insecure', '--listen', 'nonsense'], /--listen 'nonsense'/],
  ['iovn-controller', ['--listen', '127.0.0.1:0'], /--tls-cert/],
  ['iovn-agent', ['--ovsdb', 'foo:bar', '--insecure', '--controller', '127.0.0.1:1'], /--ovsdb 'foo:bar'/],
  ['iovn-agent', ['--insecure', '--controller', '8.8.8.8'], /--controller '8\.8\.8\.8'/],
  ['iovn-agent', ['--bogus'], /--bogus/],
] as const) {
  test.serial(`${name} ${args.join(' ')}: one line, status 2`, async (t) => {
    const bed = await openTestbed(t);
    const own =
      name === 'iovn-agent' ? ['--state-dir', bed.file('state'), '--bpffs', bed.bpffs('usage')] : [];
    const { status, stdout, stderr } = await run([executable(name), ...own, ...args]);
    t.is(stdout, '');
    t.is(stderr.trimEnd().split('\n').length, 1, stderr);
    t.regex(stderr, message);
    t.is(status, 2);
  });
}
