import test, { type ExecutionContext } from 'ava';

import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import { fillInChecksums } from '../../testbed/vanilla-hypervisor.js';
import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { innerFrameOffset, readTunnelFields } from '../support/geneve.js';
import { Network } from '../support/network.js';
import { Capture, transferTcp } from '../support/traffic.js';
import { addVanilla, plugMovableVm, portKey } from '../support/vanilla.js';

//   vm1, vm4 ── hv1 (ours) ────┐
//   vm2, vm5 ── hv2 (vanilla) ─┼─ underlay
//   vm3 ─────── hv3 (vanilla) ─┘

async function openFleet(t: ExecutionContext, options: { readonly portSecurity?: boolean } = {}) {
  const network = await Network.open(t);
  const hv1 = network.hypervisor;
  const [hv2, hv3] = await Promise.all([addVanilla(network, 2), addVanilla(network, 3)]);
  await fillInChecksums(hv1.namespace, 'eth0');
  const vm1 = await plugMovableVm(network, 1, hv1, options);
  const vm2 = await plugMovableVm(network, 2, hv2, options);
  const vm3 = await plugMovableVm(network, 3, hv3, options);
  const vm4 = await plugMovableVm(network, 4, hv1, options);
  const vm5 = await plugMovableVm(network, 5, hv2, options);
  await network.sync();
  for (const vm of [vm2, vm3, vm4, vm5]) await vm1.canReach(vm.address);
  await vm2.canReach(vm3.address);
  return { network, hv1, vms: [vm1, vm2, vm3, vm4, vm5] as const };
}

/** How many of the frames that the filter selects each VM gets while `action` goes on. */
async function copies(
  network: Network,
  vms: readonly Vm[],
  filter: readonly string[],
  action: () => Promise<unknown>,
): Promise<readonly number[]> {
  const captures = await Promise.all(
    vms.map((vm) => Capture.start(network.bed, vm.namespace, 'eth0', '-Q', 'in', ...filter)),
  );
  await action();
  return Promise.all(captures.map(async (capture) => (await capture.stop()).length));
}

test.serial('a broadcast from either kind reaches each member of the fleet exactly once', async (t) => {
  const { network, vms } = await openFleet(t);
  const broadcast = ['icmp', 'and', 'ether', 'broadcast'];
  for (const from of vms) {
    // Its time is over a second after the broadcast was sent: a second copy has come by then.
    const ping = () => from.namespace.run(['ping', '-n', '-b', '-c', '1', '-W', '1', '10.0.0.255']);
    const expected = vms.map((vm) => (vm === from ? 0 : 1));
    t.deepEqual(await copies(network, vms, broadcast, ping), expected, `from ${from.name}`);
  }
});

test.serial('what nobody knows goes to the ports with unknown addresses, the same on the wire', async (t) => {
  const { network, hv1, vms } = await openFleet(t, { portSecurity: false });
  const [vm1, vm2, vm3, vm4] = vms;
  for (const vm of [vm2, vm3, vm4]) await network.central.nbctl('lsp-set-addresses', vm.name, 'unknown');
  await network.sync();
  const nobody = '06:00:00:00:00:99';
  const group = Number(
    await network.central.sbctl(
      ...['--bare', '--columns=tunnel_key', 'find', 'Multicast_Group', 'name=_MC_unknown'],
    ),
  );
  const seen = [];
  for (const [from, expected, address] of [
    [vm1, [0, 1, 1, 1, 0], '192.0.2.11'],
    [vms[4], [0, 1, 1, 1, 0], '192.0.2.12'],
  ] as const) {
    await from.namespace.ip(
      ...['neigh', 'replace', '10.0.0.99', 'lladdr', nobody, 'dev', 'eth0', 'nud', 'permanent'],
    );
    const filter = ['udp', 'port', '6081', 'and', 'src', address];
    const wire = await Capture.start(network.bed, hv1.namespace, 'eth0', ...filter);
    const ping = () => from.namespace.run(['ping', '-n', '-c', '1', '-W', '1', '10.0.0.99']);
    t.deepEqual(await copies(network, vms, ['ether', 'dst', nobody], ping), expected, `from ${from.name}`);
    const fields = (await wire.stop())
      .filter(
        (frame) =>
          Buffer.from(frame).toString('hex', innerFrameOffset, innerFrameOffset + 6) === '060000000099',
      )
      .map(readTunnelFields);
    for (const each of fields) t.is(each.from, await portKey(network, from.name));
    seen.push(fields.map((each) => ({ ...each, from: 0 }))[0]);
  }
  const [ours, theirs] = seen;
  t.is(ours?.to, group);
  t.deepEqual(ours, theirs);
});

