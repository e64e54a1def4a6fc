import test from 'ava';

import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
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
//               ├─ underlay, MTU 1500: what goes into a tunnel may have 1442
//   vm2 ── hv2 ─┘

const tunnelMtu = 1442;
const outerOverhead = 58;

test.serial(
  'VMs on two hypervisors reach each other by IPv4, IPv6 and ARP; what they send is counted',
  async (t) => {
    const { network, hv1, vm1, vm2 } = await openTwo(t);
    t.is((await vm1.ping(vm2.address, { count: 5 })).received, 5);
    const [, ip6] = [await addIp6(vm1, network), await addIp6(vm2, network)];
    await network.sync();
    await vm1.canReach(ip6);
    t.is((await vm1.ping(ip6, { count: 3 })).received, 3);

    // The switch does not answer for a port that takes unknown addresses: the question crosses, and so does the answer.
    await network.central.nbctl('lsp-set-addresses', 'vm2', `${vm2.mac} ${vm2.address}`, 'unknown');
    await network.sync();
    await vm1.namespace.ip('neigh', 'flush', 'dev', 'eth0');
    t.is((await vm1.ping(vm2.address, { timeoutMs: 3000 })).received, 1);
    t.is(await drops(hv1, 'tunnel_failed'), 0);

    // The receiver's node enforces its port security.
    await network.central.nbctl('lsp-set-port-security', 'vm2', vm2.mac.replace('02', '06'));
    await network.sync();
    t.is((await vm1.ping(vm2.address)).received, 0);
  },
);

test.serial('TCP arrives as it was sent whatever is offloaded, and crosses in GSO packets', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t);
  for (const vms of [true, false]) {
    for (const underlay of [true, false]) {
      for (const vm of [vm1, vm2]) await setOffload(vm, vms);
      for (const hv of [hv1, hv2]) await setOffload(hv, underlay);
      const capture = await Capture.start(network.bed, hv1.namespace, 'eth0', 'udp', 'dst', 'port', '6081');
      t.true(await transferTcp(vm1, vm2, 4_000_000), `offload in VMs ${vms}, on the underlay ${underlay}`);
      const longest = Math.max(...(await capture.stop()).map(({ length }) => length));
      if (vms && underlay) t.true(longest > 20_000, `${longest} bytes in one packet`);
    }
  }
  for (const vm of [vm1, vm2]) {
    t.is(await checksumErrors(vm), 0);
  }
});

test.serial('UDP that the kernel is to segment arrives in its datagrams', async (t) => {
  const { network, vm1, vm2 } = await openTwo(t);
  const sizes = `[${Array.from({ length: 12 }, () => 1200).join(', ')}]`;
  t.is(await sendUdpGso(network.bed, vm1, vm2, 1200, 12), sizes);
});

test.serial('a sender is told how much fits through the tunnel', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t);
  const ip6 = await addIp6(vm2, network);
  await addIp6(vm1, network);
  await network.sync();
  await vm1.canReach(ip6);
  const ping = (...args: readonly string[]) =>
    vm1.namespace.run(['ping', '-n', '-c', '1', '-W', '1', ...args]);
  const fits = tunnelMtu - 28;
  t.is((await ping('-M', 'do', '-s', String(fits), vm2.address)).status, 0);
  const { stdout, stderr } = await ping('-M', 'do', '-s', String(fits + 1), vm2.address);
  t.regex(stdout + stderr, new RegExp(`From ${vm2.address} .*mtu ?= ?${tunnelMtu}`));
  // Whoever sends too long a fragment is told, too: vm1 knows already, vm2 learns it with its first answer.
  await waitFor(
    'fragments pass',
    async () => (await ping('-M', 'want', '-s', '3000', vm2.address)).status === 0,
  );
  const answer6 = await ping('-M', 'do', '-s', String(tunnelMtu - 47), ip6);
  t.regex(answer6.stdout + answer6.stderr, new RegExp(`mtu ?= ?${tunnelMtu}`));
  t.is(await drops(hv1, 'tunnel_too_big'), 2);
  t.true((await drops(hv2, 'tunnel_too_big')) >= 1);
});

