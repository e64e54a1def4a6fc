import test, { type ExecutionContext } from 'ava';

import { type Mac, macBytes } from '../../common/addresses.js';
import { Capture as FrameCapture, sendFrames } from '../../testbed/frames.js';
import type { Hypervisor } from '../../testbed/hypervisor.js';
import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import { type OutsideHost, PhysicalNetwork } from '../../testbed/physical-network.js';
import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { Network } from '../support/network.js';
import { ethernet, icmp, ipv4, tagged } from '../support/packets.js';
import { Capture } from '../support/traffic.js';

//   vm1 ── hv1 ─ eth1 ─┐
//   vm3 ─┘             ├─ physical network ── outside host
//   vm2 ── hv2 ─ eth1 ─┘   (and an underlay on eth0 for tunnels)

interface Provider {
  readonly network: Network;
  readonly lan: PhysicalNetwork;
  readonly hv1: Hypervisor;
  readonly hv2: Hypervisor;
  readonly vm1: Vm;
  readonly vm2: Vm;
  readonly vm3: Vm;
  readonly outside: OutsideHost;
}

function mapTo(hypervisor: Hypervisor, mappings: string): Promise<string> {
  return hypervisor.vsctl('set', 'Open_vSwitch', '.', `external_ids:ovn-bridge-mappings=${mappings}`);
}

async function addLocalnet(network: Network, options: readonly string[], tag?: number): Promise<void> {
  await network.central.nbctl(
    ...['lsp-add', 'sw0', 'ln0', '--', 'lsp-set-type', 'ln0', 'localnet'],
    ...['--', 'lsp-set-addresses', 'ln0', 'unknown', '--', 'lsp-set-options', 'ln0', ...options],
    ...(tag === undefined ? [] : ['--', 'set', 'Logical_Switch_Port', 'ln0', `tag_request=${tag}`]),
  );
}

async function openProvider(
  t: ExecutionContext,
  { vlan, ethtype = '802.1Q' }: { readonly vlan?: number; readonly ethtype?: string } = {},
): Promise<Provider> {
  const network = await Network.open(t);
  const lan = await PhysicalNetwork.create(network.bed);
  const hv1 = network.hypervisor;
  const hv2 = await network.addHypervisor(2);
  for (const hypervisor of [hv1, hv2]) {
    await lan.connect(hypervisor.namespace, 'eth1');
    await hypervisor.vsctl('add-br', 'br-ex', '--', 'add-port', 'br-ex', 'eth1');
    await mapTo(hypervisor, 'physnet1:br-ex');
  }
  const outside = await lan.addHost('outside', '10.0.0.200/24');
  const vm1 = await network.plugVm(1, hv1);
  const vm2 = await network.plugVm(2, hv2);
  const vm3 = await network.plugVm(3, hv1);
  await addLocalnet(network, ['network_name=physnet1', `ethtype=${ethtype}`], vlan);
  await network.sync();
  return { network, lan, hv1, hv2, vm1, vm2, vm3, outside };
}

async function hasOnlyAnswers(t: ExecutionContext, vm: Vm, address: string): Promise<void> {
  t.is((await vm.ping(address, { count: 5 })).received, 5, `${vm.name} → ${address}`);
}

async function pingFrom(host: OutsideHost, address: string): Promise<boolean> {
  return (await host.namespace.run(['ping', '-n', '-c', '3', '-W', '1', address])).status === 0;
}

test.serial('VMs of two hypervisors and the world outside reach each other', async (t) => {
  const { vm1, vm2, vm3, outside } = await openProvider(t);
  for (const vm of [vm1, vm2, vm3]) await vm.canReach(outside.address);
  await hasOnlyAnswers(t, vm1, outside.address);
  for (const vm of [vm1, vm2, vm3]) {
    await outside.namespace.ip('neigh', 'flush', 'all');
    t.true(await pingFrom(outside, vm.address), `outside → ${vm.name}`);
  }
  await vm1.canReach(vm2.address);
  await hasOnlyAnswers(t, vm1, vm2.address);
  await hasOnlyAnswers(t, vm1, vm3.address);
});

