import test from 'ava';

import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import { waitFor } from '../../testbed/wait.js';
import { Network } from '../support/network.js';

test.serial(
  'a port that a full map has no room for is shown, and works as soon as another one goes',
  async (t) => {
    const network = await Network.open(t, { agentArgs: ['--map-size', 'destinations=2'] });
    const [vm1, vm2] = await network.plugVms(1, 2);
    if (vm1 === undefined || vm2 === undefined) throw new Error('two VMs were made');
    const vm3 = await network.createVm(3);
    await network.addPort(vm3);
    await network.hypervisor.plug(vm3.tap, vm3.name);

    const problem = /tap-vm3 on hv1: map destinations: map destinations is full: it takes 2 entries/;
    const ports = async (): Promise<string> => (await network.controller.iovn('ports', '--json')).stdout;
    await waitFor('the problem of vm3', async () => problem.test(await ports()));
    const { stdout: node } = await network.controller.iovn('node', 'show', 'hv1', '--json');
    t.regex(node, /map_full/);
    const full = async (): Promise<number> =>
      sumOf(parseMetrics((await network.hypervisor.get('/metrics')).body), 'iovn_agent_map_full', {
        map: 'destinations',
      });
    t.is(await full(), 1);
    t.is(await network.central.nbctl('get', 'Logical_Switch_Port', 'vm3', 'up'), 'false');
    t.is((await vm1.ping(vm2.address)).received, 1);

    await network.central.nbctl('lsp-del', 'vm2');
    await network.waitUp('vm3');
    t.is((await vm1.ping(vm3.address)).received, 1);
    await waitFor('no problem', async () => !/map_full|is full/.test(await ports()));
    t.is(await full(), 0);
  },
);
