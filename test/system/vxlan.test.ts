import test from 'ava';

import type { Hypervisor } from '../../testbed/hypervisor.js';
import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import type { Network } from '../support/network.js';
import { Capture, sendUdpGso, transferTcp } from '../support/traffic.js';
import {
  addIp6,
  addUnderlayIp6,
  checksumErrors,
  drops,
  openTwo,
  setOffload,
} from '../support/two-hypervisors.js';

//   vm1 ── hv1 ─┐
//               ├─ underlay, MTU 1500: what goes into a VXLAN tunnel may have 1450
//   vm2 ── hv2 ─┘

const tunnelMtu = 1450;
const vxlan = { encapTypes: ['vxlan', 'vxlan'] } as const;

function captureVxlan(network: Network, hypervisor: Hypervisor): Promise<Capture> {
  return Capture.start(network.bed, hypervisor.namespace, 'eth0', 'udp', 'dst', 'port', '4789');
}

/** The switch answers for nobody, so that ARP crosses. */
async function answerForNobody(network: Network, ...vms: readonly Vm[]): Promise<void> {
  for (const vm of vms) {
    await network.central.nbctl('lsp-set-addresses', vm.name, `${vm.mac} ${vm.address}`, 'unknown');
  }
  await network.sync();
  for (const vm of vms) await vm.forgetNeighbours();
}

test.serial('VMs reach each other over VXLAN by IPv4, IPv6 and ARP', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t, vxlan);
  const capture = await captureVxlan(network, hv1);
  t.is((await vm1.ping(vm2.address, { count: 5 })).received, 5);
  const [, ip6] = [await addIp6(vm1, network), await addIp6(vm2, network)];
  await network.sync();
  await vm1.canReach(ip6);
  await answerForNobody(network, vm1, vm2);
  t.is((await vm1.ping(vm2.address, { timeoutMs: 3000 })).received, 1, 'with ARP through the tunnel');

  const frames = (await capture.stop()).map((bytes) => Buffer.from(bytes));
  const [request] = frames.filter((bytes) => bytes.length === 50 + 98 && bytes[33] === 12);
  if (request === undefined) throw new Error('no echo request was captured');
  t.is(request.readUInt16BE(20), 0x4000, 'DF');
  t.is(request[22], 64, 'TTL');
  t.not(request.readUInt16BE(40), 0, 'there is a UDP checksum, as the Encap row asks for one');
  const column = async (table: string, name: string, where: string) =>
    Number(await network.central.sbctl('--bare', `--columns=${name}`, 'find', table, where));
  const portKey = await column('Port_Binding', 'tunnel_key', 'logical_port=vm2');
  const datapathKey = await column('Datapath_Binding', 'tunnel_key', 'external_ids:name=sw0');
  t.is(request.readUInt32BE(46) >>> 8, (portKey << 12) | datapathKey, 'VNI');
  const flooded = frames.filter((bytes) => bytes.length === 50 + 42);
  t.true(flooded.some((bytes) => bytes.readUInt32BE(46) >>> 8 === ((0x800 << 12) | datapathKey)));
  for (const hv of [hv1, hv2]) t.is(await drops(hv, 'tunnel_failed'), 0);

  // The receiver's node enforces its port security.
  await network.central.nbctl('lsp-set-port-security', 'vm2', vm2.mac.replace('02', '06'));
  await network.sync();
  t.is((await vm1.ping(vm2.address)).received, 0);
});

test.serial('TCP and UDP arrive as they were sent, in GSO packets where they may', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t, vxlan);
  for (const vms of [true, false]) {
    for (const underlay of [true, false]) {
      for (const vm of [vm1, vm2]) await setOffload(vm, vms);
      for (const hv of [hv1, hv2]) await setOffload(hv, underlay);
      const capture = await captureVxlan(network, hv1);
      t.true(await transferTcp(vm1, vm2, 4_000_000), `offload in VMs ${vms}, on the underlay ${underlay}`);
      const longest = Math.max(...(await capture.stop()).map(({ length }) => length));
      if (vms && underlay) t.true(longest > 20_000, `${longest} bytes in one packet`);
    }
  }
  for (const vm of [vm1, vm2]) t.is(await checksumErrors(vm), 0);
  const sizes = `[${Array.from({ length: 12 }, () => 1200).join(', ')}]`;
  t.is(await sendUdpGso(network.bed, vm1, vm2, 1200, 12), sizes);
});