test.serial('the destination’s port security holds for what comes from a vanilla hypervisor', async (t) => {
  const { network, hv1, vms } = await openFleet(t);
  const [vm1, vm2] = vms;
  await network.central.nbctl('lsp-set-port-security', 'vm1', `${vm1.mac} 10.0.0.77`);
  await network.sync();
  const arrived = await copies(network, [vm1], ['icmp'], () => vm2.ping(vm1.address, { count: 3 }));
  t.deepEqual(arrived, [0]);
  const samples = parseMetrics((await hv1.get('/metrics')).body);
  const drops = sumOf(samples, 'iovn_agent_port_dropped_packets_total', { port: 'vm1' });
  t.true(drops >= 3, `${drops} drops`);
});

/** One's complement sum of the TCP segment and its pseudo header (RFC 9293 §3.1), which is 0xffff where it is right. */
function tcpSum(ip: Buffer): number {
  const headerBytes = (ip.readUInt8(0) & 0xf) * 4;
  const segment = ip.subarray(headerBytes, ip.readUInt16BE(2));
  const pseudo = Buffer.concat([
    ip.subarray(12, 20),
    Buffer.from([0, 6, segment.length >> 8, segment.length & 0xff]),
  ]);
  const bytes = Buffer.concat([pseudo, segment, Buffer.alloc(segment.length % 2)]);
  let sum = 0;
  for (let offset = 0; offset < bytes.length; offset += 2) sum += bytes.readUInt16BE(offset);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

test.serial('TCP checksums are right on the wire, and too big a packet is answered', async (t) => {
  const { network, hv1, vms } = await openFleet(t);
  const [vm1, vm2, vm3] = vms;
  const wire = await Capture.start(network.bed, hv1.namespace, 'eth0', 'udp', 'port', '6081');
  for (const vm of [vm2, vm3]) {
    t.true(await transferTcp(vm1, vm, 1_000_000), `to ${vm.name}`);
    t.true(await transferTcp(vm, vm1, 1_000_000), `from ${vm.name}`);
  }
  const segments = (await wire.stop())
    .map((frame) => Buffer.from(frame).subarray(innerFrameOffset))
    .filter((inner) => inner.readUInt16BE(12) === 0x0800 && inner[23] === 6)
    .map((inner) => inner.subarray(14));
  t.true(segments.length > 1000, `${segments.length} segments`);
  t.deepEqual(new Set(segments.map(tcpSum)), new Set([0xffff]));

  await vm1.namespace.ip('link', 'set', 'eth0', 'mtu', '1500');
  const ping = (bytes: number) =>
    vm1.namespace.run(['ping', '-n', '-c', '1', '-W', '1', '-M', 'do', '-s', String(bytes), vm2.address]);
  t.is((await ping(1442 - 28)).status, 0);
  const { stdout, stderr } = await ping(1442 - 27);
  t.regex(stdout + stderr, /mtu ?= ?1442/);
  await t.notThrowsAsync(
    waitFor('fragments pass', async () => {
      const { status } = await vm1.namespace.run([
        ...['ping', '-n', '-c', '1', '-W', '1', '-M', 'want', '-s', '3000', vm2.address],
      ]);
      return status === 0;
    }),
  );
});
