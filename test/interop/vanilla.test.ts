import test, { type ExecutionContext } from 'ava';

import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import { fillInChecksums } from '../../testbed/vanilla-hypervisor.js';
import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { readTunnelFields } from '../support/geneve.js';
import { Network } from '../support/network.js';
import { Capture, transferTcp } from '../support/traffic.js';
import { addVanilla, plugMovableVm, portKey } from '../support/vanilla.js';

//   vm1 ── hv1 (ours) ─┐
//                      ├─ underlay
//   vm2 ── hv2 (ovn-controller and Open vSwitch's userspace datapath) ─┘

interface Mixed {
  readonly network: Network;
  readonly vm1: Vm;
  readonly vm2: Vm;
}

async function openMixed(t: ExecutionContext): Promise<Mixed> {
  const network = await Network.open(t);
  const hv2 = await addVanilla(network, 2);
  await fillInChecksums(network.hypervisor.namespace, 'eth0');
  const vm1 = await network.plugVm(1, network.hypervisor);
  const vm2 = await plugMovableVm(network, 2, hv2);
  await network.sync();
  await vm1.canReach(vm2.address);
  await vm2.canReach(vm1.address);
  return { network, vm1, vm2 };
}

test.serial('ours and vanilla: unicast, ARP, port security on both ends, TCP', async (t) => {
  const { network, vm1, vm2 } = await openMixed(t);
  t.is((await vm1.ping(vm2.address, { count: 5 })).received, 5);
  t.is((await vm2.ping(vm1.address, { count: 5 })).received, 5);

  t.true(await transferTcp(vm1, vm2, 2_000_000), 'ours to vanilla');
  t.true(await transferTcp(vm2, vm1, 2_000_000), 'vanilla to ours');
  for (const vm of [vm1, vm2]) {
    const [, values = ''] = (await vm.namespace.runOk(['cat', '/proc/net/snmp']))
      .split('\n')
      .filter((line) => line.startsWith('Tcp:'));
    t.is(values.split(' ').at(-1), '0', 'InCsumErrors');
  }

  // Nobody answers for ports that take unknown addresses: questions and answers cross.
  for (const vm of [vm1, vm2]) {
    await network.central.nbctl('lsp-set-addresses', vm.name, `${vm.mac} ${vm.address}`, 'unknown');
  }
  await network.sync();
  for (const [from, to] of [
    [vm1, vm2],
    [vm2, vm1],
  ] as const) {
    for (const vm of [vm1, vm2]) await vm.namespace.ip('neigh', 'flush', 'dev', 'eth0');
    await from.canReach(to.address);
  }

  // The sender's node refuses a foreign source, the receiver's node a foreign destination.
  for (const [vm, other] of [
    [vm1, vm2],
    [vm2, vm1],
  ] as const) {
    const own = `${vm.mac} ${vm.address}`;
    await network.central.nbctl('lsp-set-port-security', vm.name, `${vm.mac} 10.0.0.99`);
    await network.sync();
    t.is((await vm.ping(other.address)).received, 0, `${vm.name} sends from a foreign address`);
    t.is((await other.ping(vm.address)).received, 0, `${vm.name} is sent what is not for it`);
    await network.central.nbctl('lsp-set-port-security', vm.name, own);
    await network.sync();
    await vm.canReach(other.address);
  }
  const samples = parseMetrics((await network.hypervisor.get('/metrics')).body);
  const without = 'iovn_agent_dropped_packets_without_port_total';
  t.is(
    sumOf(samples, without, { reason: 'tunnel_option' }) +
      sumOf(samples, without, { reason: 'tunnel_malformed' }),
    0,
  );
});

test.serial('what crosses is the same on the wire, field by field', async (t) => {
  const { network, vm1, vm2 } = await openMixed(t);
  const { namespace } = network.hypervisor;
  const ours = await Capture.start(
    network.bed,
    namespace,
    'eth0',
    'udp',
    'port',
    '6081',
    'and',
    'src',
    '192.0.2.11',
  );
  const theirs = await Capture.start(
    network.bed,
    namespace,
    'eth0',
    'udp',
    'port',
    '6081',
    'and',
    'src',
    '192.0.2.12',
  );
  // ECT(1) and a DSCP: the one is copied to the outer header, the other is not.
  for (const [from, to] of [
    [vm1, vm2],
    [vm2, vm1],
  ] as const) {
    await from.namespace.runOk(['ping', '-n', '-Q', '0x49', '-c', '1', '-W', '2', to.address]);
    await from.namespace.run(['ping', '-n', '-c', '1', '-W', '1', '10.0.0.200']);
  }
  const isPing = (frame: Uint8Array): boolean => frame.length === 58 + 98;
  const isQuestion = (frame: Uint8Array): boolean => frame.length === 58 + 42;
  await waitFor('both are seen', () => [ours, theirs].every((each) => each.frames().some(isQuestion)));
  const [sent, received] = [await ours.stop(), await theirs.stop()];
  const keys = { vm1: await portKey(network, 'vm1'), vm2: await portKey(network, 'vm2') };
  for (const [is, to] of [
    [isPing, keys.vm2],
    [isQuestion, 0x8000],
  ] as const) {
    const [a, b] = [sent.find(is), received.find(is)];
    if (a === undefined || b === undefined) throw new Error('nothing captured');
    const [own, foreign] = [readTunnelFields(a), readTunnelFields(b)];
    t.is(own.from, keys.vm1);
    t.is(own.to, to);
    t.is(foreign.from, keys.vm2);
    t.deepEqual({ ...own, from: 0, to: 0 }, { ...foreign, from: 0, to: 0 });
    t.is(
      Buffer.from(a).readUInt16BE(40),
      0,
      'the outer checksum is the one difference: see docs/data-plane.md',
    );
  }
});