test.serial('a sender is told how much fits through a VXLAN tunnel', async (t) => {
  const { hv1, vm1, vm2 } = await openTwo(t, vxlan);
  const ping = (bytes: number) =>
    vm1.namespace.run(['ping', '-n', '-c', '1', '-W', '1', '-M', 'do', '-s', String(bytes), vm2.address]);
  t.is((await ping(tunnelMtu - 28)).status, 0);
  const { stdout, stderr } = await ping(tunnelMtu - 27);
  t.regex(stdout + stderr, new RegExp(`From ${vm2.address} .*mtu ?= ?${tunnelMtu}`));
  t.is(await drops(hv1, 'tunnel_too_big'), 1);
});

test.serial('a VXLAN tunnel over IPv6', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t, vxlan);
  await addUnderlayIp6(hv1, hv2);
  const rows = async () =>
    (await network.central.sbctl('--bare', '--columns=ip', 'list', 'Encap')).split(/\s+/);
  await waitFor('the addresses are in SB', async () => (await rows()).every((ip) => ip.startsWith('2001:')));
  await network.sync();
  await vm1.canReach(vm2.address);
  const capture = await Capture.start(
    network.bed,
    hv1.namespace,
    'eth0',
    'ip6',
    'and',
    'udp',
    'port',
    '4789',
  );
  await answerForNobody(network, vm1, vm2);
  t.is((await vm1.ping(vm2.address, { timeoutMs: 3000 })).received, 1, 'with ARP through the tunnel');
  t.true(await transferTcp(vm1, vm2, 2_000_000));
  t.true((await capture.stop()).length > 4);
  const fits = 1500 - 70 - 28;
  const ping = (bytes: number) =>
    vm1.namespace.run(['ping', '-n', '-c', '1', '-W', '1', '-M', 'do', '-s', String(bytes), vm2.address]);
  t.is((await ping(fits)).status, 0);
  const { stdout, stderr } = await ping(fits + 1);
  t.regex(stdout + stderr, /mtu ?= ?1430/);
});

test.serial(
  'in a mixed fleet each pair uses the type that OVN prefers, and a broadcast reaches everybody',
  async (t) => {
    const { network, hv1, hv2, vm1, vm2 } = await openTwo(t, { encapTypes: ['geneve,vxlan', 'vxlan'] });
    const hv3 = await network.addHypervisor(3, { encapType: 'geneve,vxlan' });
    const hv4 = await network.addHypervisor(4, { encapType: 'geneve' });
    const vm3 = await network.plugVm(3, hv3);
    const vm4 = await network.plugVm(4, hv4);
    await network.sync();
    for (const vm of [vm2, vm3, vm4]) await vm1.canReach(vm.address);
    await vm3.canReach(vm2.address);
    const tunnelsOf = async (hypervisor: Hypervisor): Promise<number> =>
      sumOf(parseMetrics((await hypervisor.get('/metrics')).body), 'iovn_agent_tunnels');
    t.deepEqual([await tunnelsOf(hv1), await tunnelsOf(hv2), await tunnelsOf(hv4)], [3, 2, 2]);
    const ports = async (from: Hypervisor): Promise<Map<string, number>> => {
      const capture = await Capture.start(
        network.bed,
        from.namespace,
        'eth0',
        'udp',
        'and',
        'src',
        'host',
        '192.0.2.11',
      );
      const received = await Promise.all(
        [vm2, vm3, vm4].map((vm) =>
          Capture.start(network.bed, vm.namespace, 'eth0', 'icmp', 'and', 'ether', 'broadcast'),
        ),
      );
      await vm1.namespace.run(['ping', '-n', '-b', '-c', '1', '-W', '1', '10.0.0.255']);
      for (const each of received) await waitFor('the broadcast arrives', () => each.frames().length > 0);
      t.deepEqual(
        (await Promise.all(received.map((each) => each.stop()))).map(({ length }) => length),
        [1, 1, 1],
      );
      const sent = (await capture.stop()).map((bytes) => Buffer.from(bytes));
      return new Map(sent.map((bytes) => [bytes.subarray(30, 34).join('.'), bytes.readUInt16BE(36)]));
    };
    t.deepEqual([...(await ports(hv1))].sort(), [
      ['192.0.2.12', 4789],
      ['192.0.2.13', 6081],
      ['192.0.2.14', 6081],
    ]);
  },
);

