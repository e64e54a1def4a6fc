import test from 'ava';

import type { Hypervisor } from '../../testbed/hypervisor.js';
import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import { VanillaHypervisor } from '../../testbed/vanilla-hypervisor.js';
import { waitFor } from '../../testbed/wait.js';
import { readTunnelFields } from '../support/geneve.js';
import { Network } from '../support/network.js';
import { Capture, sendUdpGso, transferTcp } from '../support/traffic.js';
import { portKey } from '../support/vanilla.js';
import { addUnderlayIp6, checksumErrors, drops, openTwo } from '../support/two-hypervisors.js';

//   vm1 ── hv1 (Geneve by the kernel's device) ─┐
//                                               ├─ underlay, MTU 1500: what goes into a tunnel may have 1442
//   vm2 ── hv2 (by our own program) ────────────┘

const bothWays = { agentArgs: [['--geneve=device'], ['--geneve=program']] } as const;
/** RFC 8926 3.4: the bit that says that there is a critical option. A program can't have the device set it. */
const criticalFlag = 0x40;
const isPing = (frame: Uint8Array): boolean => frame.length === 58 + 98;
const isFlooded = (frame: Uint8Array): boolean => frame.length === 58 + 42;

function captureFrom(network: Network, host: number): Promise<Capture> {
  const filter = ['udp', 'dst', 'port', '6081', 'and', 'src', 'host', `192.0.2.${host}`];
  return Capture.start(network.bed, network.hypervisor.namespace, 'eth0', ...filter);
}

async function deviceTunnels(hypervisor: Hypervisor): Promise<number> {
  return sumOf(parseMetrics((await hypervisor.get('/metrics')).body), 'iovn_agent_device_tunnels');
}

test.serial('device and program understand each other, and send the same', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t, bothWays);
  t.deepEqual([await deviceTunnels(hv1), await deviceTunnels(hv2)], [1, 0]);
  t.regex(await hv1.namespace.ip('-d', 'link', 'show', 'iovn-geneve'), /geneve external .*dstport 6081/);
  const captures = [await captureFrom(network, 11), await captureFrom(network, 12)];
  for (const vm of [vm1, vm2])
    await network.central.nbctl('lsp-set-addresses', vm.name, `${vm.mac} ${vm.address}`, 'unknown');
  await network.sync();
  for (const [from, to] of [
    [vm1, vm2],
    [vm2, vm1],
  ] as const) {
    for (const vm of [vm1, vm2]) await vm.forgetNeighbours();
    await from.canReach(to.address);
    // ECT(1) and a DSCP: the one is copied to the outer header, the other is not.
    await from.namespace.runOk(['ping', '-n', '-Q', '0x49', '-c', '1', '-W', '5', to.address]);
    await from.namespace.run(['ping', '-n', '-c', '1', '-W', '1', '10.0.0.200']);
  }
  await waitFor('both are seen', () => captures.every((each) => each.frames().some(isFlooded)));
  const [byDevice = [], byProgram = []] = await Promise.all(captures.map((each) => each.stop()));
  const keys = { vm1: await portKey(network, 'vm1'), vm2: await portKey(network, 'vm2') };
  const isMarked = (frame: Uint8Array): boolean => isPing(frame) && frame[15] === 1;
  for (const [is, to] of [
    [isMarked, keys.vm2],
    [isFlooded, 0x8000],
  ] as const) {
    const [a, b] = [byDevice.find(is), byProgram.find(is)];
    if (a === undefined || b === undefined) throw new Error('nothing captured');
    const [device, program] = [readTunnelFields(a), readTunnelFields(b)];
    t.deepEqual([device.from, device.to, program.from], [keys.vm1, to, keys.vm2]);
    const withFlag = Buffer.from(device.geneve, 'hex');
    t.is(withFlag[1], 0);
    withFlag[1] = criticalFlag;
    const geneve = withFlag.toString('hex');
    t.deepEqual({ ...device, geneve, from: 0, to: 0 }, { ...program, from: 0, to: 0 });
    t.not(Buffer.from(a).readUInt16BE(40), 0, 'the device gives the checksum that hv2 asks for');
    t.is(Buffer.from(b).readUInt16BE(40), 0, 'the program can not');
  }
  for (const hv of [hv1, hv2]) t.is(await drops(hv, 'tunnel_failed'), 0);
});