// No host of this kernel has VLANs: the one outside sends and sees tagged frames as they are.
for (const [ethtype, type] of [
  ['802.1Q', 0x8100],
  ['802.1ad', 0x88a8],
] as const) {
  test.serial(`on a network with ${ethtype} tags`, async (t) => {
    const { network, vm1, vm2, outside } = await openProvider(t, { vlan: 100, ethtype });
    await vm1.canReach(vm2.address);
    await hasOnlyAnswers(t, vm1, vm2.address);
    t.is((await vm1.ping(outside.address)).received, 0, 'what is untagged is another network');

    const far = { mac: '02:00:00:00:00:fe', ip: '10.0.0.254' };
    await vm1.namespace.ip('neigh', 'replace', far.ip, 'lladdr', far.mac, 'dev', 'eth0', 'nud', 'permanent');
    const request = (tci?: number): Uint8Array => {
      const ping = ipv4({ source: far.ip, destination: vm1.address }, icmp());
      const frame = ethernet({ source: far.mac, destination: vm1.mac }, ping);
      return tci === undefined ? frame : tagged(frame, { tci, etherType: type });
    };
    const capture = await FrameCapture.start(network.bed, outside.namespace, 'eth0');
    const requests = [request(), request(101), request(100)];
    await sendFrames(outside.namespace, 'eth0', requests);
    const answers = (): readonly Buffer[] =>
      capture
        .frames()
        .map((bytes) => Buffer.from(bytes))
        .filter((bytes) => bytes.subarray(0, 6).equals(macBytes(far.mac as Mac)));
    await waitFor('the answer is outside', () => answers().length > 0);
    t.deepEqual(
      answers().map((bytes) => bytes.readUInt32BE(12)),
      [type * 2 ** 16 + 100],
    );
  });
}

test.serial(
  'what goes to another hypervisor goes by the physical network, each broadcast once',
  async (t) => {
    const { network, hv1, vm1, vm2, vm3, outside } = await openProvider(t);
    for (const vm of [vm1, vm2, vm3]) await vm.canReach(outside.address);
    await vm1.canReach(vm2.address);
    const { bed } = network;
    const tunnelled = await Capture.start(bed, hv1.namespace, 'eth0', 'udp', 'port', '6081');
    const pings = ['icmp', 'and', 'ether', 'broadcast'];
    const captures = await Promise.all(
      [outside, vm1, vm2, vm3].map(({ namespace }) => Capture.start(bed, namespace, 'eth0', ...pings)),
    );
    const broadcast = ['ping', '-n', '-b', '-c', '1', '-W', '1', '10.0.0.255'];
    await vm1.namespace.run(broadcast);
    await vm2.namespace.run(broadcast);
    await outside.namespace.run(broadcast);
    t.is((await vm1.ping(vm2.address, { count: 3 })).received, 3);
    const seen = async (capture: Capture): Promise<number> => (await capture.stop()).length;
    t.deepEqual(
      await Promise.all(captures.map(seen)),
      [3, 3, 3, 3],
      'its own and two others, at each of them',
    );
    t.is(await seen(tunnelled), 0);
  },
);

