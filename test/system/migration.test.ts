import test, { type ExecutionContext } from 'ava';

import { sendFrames } from '../../testbed/frames.js';
import type { Hypervisor } from '../../testbed/hypervisor.js';
import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { Network } from '../support/network.js';
import { broadcast, ethernet, raw } from '../support/packets.js';
import { Capture } from '../support/traffic.js';

//   vm1 (source), vm2 ── hv1 ─┐
//                             ├─ underlay
//   vm1 (target), vm3 ── hv2 ─┘

/** What QEMU sends from where a VM goes on running. */
function rarpOf({ mac }: Vm): Uint8Array {
  const address = Buffer.from(mac.replaceAll(':', ''), 'hex');
  const body = [0, 1, 8, 0, 6, 4, 0, 3, ...address, 0, 0, 0, 0, ...address, 0, 0, 0, 0];
  return ethernet({ source: mac, destination: broadcast }, raw(0x8035, Uint8Array.from(body)));
}

async function drops(hypervisor: Hypervisor, reason: string): Promise<number> {
  const samples = parseMetrics((await hypervisor.get('/metrics')).body);
  return sumOf(samples, 'iovn_agent_port_dropped_packets_total', { reason });
}

/** vm1 runs on hv1; on hv2 there is its tap, and a machine behind it that acts as vm1 will after the migration. */
async function openMigration(t: ExecutionContext, ...options: readonly string[]) {
  const network = await Network.open(t);
  const { central, bed, hypervisor: hv1 } = network;
  const hv2 = await network.addHypervisor(2);
  const source = await network.plugVm(1, hv1, { portSecurity: false });
  const vm2 = await network.plugVm(2, hv1, { portSecurity: false });
  const vm3 = await network.plugVm(3, hv2, { portSecurity: false });
  await network.sync();
  await central.nbctl('lsp-set-options', 'vm1', 'requested-chassis=hv1,hv2', ...options);
  const target = await Vm.create(bed, hv2, { name: 'vm1b', mac: source.mac, ip: `${source.address}/24` });
  await hv2.plug(target.tap, 'vm1');
  await network.sync();
  const column = (name: string) => central.sbctl('get', 'Port_Binding', 'vm1', name);
  /** Names of the main and the additional chassis, as SB has them. */
  const chassis = async (name: 'chassis' | 'additional_chassis'): Promise<string> => {
    const [uuid = ''] = /[0-9a-f-]{36}/.exec(await column(name)) ?? [];
    return uuid === '' ? '' : central.sbctl('get', 'Chassis', uuid, 'name');
  };
  return { network, central, hv1, hv2, source, target, vm2, vm3, column, chassis };
}

