import { fillInChecksums, VanillaHypervisor } from '../../testbed/vanilla-hypervisor.js';
import type { Vm } from '../../testbed/vm.js';
import type { VmHost } from '../../testbed/vm-host.js';
import type { Network } from './network.js';

/** What goes into a Geneve tunnel over an underlay with 1500. */
const tunnelMtu = 1442;

/** A hypervisor of OVN's own in the network: number 2 is `hv2`. */
export function addVanilla(network: Network, number: number): Promise<VanillaHypervisor> {
  return VanillaHypervisor.create(network.bed, network.central, { name: `hv${number}`, index: number });
}

/** A VM that can live on either kind: its frames have checksums, and what a guest's DHCP lease says of the MTU. */
export async function plugMovableVm(
  network: Network,
  number: number,
  hypervisor: VmHost,
  options: { readonly portSecurity?: boolean } = {},
): Promise<Vm> {
  const vm = await network.plugVm(number, hypervisor, options);
  await fillInChecksums(vm.namespace, 'eth0');
  await vm.namespace.ip('link', 'set', 'eth0', 'mtu', String(tunnelMtu));
  return vm;
}

/** Port_Binding.tunnel_key */
export async function portKey({ central }: Network, port: string): Promise<number> {
  return Number(
    await central.sbctl('--bare', '--columns=tunnel_key', 'find', 'Port_Binding', `logical_port=${port}`),
  );
}