//   vm1 (sw0), vm4 (sw1) ── hv1 ─ eth1 ─┐
//   vm2 (sw0), vm5 (sw1) ── hv2 ─ eth1 ─┴─ physical network ── outside host
test.serial('two switches on one physical network are one', async (t) => {
  const { network, hv1, hv2, vm1, vm2, outside } = await openProvider(t);
  const { bed, central } = network;
  const [vm4, vm5] = [await network.createVm(4, hv1), await network.createVm(5, hv2)];
  await central.nbctl(
    ...['ls-add', 'sw1', '--', 'lsp-add', 'sw1', 'ln1', '--', 'lsp-set-type', 'ln1', 'localnet'],
    ...['--', 'lsp-set-addresses', 'ln1', 'unknown', '--', 'lsp-set-options', 'ln1', 'network_name=physnet1'],
  );
  for (const vm of [vm4, vm5]) {
    await central.nbctl(
      ...['lsp-add', 'sw1', vm.name, '--', 'lsp-set-addresses', vm.name, `${vm.mac} ${vm.address}`],
    );
    await vm.hypervisor.plug(vm.tap, vm.name);
  }
  await network.sync();
  const pairs = [
    [vm1, vm4],
    [vm4, vm1],
    [vm1, vm5],
    [vm5, vm1],
    [vm4, vm5],
    [vm4, outside],
    [vm5, outside],
    [vm1, outside],
  ] as const;
  for (const [from, to] of pairs) {
    await from.canReach(to.address);
    await hasOnlyAnswers(t, from, to.address);
  }
  for (const vm of [vm1, vm4]) t.true(await pingFrom(outside, vm.address), `outside → ${vm.name}`);

  const all = [outside, vm1, vm2, vm4, vm5];
  const filter = ['-Q', 'in', 'icmp', 'and', 'ether', 'broadcast'];
  const captures = await Promise.all(
    all.map(({ namespace }) => Capture.start(bed, namespace, 'eth0', ...filter)),
  );
  const senders = [vm1, vm5, outside];
  for (const { namespace } of senders)
    await namespace.run(['ping', '-n', '-b', '-c', '1', '-W', '1', '10.0.0.255']);
  t.deepEqual(
    await Promise.all(captures.map(async (capture) => (await capture.stop()).length)),
    all.map((each) => senders.filter((sender) => sender !== each).length),
    'each broadcast once, but not at its sender',
  );
});

test.serial('the uplink stays the host’s', async (t) => {
  const { lan, hv1, vm1, outside } = await openProvider(t);
  await hv1.namespace.ip('addr', 'add', '10.0.0.11/24', 'dev', 'eth1');
  await vm1.canReach(outside.address);
  await waitFor('the host is reached', () => pingFrom(outside, '10.0.0.11'));
  t.is((await hv1.namespace.run(['ping', '-n', '-c', '1', '-W', '1', outside.address])).status, 0);
  const flags = async (): Promise<string> => hv1.namespace.ip('link', 'show', 'eth1');
  t.regex(await flags(), /PROMISC/);
  await hv1.namespace.ip('link', 'set', 'eth1', 'promisc', 'off');
  await waitFor('it is promiscuous again', async () => (await flags()).includes('PROMISC'));
  t.is((await hv1.runAgent(['--decommission'])).status, 0);
  t.notRegex(await flags(), /PROMISC/);
  t.true(await pingFrom(outside, '10.0.0.11'));
  t.truthy(lan);
});

test.serial('a mapping, a bridge and its uplink may come and go', async (t) => {
  const { network, hv1, vm1, outside } = await openProvider(t);
  await vm1.canReach(outside.address);
  const problem = async (): Promise<string> =>
    (await network.controller.iovn('ports')).stdout.split('\n').find((line) => line.includes('ln0')) ?? '';
  const isCut = async (): Promise<boolean> => (await vm1.ping(outside.address)).received === 0;

  await mapTo(hv1, 'elsewhere:br-ex');
  await waitFor('it is said', async () => (await problem()).includes("network name 'physnet1'"));
  t.true(await isCut());
  await mapTo(hv1, 'physnet1:eth1');
  await vm1.canReach(outside.address);
  await waitFor('nothing is wrong', async () => !(await problem()).includes('physnet1'));

  await mapTo(hv1, 'physnet1:br-new');
  await waitFor('it is said', async () => (await problem()).includes('br-new'));
  await hv1.vsctl('add-br', 'br-new', '--', 'del-port', 'br-ex', 'eth1', '--', 'add-port', 'br-new', 'eth1');
  await vm1.canReach(outside.address);
  await hv1.vsctl('del-port', 'br-new', 'eth1');
  await waitFor('the uplink is gone', isCut);
  t.notRegex(await hv1.namespace.ip('link', 'show', 'eth1'), /PROMISC/);

  await mapTo(hv1, '"physnet1"');
  await waitFor('the syntax is found fault with', () => hv1.agent.log().includes('is not NETWORK:BRIDGE'));
});

