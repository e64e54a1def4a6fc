import test from 'ava';

import { waitFor } from '../../testbed/wait.js';
import { Network, openPair } from '../support/network.js';

//        hv1
//   vm1 ── tap-vm1 ┐
//                  ├ sw0      (eBPF; br-int is only a row)
//   vm2 ── tap-vm2 ┘

test.serial('two VMs reach each other, the first packet included', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  t.like(await vm1.ping(vm2.address, { count: 3 }), { sent: 3, received: 3 });
  t.like(await vm2.ping(vm1.address, { count: 3 }), { sent: 3, received: 3 });
  await network.waitUp('vm1');
  await network.waitUp('vm2');
  t.is(await network.hypervisor.interfaceColumn(vm1.tap, 'external_ids:ovn-installed'), '"true"');
});

test.serial('broadcast reaches every port of the switch, and no other switch', async (t) => {
  const network = await Network.open(t);
  const vms = [];
  for (const number of [1, 2, 3, 4]) {
    const vm = await network.createVm(number);
    await network.addPort(vm, { portSecurity: false });
    await vm.namespace.runOk(['sysctl', '-qw', 'net.ipv4.icmp_echo_ignore_broadcasts=0']);
    vms.push(vm);
  }
  const [vm1, , , vm4] = vms;
  if (vm1 === undefined || vm4 === undefined) throw new Error('four VMs were made');
  await network.central.nbctl('ls-add', 'sw1', '--', 'lsp-del', vm4.name, '--', 'lsp-add', 'sw1', vm4.name);
  await network.central.nbctl('lsp-set-addresses', vm4.name, `${vm4.mac} ${vm4.address}`);
  for (const vm of vms) await network.hypervisor.plug(vm.tap, vm.name);
  await network.sync();

  const output = await vm1.namespace.runOk(['ping', '-n', '-b', '-c', '2', '-w', '3', '10.0.0.255']);
  t.regex(output, /bytes from 10\.0\.0\.2:/);
  t.regex(output, /bytes from 10\.0\.0\.3:/);
  t.notRegex(output, /bytes from 10\.0\.0\.4:/);
  t.is((await vm1.ping(vm4.address)).received, 0, 'another switch');
});

test.serial('port security: a changed address stops the ping, the right one brings it back', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  t.is((await vm1.ping(vm2.address)).received, 1);

  await vm2.changeAddress('10.0.0.99/24');
  t.is((await vm2.ping(vm1.address, { count: 2 })).received, 0);
  t.is((await vm1.ping('10.0.0.99', { count: 2 })).received, 0);
  const { body } = await network.hypervisor.get('/metrics');
  t.regex(body, /port_dropped_packets_total\{[^}]*port="vm2"[^}]*reason="port_security_(arp|ip4)"/);

  await vm2.changeAddress(`${vm2.address}/24`);
  await t.notThrowsAsync(vm2.canReach(vm1.address));
});

test.serial('a rule that is changed, removed and added in NB takes effect', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const setPortSecurity = async (...entries: string[]): Promise<void> => {
    await network.central.nbctl('--wait=hv', 'lsp-set-port-security', 'vm2', ...entries);
    await vm2.forgetNeighbours();
  };

  await setPortSecurity(`${vm2.mac} 10.0.0.50`);
  t.is((await vm2.ping(vm1.address)).received, 0, 'another address is allowed');
  await setPortSecurity();
  t.is((await vm2.ping(vm1.address)).received, 1, 'no rule');
  await setPortSecurity('02:00:00:00:00:77');
  t.is((await vm2.ping(vm1.address)).received, 0, 'another MAC is allowed');
  await setPortSecurity(`${vm2.mac} ${vm2.address}`);
  t.is((await vm2.ping(vm1.address)).received, 1, 'its own address is allowed');
});

test.serial('a port that is disabled, removed and added again', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const { central } = network;

  await central.nbctl('--wait=hv', 'lsp-set-enabled', 'vm2', 'disabled');
  t.is((await vm1.ping(vm2.address)).received, 0, 'disabled');
  await central.nbctl('--wait=hv', 'lsp-set-enabled', 'vm2', 'enabled');
  await vm1.forgetNeighbours();
  t.is((await vm1.ping(vm2.address)).received, 1, 'enabled');

  await central.nbctl('--wait=hv', 'lsp-del', 'vm2');
  t.is((await vm1.ping(vm2.address)).received, 0, 'removed');
  const notInstalled = async () =>
    !(await network.hypervisor.vsctl('--if-exists', 'get', 'Interface', vm2.tap, 'external_ids')).includes(
      'ovn-installed',
    );
  await waitFor('ovn-installed goes', notInstalled);

  await network.addPort(vm2);
  await network.sync();
  await vm1.forgetNeighbours();
  t.is((await vm1.ping(vm2.address)).received, 1, 'added again');
});

test.serial('a switch that is removed takes its ports along', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  await network.central.nbctl('--wait=hv', 'ls-del', 'sw0');
  t.is((await vm1.ping(vm2.address)).received, 0);
  for (const vm of [vm1, vm2]) await network.addPort(vm);
  await network.sync();
  await vm1.forgetNeighbours();
  t.is((await vm1.ping(vm2.address)).received, 1);
});
