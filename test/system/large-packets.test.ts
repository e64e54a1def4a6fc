import test from 'ava';

import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { Network } from '../support/network.js';

const bulkBytes = 32 << 20;
const port = 7000;
/** Ethernet, IPv4 and TCP headers with timestamps, in each segment. */
const headerBytes = 14 + 20 + 32;

const receiver = `
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
const server = createServer((socket) => {
  const hash = createHash('sha256');
  socket.on('data', (data) => hash.update(data));
  socket.on('end', () => { console.log('received ' + hash.digest('hex')); server.close(); });
});
server.listen(${port}, () => console.log('listening'));
`;
const sender = `
import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
const bytes = randomBytes(${bulkBytes});
const socket = connect(${port}, process.argv[1], () => socket.end(bytes));
console.log(createHash('sha256').update(bytes).digest('hex'));
`;

/** Sends random bytes over TCP. Returns their hash as the sender and as the receiver has it. */
async function transfer(network: Network, from: Vm, to: Vm): Promise<readonly [string, string]> {
  const node = [process.execPath, '--input-type=module', '-e'];
  const daemon = network.bed.daemon({
    name: `${to.name}-receiver`,
    command: to.namespace.command([...node, receiver]),
  });
  daemon.start();
  await waitFor('the receiver listens', () => daemon.log().includes('listening'));
  const sent = await from.namespace.runOk([...node, sender, to.address]);
  const received = () => /received ([0-9a-f]{64})/.exec(daemon.log())?.[1];
  return [sent.trim(), await waitFor('everything is received', received)];
}

/** Packets as the machine's own stack hands them to its network card, GSO packets whole. */
async function handedToCard(vm: Vm): Promise<number> {
  return Number(
    await vm.namespace
      .runOk(['cat', '/proc/net/dev'])
      .then((text) => /eth0:(?:\s+\d+){9}\s+(\d+)/.exec(text)?.[1]),
  );
}

async function counted(
  network: Network,
  vm: Vm,
): Promise<{ readonly packets: number; readonly bytes: number }> {
  const samples = parseMetrics((await network.hypervisor.get('/metrics')).body);
  const labels = { port: vm.name };
  return {
    packets: sumOf(samples, 'iovn_agent_port_received_packets_total', labels),
    bytes: sumOf(samples, 'iovn_agent_port_received_bytes_total', labels),
  };
}

//   vm1 (veth) ┐
//   vm2 (veth) ┤
//   vm3 (TAP)  ├ sw0
//   vm4 (TAP)  ┘

async function openNetwork(
  t: Parameters<typeof Network.open>[0],
): Promise<{ network: Network; vms: readonly Vm[] }> {
  const network = await Network.open(t);
  const vms: Vm[] = [];
  for (const [index, card] of (['veth', 'veth', 'tap', 'tap'] as const).entries()) {
    const number = index + 1;
    const options = {
      name: `vm${number}`,
      mac: `02:00:00:00:00:0${number}`,
      ip: `10.0.0.${number}/24`,
      card,
    };
    const vm = await Vm.create(network.bed, network.hypervisor, options);
    await network.addPort(vm);
    await network.hypervisor.plug(vm.tap, vm.name);
    vms.push(vm);
  }
  await network.sync();
  return { network, vms };
}

test.serial('GSO packets pass whole between veths and TAPs, and are counted as their segments', async (t) => {
  const { network, vms } = await openNetwork(t);
  const [veth1, veth2, tap1, tap2] = vms;
  if (!veth1 || !veth2 || !tap1 || !tap2) throw new Error('four VMs were made');
  for (const [from, to] of [
    [veth1, veth2],
    [veth1, tap1],
    [tap1, tap2],
    [tap1, veth1],
  ] as const) {
    const path = `${from.name} to ${to.name}`;
    await from.canReach(to.address);
    const before = { card: await handedToCard(from), ...(await counted(network, from)) };
    const [sent, received] = await transfer(network, from, to);
    t.is(received, sent, path);
    const after = { card: await handedToCard(from), ...(await counted(network, from)) };
    const packets = after.packets - before.packets;
    const whole = after.card - before.card;
    t.log(`${path}: ${whole} packets handed over, counted as ${packets}`);
    t.true(packets >= bulkBytes / (1514 - headerBytes), `${path}: ${packets} segments`);
    t.true(packets > 4 * whole, `${path}: ${whole} packets from the stack, ${packets} counted`);
    t.true(after.bytes - before.bytes > bulkBytes);
  }
});

test.serial('jumbo frames pass between veths and TAPs', async (t) => {
  const { vms } = await openNetwork(t);
  for (const vm of vms) {
    await vm.namespace.ip('link', 'set', 'eth0', 'mtu', '9000');
    await vm.hypervisor.namespace.ip('link', 'set', vm.tap, 'mtu', '9000');
  }
  const [veth1, veth2, tap1, tap2] = vms;
  if (!veth1 || !veth2 || !tap1 || !tap2) throw new Error('four VMs were made');
  for (const [from, to] of [
    [veth1, veth2],
    [veth1, tap1],
    [tap1, tap2],
  ] as const) {
    await from.canReach(to.address);
    const output = await from.namespace.runOk([
      'ping',
      '-n',
      '-c',
      '3',
      '-i',
      '0.2',
      '-M',
      'do',
      '-s',
      '8972',
      to.address,
    ]);
    t.regex(output, / 3 received/, `${from.name} to ${to.name}`);
  }
});
