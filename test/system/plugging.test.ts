import test from 'ava';

import { waitFor } from '../../testbed/wait.js';
import { Network, openPair } from '../support/network.js';

test.serial('ovs-vsctl add-port and del-port return promptly without ovs-vswitchd', async (t) => {
  const network = await Network.open(t);
  const vm = await network.createVm(1);
  const addMs = await network.hypervisor.plug(vm.tap, 'vm1');
  t.true(addMs < 2000, `add-port took ${addMs} ms`);
  const { hypervisor } = network;
  t.regex(await hypervisor.interfaceColumn(vm.tap, 'ofport'), /^[1-9]\d*$/);
  t.is(await hypervisor.interfaceColumn(vm.tap, 'link_state'), 'up');
  t.is(await hypervisor.interfaceColumn(vm.tap, 'error'), '[]');
  const startMs = performance.now();
  await hypervisor.unplug(vm.tap);
  t.true(performance.now() - startMs < 2000);
});

test.serial('up in NB follows the tap: plugged, unplugged, device deleted, device back', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  await network.waitUp('vm2');

  await network.hypervisor.unplug(vm2.tap);
  await network.waitUp('vm2', false);
  t.is(await network.central.sbctl('get', 'Port_Binding', 'vm2', 'chassis'), '[]');
  await network.hypervisor.plug(vm2.tap, 'vm2');
  await network.waitUp('vm2');

  await vm2.deleteTap();
  await network.waitUp('vm2', false);
  await vm2.createTap();
  await network.waitUp('vm2');
  await t.notThrowsAsync(vm1.canReach(vm2.address));
});

const orders = [
  ['port', 'tap', 'row'],
  ['port', 'row', 'tap'],
  ['tap', 'port', 'row'],
  ['tap', 'row', 'port'],
  ['row', 'port', 'tap'],
  ['row', 'tap', 'port'],
] as const;

test.serial('logical port, tap and Interface row may come in any order', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const steps = {
    port: () => network.addPort(vm2),
    tap: () => vm2.createTap(),
    row: () => network.hypervisor.plug(vm2.tap, 'vm2'),
  };
  for (const order of orders) {
    await network.hypervisor.unplug(vm2.tap);
    await vm2.deleteTap();
    await network.central.nbctl('--wait=hv', 'lsp-del', 'vm2');
    for (const step of order) await steps[step]();
    await network.waitUp('vm2');
    await network.sync();
    t.is((await vm1.ping(vm2.address)).received, 1, order.join(', '));
  }
});

test.serial('a device that is missing is named in Interface.error, until it comes', async (t) => {
  const { network, vm2 } = await openPair(t);
  const { hypervisor } = network;
  await vm2.deleteTap();
  const hasError = async () => (await hypervisor.interfaceColumn(vm2.tap, 'error')).includes(vm2.tap);
  await waitFor('Interface.error names the device', hasError);
  t.is(await hypervisor.interfaceColumn(vm2.tap, 'ofport'), '-1');
  await vm2.createTap();
  const isFine = async () => (await hypervisor.interfaceColumn(vm2.tap, 'error')) === '[]';
  await t.notThrowsAsync(waitFor('Interface.error is empty', isFine));
});

test.serial('the same iface-id on two taps: the first keeps the port, the second says why', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const { hypervisor } = network;
  const vm3 = await network.createVm(3);
  await hypervisor.plug(vm3.tap, 'vm2');
  const hasError = async () => (await hypervisor.interfaceColumn(vm3.tap, 'error')).includes(vm2.tap);
  await waitFor('Interface.error names the other tap', hasError);
  t.is((await vm1.ping(vm2.address)).received, 1, 'the neighbour does not suffer');

  await hypervisor.unplug(vm2.tap);
  const isFine = async () => (await hypervisor.interfaceColumn(vm3.tap, 'error')) === '[]';
  await t.notThrowsAsync(waitFor('the second takes over', isFine));
  await network.waitUp('vm2');
});

test.serial(
  'an iface-id without a logical port harms nobody, and is served when the port comes',
  async (t) => {
    const { network, vm1, vm2 } = await openPair(t);
    const vm3 = await network.createVm(3);
    const elapsedMs = await network.hypervisor.plug(vm3.tap, 'vm3');
    t.true(elapsedMs < 2000);
    await network.sync();
    t.is((await vm1.ping(vm2.address)).received, 1);
    t.is((await vm3.ping(vm1.address)).received, 0);
    await network.addPort(vm3);
    await network.sync();
    t.is((await vm3.ping(vm1.address)).received, 1);
  },
);

test.serial('nonsense in addresses and port_security is reported, and the neighbours work', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const { central, controller } = network;
  await central.nbctl('lsp-add', 'sw0', 'bad');
  const port = ['set', 'Logical_Switch_Port', 'bad'];
  await central.nbctl('--wait=hv', ...port, 'addresses="zz:zz nonsense"', 'port_security="1.2.3.4.5"');
  const { stdout } = await controller.iovn('status', '--json');
  const status = JSON.parse(stdout) as { invalid: { object: string; column: string }[] };
  t.true(
    status.invalid.some(({ object, column }) => object === 'bad' && column === 'addresses'),
    stdout,
  );
  t.true(
    status.invalid.some(({ object, column }) => object === 'bad' && column === 'port_security'),
    stdout,
  );
  t.is((await vm1.ping(vm2.address)).received, 1);
});
