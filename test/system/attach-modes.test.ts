import test from 'ava';

import { openPair } from '../support/network.js';

for (const mode of ['tcx', 'clsact'] as const) {
  test.serial(`${mode}: ping, and a restart without loss`, async (t) => {
    const { network, vm1, vm2 } = await openPair(t, { agentArgs: ['--attach', mode] });
    const { hypervisor } = network;
    const ping = vm1.startPing(vm2.address, 20);
    await ping.more(10);
    const filters = await hypervisor.namespace.runOk(['tc', 'filter', 'show', 'dev', vm1.tap, 'ingress']);
    t.is(filters.includes('bpf'), mode === 'clsact', filters);
    await hypervisor.agent.stop();
    await ping.more(10);
    await hypervisor.startAgent();
    await network.sync();
    await ping.more(10);
    const { sent, received } = await ping.stop();
    t.is(received, sent);
    const { stdout } = await network.controller.iovn('node', 'show', 'hv1', '--json');
    t.deepEqual((JSON.parse(stdout) as { kernel_features: string[] }).kernel_features, [mode]);
  });
}