test.serial('TCP and UDP cross between device and program in GSO packets', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t, bothWays);
  const captures = [await captureFrom(network, 11), await captureFrom(network, 12)];
  t.true(await transferTcp(vm1, vm2, 2_000_000), 'device to program');
  t.true(await transferTcp(vm2, vm1, 2_000_000), 'program to device');
  for (const [index, capture] of captures.entries()) {
    const longest = Math.max(...(await capture.stop()).map(({ length }) => length));
    t.true(longest > 10_000, `hv${index + 1}: ${longest} bytes in one packet`);
  }
  for (const vm of [vm1, vm2]) t.is(await checksumErrors(vm), 0);
  const sizes = `[${Array.from({ length: 6 }, () => 1200).join(', ')}]`;
  t.is(await sendUdpGso(network.bed, vm1, vm2, 1200, 6), sizes);
  t.is(await sendUdpGso(network.bed, vm2, vm1, 1200, 6), sizes);
  for (const hv of [hv1, hv2]) t.is(await drops(hv, 'tunnel_failed'), 0);
});

test.serial('what comes to the device from elsewhere, or with something else, goes nowhere', async (t) => {
  const { network, hv1, hv2, vm1 } = await openTwo(t, bothWays);
  const seen = await Capture.start(network.bed, vm1.namespace, 'eth0', 'ether', 'src', '02:66:00:00:00:01');
  const frame = `02000000000102660000000188b5${'00'.repeat(40)}`;
  const ovnOption = (from: number, to: number): string =>
    `01028001${[from, to].map((key) => key.toString(16).padStart(4, '0')).join('')}`;
  const packet = (vni: number, options: string): string =>
    `${(options.length / 8).toString(16).padStart(2, '0')}406558${vni.toString(16).padStart(6, '0')}00${options}${frame}`;
  const source = `const s = require('node:dgram').createSocket('udp4'); s.send(Buffer.from(process.argv[1], 'hex'), 6081, '192.0.2.11', () => s.close());`;
  const send = (from: { readonly namespace: Hypervisor['namespace'] }, hex: string) =>
    from.namespace.runOk([process.execPath, '-e', source, hex]);
  const keys = [await portKey(network, 'vm2'), await portKey(network, 'vm1')] as const;
  for (const [reason, from, hex] of [
    ['tunnel_unknown_source', network.central, packet(1, ovnOption(...keys))],
    ['tunnel_unknown_network', hv2, packet(0xfff, ovnOption(...keys))],
    ['tunnel_unknown_port', hv2, packet(1, ovnOption(keys[0], 0x7ff))],
    ['tunnel_unknown_port', hv2, packet(1, ovnOption(0x7ff, keys[1]))],
    ['tunnel_option', hv2, packet(1, '')],
    ['tunnel_option', hv2, packet(1, ovnOption(...keys).replace('0102', '0103'))],
    ['tunnel_option', hv2, packet(1, ovnOption(...keys).repeat(2))],
  ] as const) {
    const before = await drops(hv1, reason);
    await send(from, hex);
    await waitFor(`${reason} is counted`, async () => (await drops(hv1, reason)) === before + 1);
  }
  t.is((await seen.stop()).length, 0);
  t.is((await network.central.namespace.run(['ping', '-c', '1', '-W', '5', '192.0.2.11'])).status, 0);
});

