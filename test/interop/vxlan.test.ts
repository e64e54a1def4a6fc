import test from 'ava';

import { VanillaHypervisor } from '../../testbed/vanilla-hypervisor.js';
import { waitFor } from '../../testbed/wait.js';
import { Network } from '../support/network.js';
import { Capture, transferTcp } from '../support/traffic.js';
import { checksumErrors } from '../support/two-hypervisors.js';

//   vm1 ── hv1 (ours) ─┐
//                      ├─ underlay, VXLAN
//   vm2 ── hv2 (ovn-controller and Open vSwitch's userspace datapath) ─┘

test.serial('ours and vanilla over VXLAN: unicast, ARP, broadcast and TCP both ways', async (t) => {
  const network = await Network.open(t, { encapType: 'vxlan' });
  const { hypervisor: hv1, central } = network;
  const options = { name: 'hv2', index: 2, encapType: 'vxlan' };
  const hv2 = await VanillaHypervisor.create(network.bed, central, options);
  const vm1 = await network.plugVm(1, hv1);
  const vm2 = await network.plugVm(2, hv2);
  // What a NIC does elsewhere: Open vSwitch's userspace datapath reads frames as they are.
  await hv1.namespace.runOk(['ethtool', '-K', 'eth0', 'tx', 'off']);
  await vm2.namespace.runOk(['ethtool', '-K', 'eth0', 'tx', 'off']);
  await vm2.namespace.ip('link', 'set', 'eth0', 'mtu', '1450');
  await network.sync();
  const capture = await Capture.start(network.bed, hv1.namespace, 'eth0', 'udp', 'dst', 'port', '4789');
  await vm1.canReach(vm2.address);
  await vm2.canReach(vm1.address);
  t.is((await vm1.ping(vm2.address, { count: 5 })).received, 5);
  t.is((await vm2.ping(vm1.address, { count: 5 })).received, 5);
  t.true(await transferTcp(vm1, vm2, 1_000_000), 'ours to vanilla');
  t.true(await transferTcp(vm2, vm1, 1_000_000), 'vanilla to ours');
  for (const vm of [vm1, vm2]) t.is(await checksumErrors(vm), 0);

  // Nobody answers for ports that take unknown addresses: questions and answers cross.
  for (const vm of [vm1, vm2]) {
    await central.nbctl('lsp-set-addresses', vm.name, `${vm.mac} ${vm.address}`, 'unknown');
  }
  await network.sync();
  for (const [from, to] of [
    [vm1, vm2],
    [vm2, vm1],
  ] as const) {
    for (const vm of [vm1, vm2]) await vm.forgetNeighbours();
    await from.canReach(to.address);
    const received = await Capture.start(
      network.bed,
      to.namespace,
      'eth0',
      'icmp',
      'and',
      'ether',
      'broadcast',
    );
    await from.namespace.run(['ping', '-n', '-b', '-c', '1', '-W', '1', '10.0.0.255']);
    await waitFor('the broadcast arrives', () => received.frames().length > 0);
    t.is((await received.stop()).length, 1, `a broadcast of ${from.name}`);
  }

  // What both send differs in nothing but addresses, ports, lengths and checksums.
  const frames = (await capture.stop()).map((bytes) => Buffer.from(bytes));
  const pings = [11, 12].map((host) =>
    frames.find((bytes) => bytes.length === 50 + 98 && bytes[29] === host && bytes[47] !== 0x00),
  );
  const fixed = pings.map((bytes) => ({
    versionToTos: bytes?.subarray(14, 16).toString('hex'),
    fragmentToProtocol: bytes?.subarray(20, 24).toString('hex'),
    destinationPort: bytes?.readUInt16BE(36),
    flags: bytes?.subarray(42, 46).toString('hex'),
    hasChecksum: bytes?.readUInt16BE(40) !== 0,
  }));
  t.deepEqual(fixed[0], fixed[1]);
});
