import type { ExecutionContext } from 'ava';

import { OvnCentral } from '../../testbed/central.js';
import { Controller } from '../../testbed/controller.js';
import { Hypervisor, type HypervisorOptions } from '../../testbed/hypervisor.js';
import { Testbed } from '../../testbed/testbed.js';
import { Vm } from '../../testbed/vm.js';
import type { VmHost } from '../../testbed/vm-host.js';
import { waitFor } from '../../testbed/wait.js';

/** A testbed that is gone after the test; the logs of its daemons are printed when the test fails. */
export async function openTestbed(t: ExecutionContext): Promise<Testbed> {
  const bed = await Testbed.open();
  t.teardown(async () => {
    if (!t.passed) t.log(bed.logs());
    await bed.close();
  });
  return bed;
}

export interface NetworkOptions {
  readonly agentArgs?: readonly string[];
  readonly encapType?: string;
}

/** OVN, one controller and one hypervisor with a running agent. */
export class Network {
  readonly bed: Testbed;
  readonly central: OvnCentral;
  readonly controller: Controller;
  readonly hypervisor: Hypervisor;

  constructor(bed: Testbed, central: OvnCentral, controller: Controller, hypervisor: Hypervisor) {
    this.bed = bed;
    this.central = central;
    this.controller = controller;
    this.hypervisor = hypervisor;
  }

  static async open(t: ExecutionContext, options: NetworkOptions = {}): Promise<Network> {
    const bed = await openTestbed(t);
    const central = await OvnCentral.create(bed);
    const controller = new Controller(bed, central);
    await controller.start();
    const hypervisor = await Hypervisor.create(bed, central, { name: 'hv1', ...options });
    await hypervisor.startAgent();
    return new Network(bed, central, controller, hypervisor);
  }

  /** Another hypervisor with a running agent: number 2 is `hv2`. */
  async addHypervisor(number: number, options: Partial<HypervisorOptions> = {}): Promise<Hypervisor> {
    const parts = { name: `hv${number}`, index: number, ...options };
    const hypervisor = await Hypervisor.create(this.bed, this.central, parts);
    await hypervisor.startAgent();
    return hypervisor;
  }

  /** A VM that is not plugged in: number 7 is `vm7` with 02:00:00:00:00:07 and 10.0.0.7/24. */
  createVm(number: number, hypervisor: VmHost = this.hypervisor): Promise<Vm> {
    const mac = `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`;
    return Vm.create(this.bed, hypervisor, { name: `vm${number}`, mac, ip: `10.0.0.${number}/24` });
  }

  /** A logical port of the VM's name on `sw0`, which is made when it is missing; with port security for its addresses. */
  async addPort(vm: Vm, { portSecurity = true } = {}): Promise<void> {
    const addresses = `${vm.mac} ${vm.address}`;
    await this.central.nbctl(
      ...['--may-exist', 'ls-add', 'sw0', '--', 'lsp-add', 'sw0', vm.name],
      ...['--', 'lsp-set-addresses', vm.name, addresses],
      ...(portSecurity ? ['--', 'lsp-set-port-security', vm.name, addresses] : []),
    );
  }

  /** A VM on a hypervisor, its port made and plugged in. */
  async plugVm(
    number: number,
    hypervisor: VmHost,
    options: { readonly portSecurity?: boolean } = {},
  ): Promise<Vm> {
    const vm = await this.createVm(number, hypervisor);
    await this.addPort(vm, options);
    await hypervisor.plug(vm.tap, vm.name);
    return vm;
  }

  /** VMs with these numbers, their ports made and plugged in, everything in place. */
  async plugVms(...numbers: number[]): Promise<readonly Vm[]> {
    const vms: Vm[] = [];
    for (const number of numbers) {
      const vm = await this.createVm(number);
      await this.addPort(vm);
      await this.hypervisor.plug(vm.tap, vm.name);
      vms.push(vm);
    }
    await this.sync();
    return vms;
  }

  /** ovn-nbctl --wait=hv sync */
  async sync(): Promise<void> {
    await this.central.nbctl('--wait=hv', 'sync');
  }

  async waitUp(port: string, up = true): Promise<void> {
    const asWanted = async () =>
      (await this.central.nbctl('get', 'Logical_Switch_Port', port, 'up')) === String(up);
    await waitFor(`${port} is ${up ? 'up' : 'down'} in NB`, asWanted);
  }
}

/** Two VMs that reach each other. */
export async function openPair(
  t: ExecutionContext,
  options: NetworkOptions = {},
): Promise<{ readonly network: Network; readonly vm1: Vm; readonly vm2: Vm }> {
  const network = await Network.open(t, options);
  const [vm1, vm2] = await network.plugVms(1, 2);
  if (vm1 === undefined || vm2 === undefined) throw new Error('plugVms gave too few');
  return { network, vm1, vm2 };
}