test.serial('a chassis that changes its tunnel type, or goes, is followed', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t, { encapTypes: ['geneve,vxlan', 'geneve'] });
  const typeIs = (type: string) => async () =>
    (await network.central.sbctl('--bare', '--columns=type', 'find', 'Encap', 'chassis_name=hv2')) === type;
  const change = async (type: string, port: number) => {
    await hv2.configure({ 'ovn-encap-type': type });
    await waitFor('the new type is in SB', typeIs(type));
    await network.sync();
    await vm1.canReach(vm2.address);
    const capture = await Capture.start(
      network.bed,
      hv1.namespace,
      'eth0',
      'udp',
      'and',
      'not',
      'port',
      '53',
    );
    t.is((await vm1.ping(vm2.address, { count: 3 })).received, 3);
    const used = new Set((await capture.stop()).map((bytes) => Buffer.from(bytes).readUInt16BE(36)));
    t.deepEqual([...used], [port], type);
  };
  await change('vxlan', 4789);
  t.regex(await hv1.namespace.ip('-brief', 'link'), /iovn-vxlan/);
  await change('geneve', 6081);
  const gone = async () => !/iovn-vxlan/.test(await hv1.namespace.ip('-brief', 'link'));
  await waitFor('nobody needs the VXLAN device, and it is gone', gone);
  await change('vxlan', 4789);
  t.is((await hv2.runAgent(['--decommission'])).status, 0);
  t.notRegex(await hv2.namespace.ip('-brief', 'link'), /iovn-/);
  await waitFor('hv1 removes its device, too', gone);
});

test.serial('what comes to the VXLAN device from elsewhere goes nowhere', async (t) => {
  const { network, hv1, vm1, vm2 } = await openTwo(t, vxlan);
  const seen = await Capture.start(network.bed, vm1.namespace, 'eth0', 'ether', 'src', '02:66:00:00:00:01');
  const frame = `02000000000102660000000188b5${'00'.repeat(40)}`;
  const send = (vni: number, from: string) => {
    const packet = `08000000${vni.toString(16).padStart(6, '0')}00${frame}`;
    const source = `const s = require('node:dgram').createSocket('udp4'); s.bind(0, process.argv[2], () => s.send(Buffer.from(process.argv[1], 'hex'), 4789, '192.0.2.11', () => s.close()));`;
    return { packet, source, from };
  };
  const dropped = async (reason: string, count: number) =>
    waitFor(`${reason} is counted`, async () => (await drops(hv1, reason)) === count);
  const foreign = send(0x001001, '0.0.0.0');
  await network.central.namespace.runOk([
    process.execPath,
    '-e',
    foreign.source,
    foreign.packet,
    foreign.from,
  ]);
  await dropped('tunnel_unknown_source', 1);
  for (const [vni, reason] of [
    [0x001fff, 'tunnel_unknown_network'],
    [0x7ff001, 'tunnel_unknown_port'],
    [0x000001, 'tunnel_unknown_port'],
  ] as const) {
    const before = await drops(hv1, reason);
    const { packet, source } = send(vni, '192.0.2.12');
    await vm2.hypervisor.namespace.runOk([process.execPath, '-e', source, packet, '192.0.2.12']);
    await dropped(reason, before + 1);
  }
  t.is((await seen.stop()).length, 0);
  t.is((await network.central.namespace.run(['ping', '-c', '1', '-W', '1', '192.0.2.11'])).status, 0);
});

test.serial('VXLAN tunnels work on while an agent is killed and comes back', async (t) => {
  const { hv2, vm1, vm2 } = await openTwo(t, vxlan);
  const ping = vm1.startPing(vm2.address);
  await ping.more(1);
  await hv2.agent.kill();
  await ping.more(10);
  await hv2.startAgent();
  await ping.more(10);
  const { sent, received } = await ping.stop();
  t.is(received, sent);
});
