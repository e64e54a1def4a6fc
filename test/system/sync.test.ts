import test from 'ava';

import { Network, openPair } from '../support/network.js';

const rounds = Number(process.env['IOVN_TEST_SYNC_ROUNDS'] ?? 20);

test.serial(
  `after --wait=hv sync the first ping is answered, ${rounds} times out of ${rounds}`,
  async (t) => {
    t.timeout(rounds * 5000 + 60_000);
    const { network, vm1, vm2 } = await openPair(t);
    const { central, hypervisor } = network;
    const addresses = `${vm2.mac} ${vm2.address}`;
    let current = 'vm2';
    const failures: string[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const next = `round${round}`;
      const addPort = () =>
        central.nbctl(
          ...['lsp-add', 'sw0', next, '--', 'lsp-set-addresses', next, addresses],
          ...['--', 'lsp-set-port-security', next, addresses],
        );
      const plug = () => hypervisor.plug(vm2.tap, next);
      const removePort = () => central.nbctl('lsp-del', current);
      const unplug = () => hypervisor.unplug(vm2.tap);
      const steps = [
        [unplug, removePort, addPort, plug],
        [removePort, addPort, unplug, plug],
        [removePort, unplug, plug, addPort],
        [unplug, plug, removePort, addPort],
      ][round % 4];
      for (const step of steps ?? []) await step();
      await network.sync();
      current = next;
      for (const vm of [vm1, vm2]) await vm.forgetNeighbours();
      const [from, to] = round % 2 === 0 ? [vm1, vm2] : [vm2, vm1];
      const { received } = await from.ping(to.address);
      if (received !== 1) failures.push(`round ${round}, from ${from.name}`);
      t.is(await central.nbctl('get', 'Logical_Switch_Port', next, 'up'), 'true', `round ${round}`);
    }
    t.deepEqual(failures, []);
  },
);

test.serial(
  '--wait=hv returns with ports that nobody has plugged in, and with what is not supported',
  async (t) => {
    const network = await Network.open(t);
    await t.notThrowsAsync(
      network.central.nbctl(
        '--wait=hv',
        'ls-add',
        'sw0',
        '--',
        'lsp-add',
        'sw0',
        'nowhere',
        '--',
        'lr-add',
        'lr0',
      ),
    );
  },
);

test.serial('--wait=hv waits for a hypervisor that is stopped, and goes on with it', async (t) => {
  const { network } = await openPair(t);
  network.hypervisor.agent.signal('SIGSTOP');
  const error = await t.throwsAsync(network.central.nbctl('--timeout=2', '--wait=hv', 'sync'));
  t.regex(error.message, /ovn-nbctl/);
  network.hypervisor.agent.signal('SIGCONT');
  await t.notThrowsAsync(network.sync());
});