test.serial('a broadcast crosses once to each chassis that hosts members', async (t) => {
  const { network, hv1, hv2, vm1 } = await openTwo(t);
  const hv3 = await network.addHypervisor(3);
  const others = [
    await network.plugVm(3, hv2),
    await network.plugVm(4, hv3),
    await network.plugVm(5, hv3),
    await network.plugVm(6, hv1),
  ];
  await network.sync();
  for (const vm of others) await vm1.canReach(vm.address);
  const sent = await Capture.start(network.bed, hv1.namespace, 'eth0', 'udp', 'dst', 'port', '6081');
  const received = await Promise.all(
    others.map((vm) => Capture.start(network.bed, vm.namespace, 'eth0', 'icmp', 'and', 'ether', 'broadcast')),
  );
  await vm1.namespace.run(['ping', '-n', '-b', '-c', '1', '-W', '1', '10.0.0.255']);
  for (const capture of received) {
    await waitFor('the broadcast arrives', () => capture.frames().length > 0);
  }
  t.deepEqual(
    (await Promise.all(received.map((capture) => capture.stop()))).map(({ length }) => length),
    [1, 1, 1, 1],
  );
  const copies = (await sent.stop())
    .map((bytes) => Buffer.from(bytes))
    .filter(
      (bytes) => bytes.readUInt16BE(56) === 0x8000 && bytes.readUInt16BE(outerOverhead + 12) === 0x0800,
    );
  t.deepEqual(copies.map((bytes) => bytes.subarray(30, 34).join('.')).sort(), ['192.0.2.12', '192.0.2.13']);
});

test.serial('a guest that routes sends back what came through a tunnel', async (t) => {
  const { network, hv1, vm1, vm2 } = await openTwo(t, { portSecurity: false });
  const vm3 = await network.plugVm(3, hv1, { portSecurity: false });
  await network.central.nbctl('lsp-set-addresses', 'vm3', `${vm3.mac} ${vm3.address}`);
  await network.sync();
  for (const vm of [vm1, vm3]) await vm2.canReach(vm.address);
  await vm2.namespace.runOk([
    'sysctl',
    '-qw',
    'net.ipv4.ip_forward=1',
    'net.ipv4.conf.all.send_redirects=0',
    'net.ipv4.conf.eth0.send_redirects=0',
  ]);
  await vm3.namespace.ip('addr', 'add', '10.9.0.3/32', 'dev', 'eth0');
  await vm3.namespace.ip('route', 'replace', '10.0.0.1/32', 'via', '10.0.0.2');
  await vm2.namespace.ip('route', 'add', '10.9.0.3/32', 'via', '10.0.0.3');
  await vm1.namespace.ip('route', 'add', '10.9.0.3/32', 'via', '10.0.0.2');
  await vm1.canReach('10.9.0.3');
  t.true(await transferTcp(vm1, vm3, 2_000_000, '10.9.0.3'));
});

test.serial('a chassis that changes its address, or goes, is followed', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t);
  await hv2.namespace.ip('addr', 'add', '192.0.2.112/24', 'dev', 'eth0');
  await hv2.vsctl('--no-wait', 'set', 'Open_vSwitch', '.', 'external_ids:ovn-encap-ip=192.0.2.112');
  const encap = async () =>
    (await network.central.sbctl('--columns=ip', 'find', 'Encap', 'chassis_name=hv2')).includes(
      '192.0.2.112',
    );
  await waitFor('the new address is in SB', encap);
  await vm1.canReach(vm2.address);
  const capture = await Capture.start(network.bed, hv1.namespace, 'eth0', 'udp', 'port', '6081');
  t.is((await vm1.ping(vm2.address, { count: 3 })).received, 3);
  const peers = new Set(
    (await capture.stop())
      .map((bytes) => Buffer.from(bytes))
      .map((bytes) =>
        bytes
          .subarray(bytes[29] === 11 ? 30 : 26)
          .subarray(0, 4)
          .join('.'),
      ),
  );
  t.deepEqual([...peers], ['192.0.2.112']);

  t.is((await hv2.runAgent(['--decommission'])).status, 0);
  await network.sync();
  const tunnels = async () =>
    sumOf(parseMetrics((await hv1.get('/metrics')).body), 'iovn_agent_map_entries', { map: 'tunnels' }) === 0;
  await waitFor('hv1 has no tunnel left', tunnels);
  const links = await hv2.namespace.ip('-brief', 'link');
  t.notRegex(links, /iovn-relay/);
  t.is(
    (await hv2.namespace.run(['ping', '-c', '1', '-W', '1', '192.0.2.11'])).status,
    0,
    'the underlay is as it was',
  );
});

