import test from 'ava';

import { waitFor } from '../../testbed/wait.js';
import { openPair } from '../support/network.js';

test.serial('kill -9 of the agent and its restart lose no packet', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const ping = vm1.startPing(vm2.address, 20);
  await ping.more(20);
  await network.hypervisor.agent.kill();
  await ping.more(50);
  await network.hypervisor.startAgent();
  await network.sync();
  await ping.more(50);
  const { sent, received } = await ping.stop();
  t.is(received, sent);
  await network.waitUp('vm2');
});

test.serial(
  'kill -9 of the controller and its restart lose no packet, and it takes up where it was',
  async (t) => {
    const { network, vm1, vm2 } = await openPair(t);
    const ping = vm1.startPing(vm2.address, 20);
    await ping.more(20);
    await network.controller.daemon.kill();
    await ping.more(50);
    await network.controller.start();
    await network.hypervisor.agentHealthy();
    const vm3 = await network.createVm(3);
    await network.addPort(vm3);
    await network.hypervisor.plug(vm3.tap, 'vm3');
    await network.sync();
    t.is((await vm3.ping(vm1.address)).received, 1);
    const { sent, received } = await ping.stop();
    t.is(received, sent);
  },
);

test.serial('northd and both databases may restart', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const { central } = network;
  const ping = vm1.startPing(vm2.address, 20);
  await ping.more(10);
  await Promise.all([central.northd.kill(), central.northbound.kill(), central.southbound.kill()]);
  await ping.more(20);
  await central.start();
  await network.controller.start().catch(() => undefined);
  await central.nbctl('--wait=hv', 'lsp-set-enabled', 'vm2', 'disabled');
  t.is((await vm1.ping(vm2.address)).received, 0, 'changes arrive again');
  await ping.stop();
});

test.serial(
  'without a controller a restarted agent works from its cache, re-plugged taps included',
  async (t) => {
    const { network, vm1, vm2 } = await openPair(t);
    await network.controller.daemon.kill();
    await network.hypervisor.agent.kill();
    network.hypervisor.agent.start();
    await network.hypervisor.unplug(vm2.tap);
    await vm2.deleteTap();
    await vm2.createTap();
    await network.hypervisor.plug(vm2.tap, 'vm2');
    await t.notThrowsAsync(vm1.canReach(vm2.address));
  },
);

test.serial('SIGTERM ends both daemons within 2 s; traffic goes on, and no row goes away', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  for (const daemon of [network.hypervisor.agent, network.controller.daemon]) {
    const startMs = performance.now();
    daemon.signal('SIGTERM');
    await daemon.ended(5000);
    const elapsedMs = performance.now() - startMs;
    t.true(elapsedMs < 2000, `${daemon.name} took ${elapsedMs} ms`);
    t.is(daemon.exitStatus, 0, daemon.name);
  }
  t.like(await vm1.ping(vm2.address, { count: 5, intervalMs: 20 }), { received: 5 });
  t.is(await network.central.sbctl('--bare', '--columns=name', 'list', 'Chassis'), 'hv1');
  t.is(await network.central.nbctl('get', 'Logical_Switch_Port', 'vm2', 'up'), 'true');
});

test.serial('SIGTERM ends them within 2 s also while nothing answers them', async (t) => {
  const { network } = await openPair(t);
  const { central, controller, hypervisor } = network;
  for (const daemon of [central.northbound, central.southbound, hypervisor.ovsdb]) daemon.signal('SIGSTOP');
  for (const daemon of [hypervisor.agent, controller.daemon]) {
    daemon.signal('SIGTERM');
    await t.notThrowsAsync(daemon.ended(2000), daemon.name);
  }
  for (const daemon of [central.northbound, central.southbound, hypervisor.ovsdb]) daemon.signal('SIGCONT');
});

test.serial('a filter that somebody removes is put back', async (t) => {
  const { network, vm1, vm2 } = await openPair(t, { agentArgs: ['--attach', 'clsact'] });
  const { hypervisor } = network;
  t.is((await vm1.ping(vm2.address)).received, 1);
  await hypervisor.namespace.runOk(['tc', 'qdisc', 'del', 'dev', vm1.tap, 'clsact']);
  await t.notThrowsAsync(vm1.canReach(vm2.address, 20_000));
  await t.notThrowsAsync(
    waitFor('the repair is counted', async () =>
      /iovn_agent_drift_repaired_total [1-9]/.test((await hypervisor.get('/metrics')).body),
    ),
  );
});