test.serial('over IPv6, and how much fits', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openTwo(t, bothWays);
  const fits = async (mtu: number): Promise<void> => {
    const ping = (bytes: number) =>
      vm1.namespace.run(['ping', '-n', '-c', '1', '-W', '5', '-M', 'do', '-s', String(bytes), vm2.address]);
    t.is((await ping(mtu - 28)).status, 0);
    const { stdout, stderr } = await ping(mtu - 27);
    t.regex(stdout + stderr, new RegExp(`mtu ?= ?${mtu}`));
  };
  await fits(1442);
  await addUnderlayIp6(hv1, hv2);
  const rows = async () =>
    (await network.central.sbctl('--bare', '--columns=ip', 'list', 'Encap')).split(/\s+/);
  await waitFor('the addresses are in SB', async () => (await rows()).every((ip) => ip.startsWith('2001:')));
  await network.sync();
  await vm1.namespace.ip('route', 'flush', 'cache');
  await vm1.canReach(vm2.address);
  t.true(await transferTcp(vm1, vm2, 500_000));
  t.true(await transferTcp(vm2, vm1, 500_000));
  await fits(1422);
});

test.serial(
  'where somebody else has the port, the program serves; then the device, without a loss',
  async (t) => {
    const network = await Network.open(t, { agentArgs: ['--geneve=auto'] });
    const { hypervisor: hv1, central } = network;
    await hv1.namespace.ip(...['link', 'add', 'other', 'type', 'geneve', 'external', 'dstport', '6081']);
    const hv2 = await network.addHypervisor(2, { agentArgs: ['--geneve=program'] });
    const [vm1, vm2] = [await network.plugVm(1, hv1), await network.plugVm(2, hv2)];
    await network.sync();
    await vm1.canReach(vm2.address);
    t.is(await deviceTunnels(hv1), 0);
    t.notRegex(await hv1.namespace.ip('-brief', 'link'), /iovn-geneve/);
    const ping = vm1.startPing(vm2.address);
    await ping.more(1);
    await hv1.namespace.ip('link', 'del', 'other');
    await waitFor('the device is used', async () => (await deviceTunnels(hv1)) === 1, { timeoutMs: 100_000 });
    await ping.more(5);
    const { sent, received } = await ping.stop();
    t.is(received, sent);
    t.is((await hv1.runAgent(['--decommission'])).status, 0);
    t.notRegex(await hv1.namespace.ip('-brief', 'link'), /iovn-/);
    t.is(await central.sbctl('--bare', '--columns=name', 'find', 'Chassis', 'name=hv1'), '');
  },
);

test.serial("with vanilla OVN on Open vSwitch's kernel datapath", async (t) => {
  const network = await Network.open(t, { agentArgs: ['--geneve=device'] });
  const { hypervisor: hv1, central, bed } = network;
  const hv2 = await VanillaHypervisor.create(bed, central, { name: 'hv2', index: 2, datapath: 'system' });
  const [vm1, vm2] = [await network.plugVm(1, hv1), await network.plugVm(2, hv2)];
  await vm2.namespace.ip('link', 'set', 'eth0', 'mtu', '1442');
  await network.sync();
  const captures = [await captureFrom(network, 11), await captureFrom(network, 12)];
  await vm1.canReach(vm2.address);
  await vm2.canReach(vm1.address);
  t.regex(await hv2.namespace.ip('-brief', 'link'), /genev_sys_6081/);
  t.true(await transferTcp(vm1, vm2, 1_000_000), 'ours to vanilla');
  t.true(await transferTcp(vm2, vm1, 1_000_000), 'vanilla to ours');
  for (const vm of [vm1, vm2]) t.is(await checksumErrors(vm), 0);
  const [ours, theirs] = (await Promise.all(captures.map((each) => each.stop()))).map((frames) => {
    const frame = frames.find(isPing);
    if (frame === undefined) throw new Error('no ping was captured');
    const { geneve, ...fields } = readTunnelFields(frame);
    const hasChecksum = Buffer.from(frame).readUInt16BE(40) !== 0;
    return {
      ...fields,
      geneve: geneve.slice(4),
      flags: geneve.slice(2, 4),
      hasChecksum,
      from: 0,
      to: 0,
      id: 0,
    };
  });
  t.is(theirs?.flags, '40');
  t.deepEqual(ours, { ...theirs, flags: '00' });
});