test.serial('tunnels work on while an agent is killed and comes back', async (t) => {
  const { hv2, vm1, vm2 } = await openTwo(t);
  const ping = vm1.startPing(vm2.address);
  await ping.more(1);
  await hv2.agent.kill();
  await ping.more(10);
  await hv2.startAgent();
  await ping.more(10);
  const { sent, received } = await ping.stop();
  t.is(received, sent);
});

test.serial(
  'packets from an address that is no chassis are dropped, other traffic of the underlay is not',
  async (t) => {
    const { network, hv1, vm1 } = await openTwo(t);
    const seen = await Capture.start(network.bed, vm1.namespace, 'eth0', 'ether', 'src', '02:66:00:00:00:01');
    const frame = `02000000000102660000000188b5${'00'.repeat(40)}`;
    const packet = `02406558000001000102800100020001${frame}`;
    const send = `const s = require('node:dgram').createSocket('udp4'); s.send(Buffer.from(process.argv[1], 'hex'), 6081, '192.0.2.11', () => s.close());`;
    await network.central.namespace.runOk([process.execPath, '-e', send, packet]);
    await waitFor('the drop is counted', async () => (await drops(hv1, 'tunnel_unknown_source')) === 1);
    t.is((await seen.stop()).length, 0);
    t.is((await network.central.namespace.run(['ping', '-c', '1', '-W', '1', '192.0.2.11'])).status, 0);
  },
);

test.serial('an IPv6 underlay', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t);
  await addUnderlayIp6(hv1, hv2);
  const both = async () => {
    const listed = (await Promise.all([hv1, hv2].map((hv) => hv.get('/metrics')))).map(({ body }) =>
      parseMetrics(body),
    );
    return listed.every((samples) => sumOf(samples, 'iovn_agent_tunnels') === 1);
  };
  const rows = async () =>
    (await network.central.sbctl('--bare', '--columns=ip', 'list', 'Encap')).split(/\s+/);
  await waitFor('the addresses are in SB', async () => (await rows()).every((ip) => ip.startsWith('2001:')));
  await network.sync();
  await waitFor('both have a tunnel', both);
  await vm1.canReach(vm2.address);
  const capture = await Capture.start(
    network.bed,
    hv1.namespace,
    'eth0',
    'ip6',
    'and',
    'udp',
    'port',
    '6081',
  );
  await network.central.nbctl('lsp-set-addresses', 'vm2', `${vm2.mac} ${vm2.address}`, 'unknown');
  await network.sync();
  await vm1.namespace.ip('neigh', 'flush', 'dev', 'eth0');
  t.is((await vm1.ping(vm2.address, { timeoutMs: 3000 })).received, 1, 'with ARP through the tunnel');
  t.true(await transferTcp(vm1, vm2, 2_000_000));
  t.true((await capture.stop()).length > 4);
  const fits = 1500 - 78 - 28;
  const ping = (bytes: number) =>
    vm1.namespace.run(['ping', '-n', '-c', '1', '-W', '1', '-M', 'do', '-s', String(bytes), vm2.address]);
  t.is((await ping(fits)).status, 0);
  const { stdout, stderr } = await ping(fits + 1);
  t.regex(stdout + stderr, /mtu ?= ?1422/);
});

test.serial('a VM behind a TAP, which gets what came through a tunnel in one piece', async (t) => {
  const { network, hv2, vm1 } = await openTwo(t);
  const tap = await Vm.create(network.bed, hv2, {
    name: 'vm3',
    mac: '02:00:00:00:00:03',
    ip: '10.0.0.3/24',
    card: 'tap',
  });
  await network.addPort(tap);
  await hv2.plug(tap.tap, tap.name);
  await network.sync();
  await vm1.canReach(tap.address);
  t.is((await tap.ping(vm1.address, { count: 3 })).received, 3);
  t.true(await transferTcp(vm1, tap, 1_000_000));
  t.true(await transferTcp(tap, vm1, 1_000_000));
});
