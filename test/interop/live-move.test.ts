import test from 'ava';

import { NodeAgent } from '../../testbed/node-agent.js';
import { fillInChecksums } from '../../testbed/vanilla-hypervisor.js';
import type { VmHost } from '../../testbed/vm-host.js';
import { waitFor } from '../../testbed/wait.js';
import { Network } from '../support/network.js';
import { NumberedStream } from '../support/numbered-stream.js';
import { addVanilla, plugMovableVm } from '../support/vanilla.js';

//   vm1 ── hv1 (ours) ────┐
//   vm3 ── hv4 (vanilla) ─┤
//                         ├─ underlay
//   vm2 ┬─ hv2 (vanilla) ─┤
//       └─ hv3 (ours) ────┘

/** TCP repeats what was lost after 0.2, 0.6, 1.4, 3 s …: a machine that is slow for a moment costs one step more. */
const longestGapMs = 10_000;

async function chassisOf(network: Network, port: string): Promise<string> {
  const chassis = await network.central.sbctl(
    ...['--bare', '--columns=chassis', 'find', 'Port_Binding', `logical_port=${port}`],
  );
  return chassis === '' ? '' : network.central.sbctl('get', 'Chassis', chassis, 'name');
}

async function isOn(network: Network, port: string, { name }: Pick<VmHost, 'name'>): Promise<void> {
  await waitFor(
    `${port} is on ${name}`,
    async () => (await chassisOf(network, port)).replaceAll('"', '') === name,
  );
  await network.waitUp(port);
}

test.serial('TCP goes on while its VM moves from a vanilla hypervisor to ours and back', async (t) => {
  const network = await Network.open(t);
  const [hv2, hv4] = await Promise.all([addVanilla(network, 2), addVanilla(network, 4)]);
  const hv3 = await network.addHypervisor(3);
  for (const { namespace } of [network.hypervisor, hv3]) await fillInChecksums(namespace, 'eth0');
  const vm1 = await plugMovableVm(network, 1, network.hypervisor);
  const vm2 = await plugMovableVm(network, 2, hv2);
  const vm3 = await plugMovableVm(network, 3, hv4);
  await network.sync();
  for (const vm of [vm1, vm3]) await vm.canReach(vm2.address);
  const streams = [
    await NumberedStream.start(network.bed, vm1, vm2, 7001),
    await NumberedStream.start(network.bed, vm3, vm2, 7002),
  ];
  for (const hypervisor of [hv3, hv2]) {
    const move = vm2.moveTo(hypervisor).then(() => isOn(network, vm2.name, hypervisor));
    const gaps = await Promise.all(streams.map((stream) => stream.longestGapMs(() => move)));
    t.log(`to ${hypervisor.name}: gaps of ${gaps.map((gap) => gap.toFixed(0)).join(' and ')} ms`);
    t.true(Math.max(...gaps) < longestGapMs);
  }
  for (const stream of streams) t.true(await stream.end());
});

/* README.md, "Move a hypervisor over", command by command. */
test.serial('a vanilla hypervisor becomes ours, and is vanilla again, under a TCP connection', async (t) => {
  const network = await Network.open(t);
  const hv2 = await addVanilla(network, 2);
  for (const { namespace } of [network.hypervisor, hv2]) await fillInChecksums(namespace, 'eth0');
  const vm1 = await plugMovableVm(network, 1, network.hypervisor);
  const vm2 = await plugMovableVm(network, 2, hv2);
  await network.sync();
  await vm1.canReach(vm2.address);
  const chassis = (...columns: readonly string[]): Promise<string> =>
    network.central.sbctl('--bare', `--columns=${columns.join(',')}`, 'find', 'Chassis', 'name=hv2');
  const ofport = (): Promise<string> => hv2.vsctl('get', 'Interface', vm2.tap, 'ofport');
  const before = { uuid: await chassis('_uuid'), ofport: await ofport() };
  const stream = await NumberedStream.start(network.bed, vm1, vm2, 7001);
  const agent = new NodeAgent(network.bed, hv2);

  const there = await stream.longestGapMs(async () => {
    await hv2.stopController('--restart');
    await agent.startAgent();
    await network.sync();
    await hv2.stopSwitch();
  });
  t.log(`to ours: a gap of ${there.toFixed(0)} ms`);
  await network.sync();
  t.deepEqual({ uuid: await chassis('_uuid'), ofport: await ofport() }, before, 'nothing was made anew');
  t.regex(await chassis('external_ids'), /iovn-agent-id/);
  await waitFor('what Open vSwitch could do is no longer told', async () =>
    (await chassis('other_config')).includes('iface-types=internal,system '),
  );
  t.regex(await hv2.vsctl('get', 'Interface', vm2.tap, 'external_ids'), /ovn-installed="?true/);
  await waitFor('the tunnel leaves by the uplink', async () =>
    /hv1 +geneve .* eth0 +1442/.test((await network.controller.iovn('node', 'show', 'hv2')).stdout),
  );

  const back = await stream.longestGapMs(async () => {
    const { status, stderr } = await agent.runAgent(['--decommission']);
    t.is(status, 0, stderr);
    await agent.agent.ended();
    await hv2.start();
  });
  t.log(`back: a gap of ${back.toFixed(0)} ms`);
  await network.sync();
  await isOn(network, vm2.name, hv2);
  t.is(await chassis('external_ids'), '');
  t.is(await ofport(), before.ofport);
  t.is(await hv2.vsctl('--bare', '--columns=error', 'list', 'Interface'), '');
  t.notRegex(await hv2.namespace.ip('link'), /: iovn-/);
  t.true(Math.max(there, back) < longestGapMs);
  t.true(await stream.end());
});
