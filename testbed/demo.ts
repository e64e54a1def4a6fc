// The main job, told step by step: OVN's control plane, two VMs, eBPF underneath. Ends with status 1 when a step does
// not hold. Everything happens in network namespaces and a folder of its own, which are gone afterwards.
import { errorMessage, IovnError } from '../common/errors.js';
import { OvnCentral } from './central.js';
import { Controller, controllerAddress } from './controller.js';
import { Hypervisor } from './hypervisor.js';
import { parseMetrics } from './metrics.js';
import { Narrator } from './narrator.js';
import { runOk } from './process.js';
import { Testbed } from './testbed.js';
import { type PingResult, Vm } from './vm.js';
import { waitFor } from './wait.js';

const tell = new Narrator();

interface Network {
  readonly central: OvnCentral;
  readonly controller: Controller;
  readonly hypervisor: Hypervisor;
  readonly vm1: Vm;
  readonly vm2: Vm;
}

function expect(holds: boolean, text: string): void {
  if (!holds) throw new IovnError('demo_failed', text);
  tell.holds(text);
}

async function nbctl({ central }: Pick<Network, 'central'>, ...args: string[]): Promise<string> {
  tell.command('central', `ovn-nbctl ${args.map(quoted).join(' ')}`);
  const output = await central.nbctl(...args);
  tell.output(output);
  return output;
}

async function iovn({ controller }: Network, ...args: string[]): Promise<void> {
  tell.command('central', `iovn ${args.join(' ')} --insecure`);
  const { status, stdout, stderr } = await controller.iovn(...args);
  tell.output(stdout + stderr);
  if (status !== 0) throw new IovnError('demo_failed', `iovn ${args.join(' ')} ended with status ${status}`);
}

async function ping(from: Vm, target: string): Promise<PingResult> {
  tell.command(from.name, `ping -c 3 ${target}`);
  const result = await from.ping(target, { count: 3 });
  tell.output(`${result.sent} packets transmitted, ${result.received} received`);
  return result;
}

function quoted(word: string): string {
  return /[\s:]/.test(word) ? `"${word}"` : word;
}

async function startControlPlane(bed: Testbed): Promise<Pick<Network, 'central' | 'controller'>> {
  const [version = ''] = (await runOk(['ovn-nbctl', '--version'])).split('\n');
  tell.step(`OVN as it is: both databases and ovn-northd (${version.replace('ovn-nbctl ', 'OVN ')})`);
  const central = await OvnCentral.create(bed);
  tell.holds('two ovsdb-server and ovn-northd are running');

  tell.step('One iovn-controller beside northd');
  const controller = new Controller(bed, central);
  tell.command(
    'central',
    'iovn-controller --nb unix:nb.sock --sb unix:sb.sock --listen 0.0.0.0:6650 --insecure &',
  );
  await controller.start();
  tell.holds('it has read both databases');
  return { central, controller };
}

async function startHypervisor(bed: Testbed, central: OvnCentral): Promise<Hypervisor> {
  tell.step('A hypervisor with the Open_vSwitch database and iovn-agent; no ovs-vswitchd, no ovn-controller');
  const hypervisor = await Hypervisor.create(bed, central, { name: 'hv1' });
  tell.command('hv1', `iovn-agent --ovsdb unix:ovs.sock --controller ${controllerAddress} --insecure &`);
  await hypervisor.startAgent();
  tell.command('central', 'ovn-sbctl --columns=name,hostname list Chassis');
  const chassis = await central.sbctl('--columns=name,hostname', 'list', 'Chassis');
  tell.output(chassis);
  expect(/^name +: "?hv1"?$/m.test(chassis), 'it is a chassis of OVN');
  return hypervisor;
}

async function plugIn(network: Network): Promise<void> {
  const { hypervisor, vm1, vm2 } = network;
  tell.step('A logical switch with two ports, and port security');
  await nbctl(network, 'ls-add', 'sw0');
  for (const vm of [vm1, vm2]) {
    const addresses = `${vm.mac} ${vm.address}`;
    await nbctl(network, 'lsp-add', 'sw0', vm.name);
    await nbctl(network, 'lsp-set-addresses', vm.name, addresses);
    await nbctl(network, 'lsp-set-port-security', vm.name, addresses);
  }

  tell.step('The taps of the VMs are plugged in, as os-vif and libvirt do it');
  for (const vm of [vm1, vm2]) {
    const row = `set Interface ${vm.tap} external_ids:iface-id=${vm.name}`;
    tell.command('hv1', `ovs-vsctl add-port br-int ${vm.tap} -- ${row}`);
    const elapsedMs = await hypervisor.plug(vm.tap, vm.name);
    expect(elapsedMs < 2000, `ovs-vsctl returned after ${elapsedMs.toFixed(0)} ms, without ovs-vswitchd`);
  }
  await nbctl(network, '--wait=hv', 'sync');
  for (const vm of [vm1, vm2]) {
    const up = await nbctl(network, 'get', 'Logical_Switch_Port', vm.name, 'up');
    expect(up === 'true', `port ${vm.name} is up`);
  }
}

