import { existsSync } from 'node:fs';

import test, { type ExecutionContext } from 'ava';

import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { type Network, openPair } from '../support/network.js';

async function assertGone(t: ExecutionContext, network: Network, vm1: Vm, vm2: Vm): Promise<void> {
  const { central, hypervisor } = network;
  for (const table of ['Chassis', 'Chassis_Private', 'Encap']) {
    t.is(await central.sbctl('--bare', '--columns=_uuid', 'list', table), '', table);
  }
  t.is(await central.sbctl('get', 'Port_Binding', 'vm1', 'chassis'), '[]');
  await network.waitUp('vm1', false);
  t.false(existsSync(hypervisor.bpffs), 'pins');
  t.is((await vm1.ping(vm2.address)).received, 0, 'programs');
  for (const vm of [vm1, vm2]) {
    t.is(await hypervisor.namespace.runOk(['tc', 'filter', 'show', 'dev', vm.tap, 'ingress']), '');
    const ids = await hypervisor.interfaceColumn(vm.tap, 'external_ids');
    t.false(ids.includes('ovn-installed'), ids);
  }
}

test.serial('--decommission while the agent runs takes everything away, and ends it', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  t.is((await vm1.ping(vm2.address)).received, 1);
  const { status, stderr } = await network.hypervisor.runAgent(['--decommission']);
  t.is(status, 0, stderr);
  await network.hypervisor.agent.ended();
  await assertGone(t, network, vm1, vm2);
});

test.serial('--decommission while no agent runs does the same', async (t) => {
  const { network, vm1, vm2 } = await openPair(t, { agentArgs: ['--attach', 'clsact'] });
  await network.hypervisor.agent.kill();
  const { status, stderr } = await network.hypervisor.runAgent(['--decommission']);
  t.is(status, 0, stderr);
  await assertGone(t, network, vm1, vm2);
});

test.serial('a decommissioned hypervisor can come back', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  t.is((await network.hypervisor.runAgent(['--decommission'])).status, 0);
  await network.hypervisor.agent.ended();
  await network.hypervisor.startAgent();
  await t.notThrowsAsync(
    waitFor('hv1 is a chassis', async () => (await network.central.sbctl('list', 'Chassis')) !== ''),
  );
  await network.waitUp('vm2');
  await t.notThrowsAsync(vm1.canReach(vm2.address));
});
