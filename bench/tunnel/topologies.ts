import { OvnCentral } from '../../testbed/central.js';
import { Controller } from '../../testbed/controller.js';
import { Hypervisor } from '../../testbed/hypervisor.js';
import type { NetworkNamespace } from '../../testbed/namespace.js';
import type { Testbed } from '../../testbed/testbed.js';
import { connectToUnderlay, makeUnderlay } from '../../testbed/underlay.js';
import { fillInChecksums, VanillaHypervisor } from '../../testbed/vanilla-hypervisor.js';
import { Vm } from '../../testbed/vm.js';
import type { VmHost } from '../../testbed/vm-host.js';

/** Two machines that reach each other somehow. */
export interface Ends {
  readonly from: NetworkNamespace;
  readonly to: NetworkNamespace;
  /** IPv4 of `to`. */
  readonly address: string;
  /** Processes that carry packets, whose CPU time is the topology's. */
  readonly carriers: readonly number[];
}

export interface Topology {
  readonly name: string;
  /** Builds it; everything goes with the testbed. */
  open(bed: Testbed): Promise<Ends>;
}

/** What fits into Geneve over an underlay with 1500: all have it, so that packets are of one size. */
const mtu = '1442';
const numbers = [1, 2] as const;

function addressOf(number: number): string {
  return `10.0.0.${number}`;
}

/** No encapsulation and no second node: the floor. */
export const plainVeth: Topology = {
  name: 'plain veth, one node',
  async open(bed) {
    const [from, to] = [await bed.namespace('vm1'), await bed.namespace('vm2')];
    await from.ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', to.name);
    for (const [index, namespace] of [from, to].entries()) {
      await namespace.ip('addr', 'add', `${addressOf(index + 1)}/24`, 'dev', 'eth0');
      await namespace.ip('link', 'set', 'eth0', 'mtu', mtu, 'up');
    }
    return { from, to, address: addressOf(2), carriers: [] };
  },
};

async function createVm(bed: Testbed, hypervisor: VmHost, number: number): Promise<Vm> {
  const mac = `02:00:00:00:00:0${number}`;
  const vm = await Vm.create(bed, hypervisor, { name: `vm${number}`, mac, ip: `${addressOf(number)}/24` });
  await vm.namespace.ip('link', 'set', 'eth0', 'mtu', mtu);
  return vm;
}

function endsOf(vms: readonly Vm[], carriers: readonly number[] = []): Ends {
  const [from, to] = vms;
  if (from === undefined || to === undefined) throw new Error('a topology has two VMs');
  return { from: from.namespace, to: to.namespace, address: to.address, carriers };
}

/** What a user has without any SDN: a point-to-point tunnel and a bridge. */
export const kernelVxlan: Topology = {
  name: 'kernel VXLAN device and Linux bridge',
  async open(bed) {
    const central = { namespace: await bed.namespace('central') };
    await makeUnderlay(central.namespace);
    const vms: Vm[] = [];
    for (const number of numbers) {
      const namespace = await bed.namespace(`hv${number}`);
      const local = await connectToUnderlay(central, namespace, `hv${number}`, number);
      const remote = local.replace(/\d$/, String(3 - number));
      await namespace.ip('link', 'add', 'br0', 'type', 'bridge');
      await namespace.ip(
        ...['link', 'add', 'vxlan0', 'type', 'vxlan', 'id', '1', 'dstport', '4789'],
        ...['local', local, 'remote', remote],
      );
      for (const device of ['vxlan0', 'br0']) await namespace.ip('link', 'set', device, 'mtu', mtu, 'up');
      await namespace.ip('link', 'set', 'vxlan0', 'master', 'br0');
      const host: VmHost = {
        name: `hv${number}`,
        namespace,
        plug: (netdev) => namespace.ip('link', 'set', netdev, 'master', 'br0'),
        unplug: async (netdev) => {
          await namespace.ip('link', 'set', netdev, 'nomaster');
        },
      };
      const vm = await createVm(bed, host, number);
      await host.plug(vm.tap, vm.name);
      vms.push(vm);
    }
    return endsOf(vms);
  },
};

/** A switch with a VM on each hypervisor, port security on. */
async function plugOvnVms(
  bed: Testbed,
  central: OvnCentral,
  hypervisors: readonly VmHost[],
): Promise<readonly Vm[]> {
  await central.nbctl('ls-add', 'sw0');
  const vms: Vm[] = [];
  for (const [index, hypervisor] of hypervisors.entries()) {
    const vm = await createVm(bed, hypervisor, index + 1);
    const addresses = `${vm.mac} ${vm.address}`;
    await central.nbctl(
      ...['lsp-add', 'sw0', vm.name, '--', 'lsp-set-addresses', vm.name, addresses],
      ...['--', 'lsp-set-port-security', vm.name, addresses],
    );
    await hypervisor.plug(vm.tap, vm.name);
    vms.push(vm);
  }
  await central.nbctl('--wait=hv', 'sync');
  return vms;
}

/** Our agents on both nodes. */
export function ours(encapType: 'geneve' | 'vxlan'): Topology {
  return {
    name: `IOVisor-OVN, ${encapType === 'geneve' ? 'Geneve' : 'VXLAN'}`,
    async open(bed) {
      const central = await OvnCentral.create(bed);
      await new Controller(bed, central).start();
      const hypervisors: Hypervisor[] = [];
      for (const number of numbers) {
        const hypervisor = await Hypervisor.create(bed, central, { name: `hv${number}`, index: number });
        await hypervisor.vsctl(
          '--no-wait',
          ...['set', 'Open_vSwitch', '.', `external_ids:ovn-encap-type=${encapType}`],
        );
        await hypervisor.startAgent();
        hypervisors.push(hypervisor);
      }
      return endsOf(await plugOvnVms(bed, central, hypervisors));
    },
  };
}

/** ovn-controller and Open vSwitch's userspace datapath on both nodes. */
export const vanilla: Topology = {
  name: 'OVN with the userspace datapath, Geneve',
  async open(bed) {
    const central = await OvnCentral.create(bed);
    const hypervisors: VanillaHypervisor[] = [];
    for (const number of numbers) {
      const hypervisor = await VanillaHypervisor.create(bed, central, { name: `hv${number}`, index: number });
      await fillInChecksums(hypervisor.namespace, 'eth0');
      hypervisors.push(hypervisor);
    }
    const vms = await plugOvnVms(bed, central, hypervisors);
    for (const vm of vms) await fillInChecksums(vm.namespace, 'eth0');
    return endsOf(
      vms,
      hypervisors.map((hypervisor) => hypervisor.switchPid),
    );
  },
};