async function showTraffic(network: Network): Promise<void> {
  const { vm1, vm2 } = network;
  tell.step('The VMs talk, through eBPF at the tc hooks of their taps');
  const there = await ping(vm1, vm2.address);
  expect(there.received === 3, 'every ping is answered, the first one, too');
  const back = await ping(vm2, vm1.address);
  expect(back.received === 3, 'the other way round as well');

  tell.step('What an operator sees');
  await iovn(network, 'status');
  await iovn(network, 'ports');
  await iovn(network, 'node', 'show', 'hv1');
}

/** Port security's drops of packets from a port, by reason. */
async function portSecurityDrops(hypervisor: Hypervisor, port: string): Promise<ReadonlyMap<string, number>> {
  const samples = parseMetrics((await hypervisor.get('/metrics')).body);
  return new Map(
    samples
      .filter(({ name, labels }) => name.endsWith('port_dropped_packets_total') && labels['port'] === port)
      .map(({ labels, value }) => [labels['reason'] ?? '', value] as const)
      .filter(([reason]) => reason.startsWith('port_security')),
  );
}

async function showPortSecurity({ hypervisor, vm1, vm2 }: Network): Promise<void> {
  tell.step("Somebody changes VM2's address by hand: port security stops it");
  const wrong = '10.0.0.99';
  tell.command('vm2', `ip addr flush dev eth0; ip addr add ${wrong}/24 dev eth0`);
  await vm2.changeAddress(`${wrong}/24`);
  expect((await ping(vm2, vm1.address)).received === 0, 'no ping comes through');
  expect((await ping(vm1, wrong)).received === 0, 'nor does one reach it under its new address');
  tell.command('hv1', 'curl -s 127.0.0.1:9651/metrics | grep \'dropped.*port="vm2"\'');
  const drops = await portSecurityDrops(hypervisor, 'vm2');
  for (const [reason, count] of drops) tell.output(`${reason} ${count}`);
  expect(drops.size > 0, 'every dropped packet is counted with its reason');

  tell.step('The address is put back');
  tell.command('vm2', `ip addr flush dev eth0; ip addr add ${vm2.address}/24 dev eth0`);
  await vm2.changeAddress(`${vm2.address}/24`);
  await vm2.canReach(vm1.address);
  expect((await ping(vm1, vm2.address)).received === 3, 'the ping works again');
}

async function showCrash({ hypervisor, vm1, vm2 }: Network): Promise<void> {
  tell.step('The agent is killed while a ping runs');
  tell.command('vm1', `ping -i 0.02 ${vm2.address} &`);
  const running = vm1.startPing(vm2.address, 20);
  await running.more(20);
  tell.command('hv1', 'kill -9 $(pidof iovn-agent)');
  await hypervisor.agent.kill();
  await running.more(50);
  tell.command('hv1', 'iovn-agent … &');
  await hypervisor.startAgent();
  await running.more(50);
  const { sent, received } = await running.stop();
  expect(sent === received, `${sent} packets sent, ${received} received: the kernel goes on by itself`);
}

async function showUnplug(network: Network): Promise<void> {
  const { central, hypervisor, vm2 } = network;
  tell.step('VM2 is shut down');
  tell.command('hv1', `ovs-vsctl del-port br-int ${vm2.tap}`);
  await hypervisor.unplug(vm2.tap);
  const isDown = async () => (await central.nbctl('get', 'Logical_Switch_Port', vm2.name, 'up')) === 'false';
  await waitFor(`port ${vm2.name} goes down`, isDown);
  await nbctl(network, 'get', 'Logical_Switch_Port', vm2.name, 'up');
  tell.holds(`port ${vm2.name} is down`);
}

async function demo(bed: Testbed): Promise<void> {
  const { central, controller } = await startControlPlane(bed);
  const hypervisor = await startHypervisor(bed, central);
  const vm1 = await Vm.create(bed, hypervisor, { name: 'vm1', mac: '02:00:00:00:00:01', ip: '10.0.0.1/24' });
  const vm2 = await Vm.create(bed, hypervisor, { name: 'vm2', mac: '02:00:00:00:00:02', ip: '10.0.0.2/24' });
  const network = { central, controller, hypervisor, vm1, vm2 };
  await plugIn(network);
  await showTraffic(network);
  await showPortSecurity(network);
  await showCrash(network);
  await showUnplug(network);
}

async function main(): Promise<number> {
  tell.title(
    'IOVisor-OVN: an OVN network carried by eBPF. Machines here are network namespaces of this one.',
  );
  const startMs = performance.now();
  const bed = await Testbed.open();
  const interrupted = new Promise<never>((_resolve, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => reject(new IovnError('interrupted', `interrupted by ${signal}`)));
    }
  });
  let status = 0;
  try {
    await Promise.race([demo(bed), interrupted]);
  } catch (error) {
    status = error instanceof IovnError && error.code === 'interrupted' ? 130 : 1;
    tell.fails(errorMessage(error));
    if (status === 1) process.stderr.write(`${bed.logs()}\n`);
  }
  tell.step('Cleaning up: daemons, namespaces, pinned eBPF objects, files');
  await bed.close();
  const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
  tell.title(status === 0 ? `\nEvery step held. ${seconds} s.` : '\nThe demo did not get through.');
  return status;
}

process.exit(await main());
