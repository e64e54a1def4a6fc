import test, { type ExecutionContext } from 'ava';

import { sendFrames } from '../../testbed/frames.js';
import { PhysicalNetwork } from '../../testbed/physical-network.js';
import { fillInChecksums } from '../../testbed/vanilla-hypervisor.js';
import { Vm } from '../../testbed/vm.js';
import type { VmHost } from '../../testbed/vm-host.js';
import { waitFor } from '../../testbed/wait.js';
import { Network } from '../support/network.js';
import { arp, broadcast, ethernet, icmp, ipv4, raw, tagged } from '../support/packets.js';
import { Capture } from '../support/traffic.js';
import { addVanilla } from '../support/vanilla.js';

//   vm1 (sw0), vm3 (sw1, tag 100) ── hv1 (ours) ──── eth1 ─┐
//   vm2 (sw0), vm4 (sw1, tag 100) ── hv2 (vanilla) ─ eth1 ─┼─ physical network
//                                      outside host ─ eth0 ─┘   (and an underlay on eth0 for tunnels)

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

async function openProvider(t: ExecutionContext) {
  const network = await Network.open(t);
  const { bed, central, hypervisor: hv1 } = network;
  const lan = await PhysicalNetwork.create(bed);
  const hv2 = await addVanilla(network, 2);
  for (const { namespace } of [hv1, hv2]) {
    await lan.connect(namespace, 'eth1');
    await fillInChecksums(namespace, 'eth1');
  }
  const outside = await lan.addHost('outside', '10.0.0.200/24');
  await fillInChecksums(outside.namespace, 'eth0');
  const mapping = ['set', 'Open_vSwitch', '.', 'external_ids:ovn-bridge-mappings=physnet1:br-ex'];
  await hv1.vsctl('add-br', 'br-ex', '--', 'add-port', 'br-ex', 'eth1', '--', ...mapping);
  const netdev = ['set', 'Bridge', 'br-ex', 'datapath_type=netdev'];
  await hv2.vsctl('add-br', 'br-ex', '--', ...netdev, '--', 'add-port', 'br-ex', 'eth1', '--', ...mapping);
  for (const [name, number, tag] of [
    ['sw0', 0, []],
    ['sw1', 1, ['--', 'set', 'Logical_Switch_Port', 'ln1', 'tag_request=100']],
  ] as const) {
    const localnet = `ln${number}`;
    await central.nbctl(
      ...['ls-add', name, '--', 'lsp-add', name, localnet, '--', 'lsp-set-type', localnet, 'localnet'],
      ...['--', 'lsp-set-addresses', localnet, 'unknown', ...tag],
      ...['--', 'lsp-set-options', localnet, 'network_name=physnet1'],
    );
  }
  const wire = await Capture.start(bed, outside.namespace, 'eth0');
  const plug = async (number: number, hypervisor: VmHost, name: string): Promise<Vm> => {
    const vm = await network.createVm(number, hypervisor);
    await fillInChecksums(vm.namespace, 'eth0');
    const addresses = `${vm.mac} ${vm.address}`;
    await central.nbctl('lsp-add', name, vm.name, '--', 'lsp-set-addresses', vm.name, addresses);
    await hypervisor.plug(vm.tap, vm.name);
    return vm;
  };
  const vms = [
    await plug(1, hv1, 'sw0'),
    await plug(2, hv2, 'sw0'),
    await plug(3, hv1, 'sw1'),
    await plug(4, hv2, 'sw1'),
  ] as const;
  await network.sync();
  return { network, hv1, hv2, outside, wire, vms };
}

const settleMs = 500;