test.serial(
  'a VM moves: its target is blocked until it sends a RARP, and the port is up all the while',
  async (t) => {
    const { network, central, hv1, hv2, source, target, vm2, vm3, column, chassis } = await openMigration(
      t,
      'activation-strategy=rarp',
    );
    t.deepEqual([await chassis('chassis'), await chassis('additional_chassis')], ['hv1', 'hv2']);
    t.is(await column('up'), 'true');
    t.regex(await hv2.interfaceColumn(target.tap, 'external_ids:ovn-installed'), /true/);
    t.regex(
      (await network.controller.iovn('ports')).stdout,
      /vm1 .*hv1, hv2 \(additional, waits for activation\)/,
    );
    t.regex((await network.controller.iovn('node', 'show', 'hv2')).stdout, /tap-vm1b .*waits for activation/);

    // The source goes on as ever; nothing of the target gets out, nothing gets in.
    const running = vm2.startPing(source.address, 20);
    await running.more(10);
    t.is((await target.ping(vm3.address)).received, 0);
    t.true((await drops(hv2, 'awaits_activation')) > 0);
    await vm3.namespace.run(['ping', '-n', '-b', '-c', '1', '-W', '1', '10.0.0.255']);
    t.true((await drops(hv2, 'egress_awaits_activation')) > 0);
    await vm3.canReach(source.address);
    await hv2.agent.kill();
    await hv2.startAgent();
    await network.sync();
    t.is((await target.ping(vm3.address)).received, 0, 'an agent that starts anew blocks it, too');
    await running.more(10);
    const { sent, received } = await running.stop();
    t.is(received, sent);

    // It runs on hv2 now.
    await source.namespace.ip('link', 'set', 'eth0', 'down');
    const heard = await Promise.all(
      [vm2, vm3].map((vm) => Capture.start(network.bed, vm.namespace, 'eth0', 'ether', 'proto', '0x8035')),
    );
    await target.forgetNeighbours();
    await sendFrames(target.namespace, 'eth0', [rarpOf(source)]);
    t.is((await target.ping(vm3.address)).received, 1, 'at once');
    for (const capture of heard) await waitFor('the RARP is heard', () => capture.frames().length > 0);
    for (const capture of heard) t.is((await capture.stop()).length, 1);
    await waitFor('it is noted', async () =>
      (await column('options')).includes('additional-chassis-activated=hv2'),
    );
    await waitFor('it is shown', async () =>
      (await network.controller.iovn('ports')).stdout.includes('hv2 (additional)'),
    );

    await vm2.canReach(source.address);
    t.is((await vm3.ping(source.address)).received, 1);

    // The migration is over.
    await central.nbctl('lsp-set-options', 'vm1', 'requested-chassis=hv2', 'activation-strategy=rarp');
    await network.sync();
    t.deepEqual([await chassis('chassis'), await chassis('additional_chassis')], ['hv2', '']);
    t.is(await column('up'), 'true');
    t.false((await column('options')).includes('activated'));
    await vm2.canReach(source.address);
    t.is((await target.ping(vm2.address)).received, 1);
    t.notRegex(await hv1.vsctl('get', 'Interface', source.tap, 'external_ids'), /ovn-installed/);
    await hv1.unplug(source.tap);
    await network.sync();
    t.is(await column('up'), 'true');
  },
);

test.serial(
  'without a controller the target is unblocked all the same, and stays so over a restart',
  async (t) => {
    const { network, hv2, source, target, vm3, column } = await openMigration(t, 'activation-strategy=rarp');
    await network.controller.daemon.kill();
    t.is((await target.ping(vm3.address)).received, 0);
    await target.forgetNeighbours();
    await sendFrames(target.namespace, 'eth0', [rarpOf(source)]);
    t.is((await target.ping(vm3.address)).received, 1);
    const running = vm3.startPing(target.address, 20);
    await running.more(5);
    await hv2.agent.kill();
    hv2.agent.start();
    await waitFor('the agent has its intent', async () => {
      const samples = parseMetrics((await hv2.get('/metrics')).body);
      return sumOf(samples, 'iovn_agent_ports', {}) > 0;
    });
    await running.more(20);
    const { sent, received } = await running.stop();
    t.is(received, sent);
    t.false((await column('options')).includes('activated'));
    await network.controller.start();
    await waitFor('it is noted', async () =>
      (await column('options')).includes('additional-chassis-activated=hv2'),
    );
  },
);

test.serial(
  'without a strategy both serve the port at once; a migration that is given up leaves it at the source',
  async (t) => {
    const { network, central, hv1, hv2, source, target, vm2, vm3, chassis } = await openMigration(t);
    t.is((await vm2.ping(source.address)).received, 1);
    t.is((await target.ping(vm3.address)).received, 1);
    await central.nbctl('lsp-set-options', 'vm1', 'requested-chassis=hv1');
    await network.sync();
    t.deepEqual([await chassis('chassis'), await chassis('additional_chassis')], ['hv1', '']);
    t.is((await target.ping(vm3.address)).received, 0);
    await target.namespace.ip('link', 'set', 'eth0', 'down');
    await vm3.canReach(source.address);

    // Nobody is asked for any more: it stays, whoever plugs last has it, and the other gets it when it is free.
    await central.nbctl('lsp-set-options', 'vm1');
    await network.sync();
    t.is(await chassis('chassis'), 'hv1');
    await hv2.unplug(target.tap);
    await hv2.plug(target.tap, 'vm1');
    await network.sync();
    t.is(await chassis('chassis'), 'hv2');
    t.regex(
      (await network.controller.iovn('ports')).stdout,
      /tap-vm1 on hv1: bound to tap-vm1b on hv2, plugged later/,
    );
    await hv2.unplug(target.tap);
    await waitFor('hv1 has it again', async () => (await chassis('chassis')) === 'hv1');
    await hv1.agentHealthy();
  },
);