test.serial('MACs outside are learnt where the port says so, and a restart changes nothing', async (t) => {
  const { network, hv1, hv2, vm1, vm2, outside } = await openProvider(t);
  await network.central.nbctl(
    ...['lsp-set-options', 'ln0', 'network_name=physnet1', 'localnet_learn_fdb=true'],
  );
  await network.sync();
  await vm1.canReach(outside.address);
  const rows = async (): Promise<string> => network.central.sbctl('--bare', '--columns=mac', 'list', 'FDB');
  await waitFor('the MAC is in SB', async () => (await rows()).includes(outside.mac));
  const ping = vm1.startPing(outside.address);
  await ping.more(1);
  await hv1.agent.kill();
  await ping.more(10);
  await hv1.startAgent();
  await ping.more(10);
  const { sent, received } = await ping.stop();
  t.is(received, sent);
  await vm2.canReach(outside.address);
  await waitFor('the other node counts it', async () => {
    const known = parseMetrics((await hv2.get('/metrics')).body);
    return sumOf(known, 'iovn_agent_fdb_entries') >= 1;
  });
});

//   vm1 (sw0), vm3 (sw1) ── hv1 ─ eth0 ─┐
//   vm2 (sw0), vm4 (sw1) ── hv2 ─ eth0 ─┴─ underlay, which is physnet1, too: sw0 is on it, sw1 is in tunnels through it
test.serial('the card with the tunnels is the uplink, too', async (t) => {
  const network = await Network.open(t);
  const { central, bed, hypervisor: hv1 } = network;
  const hv2 = await network.addHypervisor(2, { agentArgs: ['--attach', 'clsact'] });
  for (const hypervisor of [hv1, hv2]) await mapTo(hypervisor, 'physnet1:eth0');
  await central.namespace.ip('addr', 'add', '10.0.0.200/24', 'dev', 'underlay');
  const vms = [
    await network.plugVm(1, hv1),
    await network.plugVm(2, hv2),
    await network.createVm(3, hv1),
    await network.createVm(4, hv2),
  ] as const;
  const [vm1, vm2, vm3, vm4] = vms;
  await addLocalnet(network, ['network_name=physnet1']);
  await central.nbctl('ls-add', 'sw1');
  for (const vm of [vm3, vm4]) {
    await central.nbctl('lsp-add', 'sw1', vm.name, '--', 'lsp-set-addresses', vm.name, 'unknown');
    await vm.hypervisor.plug(vm.tap, vm.name);
  }
  await network.sync();
  for (const [from, to] of [
    [vm1, vm2.address],
    [vm2, vm1.address],
    [vm1, '10.0.0.200'],
    [vm2, '10.0.0.200'],
    [vm3, vm4.address],
    [vm4, vm3.address],
  ] as const) {
    await from.canReach(to);
    await hasOnlyAnswers(t, from, to);
  }
  for (const vm of [vm1, vm2]) {
    t.is((await central.namespace.run(['ping', '-n', '-c', '1', '-W', '2', vm.address])).status, 0);
  }
  for (const address of ['192.0.2.11', '192.0.2.12']) {
    t.is((await central.namespace.run(['ping', '-n', '-c', '1', '-W', '2', address])).status, 0, address);
  }

  // Each broadcast once, to its own switch only.
  const pings = ['-Q', 'in', 'icmp', 'and', 'ether', 'broadcast'];
  const captures = await Promise.all(
    vms.map(({ namespace }) => Capture.start(bed, namespace, 'eth0', ...pings)),
  );
  for (const vm of [vm1, vm4]) {
    await vm.namespace.run(['ping', '-n', '-b', '-c', '1', '-W', '1', '10.0.0.255']);
  }
  t.deepEqual(
    await Promise.all(captures.map(async (capture) => (await capture.stop()).length)),
    [0, 1, 1, 0],
  );

  for (const hypervisor of [hv1, hv2]) {
    t.is((await hypervisor.runAgent(['--decommission'])).status, 0);
    t.notRegex(await hypervisor.namespace.ip('link', 'show', 'eth0'), /PROMISC|clsact/);
    t.notRegex(await hypervisor.namespace.runOk(['tc', 'qdisc', 'show']), /clsact/);
    const ping = ['ping', '-n', '-c', '1', '-W', '2', '192.0.2.1'];
    t.is((await hypervisor.namespace.run(ping)).status, 0);
  }
});