/** How many of the frames that the filter selects come in at each place because of `action`; waits for as many as are expected. */
async function copies(
  network: Network,
  places: readonly Pick<Vm, 'namespace'>[],
  expected: readonly number[],
  filter: readonly string[],
  action: () => Promise<unknown>,
): Promise<readonly number[]> {
  const captures = await Promise.all(
    places.map(({ namespace }) => Capture.start(network.bed, namespace, 'eth0', '-Q', 'in', ...filter)),
  );
  await action();
  const all = (): boolean =>
    captures.every((capture, index) => capture.frames().length >= (expected[index] ?? 0));
  await waitFor('what is expected', all).catch(() => undefined);
  // Time for what is not.
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  return Promise.all(captures.map(async (capture) => (await capture.stop()).length));
}

test.serial('ours and vanilla on one physical network, untagged and tagged', async (t) => {
  const { network, hv1, hv2, outside, wire, vms } = await openProvider(t);
  const [vm1, vm2, vm3, vm4] = vms;
  const sentBy = ({ mac: source }: Pick<Vm, 'mac'>): readonly string[] =>
    wire
      .frames()
      .filter((frame) => hex(frame.subarray(6, 12)) === source.replaceAll(':', ''))
      .map(hex);
  const tunnelled = await Capture.start(network.bed, hv1.namespace, 'eth0', 'udp', 'port', '6081');

  // Both kinds announce a port that has come to them, with the same frames but for its own addresses.
  const announcement = ({ mac: source, address }: Vm): Uint8Array =>
    ethernet(
      { source, destination: broadcast },
      arp({ operation: 'request', senderMac: source, senderIp: address, targetIp: address }),
    );
  for (const vm of vms) {
    const plain = announcement(vm);
    const expected = hex(vm === vm3 || vm === vm4 ? tagged(plain, { tci: 100 }) : plain);
    await waitFor(`${vm.name} is announced`, () => sentBy(vm).includes(expected), { timeoutMs: 20_000 });
  }

  // Each way, with ARP.
  for (const [from, to] of [
    [vm1, vm2],
    [vm2, vm1],
    [vm3, vm4],
    [vm4, vm3],
    [vm1, outside],
    [vm2, outside],
  ] as const) {
    await from.forgetNeighbours();
    await from.canReach(to.address);
    t.is((await from.ping(to.address, { count: 3 })).received, 3, `${from.name} → ${to.name}`);
  }
  for (const vm of [vm1, vm2]) {
    await outside.namespace.ip('neigh', 'flush', 'all');
    const ping = ['ping', '-n', '-c', '2', '-W', '2', vm.address];
    t.regex((await outside.namespace.run(ping)).stdout, / 2 received, (?!.*dup)/, `outside → ${vm.name}`);
  }
  t.is((await vm1.ping(vm4.address)).received, 0, 'a tag is another network');

  // One copy for everybody on the same network, and none for anybody else or back.
  const everybody = [vm1, vm2, vm3, vm4, outside];
  const note = raw(0x88b5, new Uint8Array(46));
  for (const [from, expected] of [
    [vm1, [0, 1, 0, 0, 1]],
    [vm2, [1, 0, 0, 0, 1]],
    [vm3, [0, 0, 0, 1, 1]],
    [vm4, [0, 0, 1, 0, 1]],
    [outside, [1, 1, 0, 0, 0]],
  ] as const) {
    const frame = ethernet({ source: from.mac, destination: broadcast }, note);
    const filter = ['ether', 'src', from.mac, 'and', '(ether[12:2]=0x88b5 or ether[16:2]=0x88b5)'];
    const seen = await copies(network, everybody, expected, filter, () =>
      sendFrames(from.namespace, 'eth0', [frame]),
    );
    t.deepEqual(seen, expected, `from ${from.name}`);
  }

  // Byte by byte what vanilla makes of the same: to one, to a MAC that nobody has, short frames, with and without the tag.
  const unheard = '02:00:00:00:00:99';
  for (const [ours, theirs] of [
    [vm1, vm2],
    [vm3, vm4],
  ] as const) {
    const sent = ({ mac: source }: Vm): readonly Uint8Array[] => [
      ethernet({ source, destination: unheard }, raw(0x88b6, new Uint8Array(20))),
      ethernet(
        { source, destination: unheard },
        ipv4({ source: '10.0.0.77', destination: '10.0.0.78' }, icmp()),
      ),
      ethernet({ source, destination: '01:00:5e:00:00:fb' }, raw(0x88b6, new Uint8Array(300))),
    ];
    for (const vm of [ours, theirs]) await sendFrames(vm.namespace, 'eth0', sent(vm));
    const seen = (vm: Vm): readonly string[] =>
      sentBy(vm)
        .filter((frame) => frame.startsWith('020000000099') || frame.startsWith('01005e0000fb'))
        .map((frame) => frame.replace(vm.mac.replaceAll(':', ''), 'source'));
    await waitFor('all are outside', () => [ours, theirs].every((vm) => seen(vm).length >= 3));
    t.deepEqual(seen(ours), seen(theirs));
    t.is(seen(ours).length, 3);
  }

  // From outside into VLAN 100: to one and to all, whatever its priority; another VLAN and none are not theirs.
  const foreign = '02:00:00:00:00:fe';
  const into = (destination: string, tci?: number): Uint8Array => {
    const frame = ethernet({ source: foreign, destination }, note);
    return tci === undefined ? frame : tagged(frame, { tci });
  };
  const expected = [0, 0, 4, 4];
  const received = await copies(network, vms, expected, ['ether', 'src', foreign], async () => {
    const targets = [vm3.mac, vm4.mac, broadcast];
    const frames = targets.flatMap((to) => [into(to, 100), into(to, 0xe064), into(to, 101)]);
    await sendFrames(outside.namespace, 'eth0', [...frames, into(vm3.mac), into(vm4.mac)]);
  });
  t.deepEqual(received, expected);

  // A VM moves from the one kind to the other and back, and says nothing: the physical network follows all the same.
  const reach = ['ping', '-n', '-c', '1', '-W', '1', vm1.address];
  for (const hypervisor of [hv2, hv1]) {
    await outside.namespace.ip(
      ...['neigh', 'replace', vm1.address, 'lladdr', vm1.mac, 'dev', 'eth0', 'nud', 'permanent'],
    );
    await vm1.moveTo(hypervisor);
    await network.sync();
    const answered = async (): Promise<boolean> => (await outside.namespace.run(reach)).status === 0;
    await waitFor(`vm1 is reached on ${hypervisor.name}`, answered, { timeoutMs: 20_000 });
  }
  t.is((await tunnelled.stop()).length, 0, 'nothing goes by a tunnel');

  // Plugged in on both, wherever first: one has it, and keeps it. Ours gives way, and gets it when it is free again.
  const twin = await Vm.create(network.bed, hv2, { name: 'vm1b', mac: vm1.mac, ip: `${vm1.address}/24` });
  const holder = async (): Promise<string> => {
    const find = ['--bare', '--columns=chassis', 'find', 'Port_Binding', 'logical_port=vm1'];
    const uuid = await network.central.sbctl(...find);
    return uuid === '' ? '' : network.central.sbctl('get', 'Chassis', uuid, 'name');
  };
  const refusal = async (): Promise<string> =>
    (await network.controller.iovn('ports')).stdout.split('\n').find((line) => line.startsWith('vm1 ')) ?? '';
  for (const last of [hv2, hv1]) {
    if (last === hv1) await hv1.unplug(vm1.tap);
    else await hv2.plug(twin.tap, 'vm1');
    await waitFor('hv2 has it', async () => (await holder()) === 'hv2');
    if (last === hv1) await hv1.plug(vm1.tap, 'vm1');
    await waitFor('it is said', async () => (await refusal()).includes('bound to chassis hv2'));
    const seen = new Set<string>();
    for (let looks = 0; looks < 10; looks++) seen.add(await holder());
    t.deepEqual([...seen], ['hv2'], 'nobody fights');
  }
  await hv2.unplug(twin.tap);
  await waitFor('hv1 has it again', async () => (await holder()) === 'hv1');
  await network.waitUp('vm1');
});
