import type { ExecutionContext } from 'ava';

import type { Hypervisor } from '../../testbed/hypervisor.js';
import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import type { Vm } from '../../testbed/vm.js';
import { Network } from './network.js';

interface TwoOptions {
  readonly portSecurity?: boolean;
  /** external_ids:ovn-encap-type of each. */
  readonly encapTypes?: readonly [string, string];
  /** Of the agent of each. */
  readonly agentArgs?: readonly [readonly string[], readonly string[]];
}

/** Two hypervisors with a VM each, which reach each other. */
export async function openTwo(t: ExecutionContext, options: TwoOptions = {}) {
  const [encapType, second] = options.encapTypes ?? ['geneve', 'geneve'];
  const [firstArgs, secondArgs] = options.agentArgs ?? [[], []];
  const network = await Network.open(t, { encapType, agentArgs: firstArgs });
  const hv1 = network.hypervisor;
  const hv2 = await network.addHypervisor(2, { encapType: second, agentArgs: secondArgs });
  const vm1 = await network.plugVm(1, hv1, options);
  const vm2 = await network.plugVm(2, hv2, options);
  await network.sync();
  await vm1.canReach(vm2.address);
  await vm2.canReach(vm1.address);
  return { network, hv1, hv2, vm1, vm2 };
}

/** Packets that the node has dropped for the reason, with and without a port. */
export async function drops(hypervisor: Hypervisor, reason: string): Promise<number> {
  const samples = parseMetrics((await hypervisor.get('/metrics')).body);
  const names = ['iovn_agent_port_dropped_packets_total', 'iovn_agent_dropped_packets_without_port_total'];
  return names.reduce((sum, name) => sum + sumOf(samples, name, { reason }), 0);
}

/** Checksum offload of the VM's or hypervisor's eth0. */
export function setOffload(vm: { readonly namespace: Vm['namespace'] }, on: boolean): Promise<string> {
  return vm.namespace.runOk(['ethtool', '-K', 'eth0', 'tx', on ? 'on' : 'off']);
}

/** Gives the VM an IPv6 address, and its port. */
export async function addIp6(vm: Vm, network: Network): Promise<string> {
  const address = `fd00::${vm.name.replace(/\D/g, '')}`;
  await vm.namespace.runOk(['sysctl', '-qw', 'net.ipv6.conf.eth0.disable_ipv6=0']);
  await vm.namespace.ip('addr', 'add', `${address}/64`, 'dev', 'eth0', 'nodad');
  await network.central.nbctl('lsp-set-addresses', vm.name, `${vm.mac} ${vm.address} ${address}`);
  await network.central.nbctl('lsp-set-port-security', vm.name, `${vm.mac} ${vm.address} ${address}`);
  return address;
}

/** Gives each hypervisor an IPv6 address on the underlay, 2001:db8::1 and so on, which becomes its tunnel endpoint. */
export async function addUnderlayIp6(...hypervisors: readonly Hypervisor[]): Promise<void> {
  for (const [index, hv] of hypervisors.entries()) {
    await hv.namespace.runOk(['sysctl', '-qw', 'net.ipv6.conf.eth0.disable_ipv6=0']);
    await hv.namespace.ip('addr', 'add', `2001:db8::${index + 1}/64`, 'dev', 'eth0', 'nodad');
  }
  for (const [index, hv] of hypervisors.entries()) {
    await hv.configure({ 'ovn-encap-ip': `2001:db8::${index + 1}` });
  }
}

/** TCP segments with a wrong checksum that the VM has received. */
export async function checksumErrors(vm: Vm): Promise<number> {
  const [, values = ''] = (await vm.namespace.runOk(['cat', '/proc/net/snmp']))
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'));
  return Number(values.split(' ').at(-1));
}
