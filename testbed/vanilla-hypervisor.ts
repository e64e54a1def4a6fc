import { existsSync, mkdirSync } from 'node:fs';

import type { OvnCentral } from './central.js';
import type { NetworkNamespace } from './namespace.js';
import { type Daemon, runOk } from './process.js';
import type { Testbed } from './testbed.js';
import { connectToUnderlay, underlayInterface } from './underlay.js';
import type { VmHost } from './vm-host.js';
import { waitFor } from './wait.js';

/** The bridge through which Open vSwitch's own datapath reaches the underlay; it has the tunnel endpoint's address. */
const underlayBridge = 'br-phys';

export interface VanillaOptions {
  /** Chassis name and hostname. */
  readonly name: string;
  /** 1..200; decides its underlay address. */
  readonly index: number;
  /** external_ids:ovn-encap-type, "geneve" where it is not given. */
  readonly encapType?: string;
}

/**
 * A hypervisor as OVN makes it: ovsdb-server, ovs-vswitchd and ovn-controller in a namespace, with Open vSwitch's
 * userspace datapath. That one reads frames as they are, so checksums must be filled in by whoever sends them.
 */
export class VanillaHypervisor implements VmHost {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  readonly folder: string;
  readonly daemons: readonly Daemon[];

  private constructor(bed: Testbed, namespace: NetworkNamespace, name: string) {
    this.name = name;
    this.namespace = namespace;
    this.folder = bed.file(name);
    const env = { OVS_RUNDIR: this.folder, OVN_RUNDIR: this.folder, OVS_DBDIR: this.folder };
    const quiet = ['-vconsole:warn', '-vsyslog:off', '-vfile:off'];
    const daemon = (label: string, ...command: string[]): Daemon =>
      bed.daemon({ name: `${name}-${label}`, command: namespace.command([...command, ...quiet]), env });
    this.daemons = [
      daemon('ovsdb', 'ovsdb-server', this.#file('conf.db'), `--remote=punix:${this.#file('db.sock')}`),
      daemon('vswitchd', 'ovs-vswitchd', this.remote, '--disable-system'),
      daemon('ovn-controller', 'ovn-controller', this.remote),
    ];
  }

  static async create(
    bed: Testbed,
    central: OvnCentral,
    { name, index, encapType = 'geneve' }: VanillaOptions,
  ): Promise<VanillaHypervisor> {
    const namespace = await bed.namespace(name);
    const address = await connectToUnderlay(central, namespace, name, index);
    const hypervisor = new VanillaHypervisor(bed, namespace, name);
    mkdirSync(hypervisor.folder);
    await runOk([
      'ovsdb-tool',
      'create',
      hypervisor.#file('conf.db'),
      '/usr/share/openvswitch/vswitch.ovsschema',
    ]);
    const [database, vswitchd, controller] = hypervisor.daemons;
    database?.start();
    await waitFor(`the database of ${name} listens`, () => existsSync(hypervisor.#file('db.sock')));
    await hypervisor.vsctl('--no-wait', 'init');
    await hypervisor.#configure(central, address, encapType);
    vswitchd?.start();
    await hypervisor.#makeBridges(address);
    controller?.start();
    await waitFor(`chassis ${name} is registered`, async () =>
      (await central.sbctl('--columns=name', 'find', 'Chassis', `name=${name}`)).includes(name),
    );
    return hypervisor;
  }

  get remote(): string {
    return `unix:${this.#file('db.sock')}`;
  }

  async vsctl(...args: string[]): Promise<string> {
    return (await runOk(['ovs-vsctl', `--db=${this.remote}`, '--timeout=20', ...args])).trim();
  }

  /** The VM's end gets no checksum offload: see above. */
  async plug(netdev: string, ifaceId: string): Promise<void> {
    await this.vsctl(
      ...['add-port', 'br-int', netdev, '--'],
      ...['set', 'Interface', netdev, `external_ids:iface-id=${ifaceId}`],
    );
  }

  async unplug(netdev: string): Promise<void> {
    await this.vsctl('--if-exists', 'del-port', 'br-int', netdev);
  }

  async #configure(central: OvnCentral, address: string, encapType: string): Promise<void> {
    const ids = {
      'system-id': this.name,
      hostname: this.name,
      'ovn-remote': central.sb,
      'ovn-encap-type': encapType,
      'ovn-encap-ip': address,
      'ovn-bridge-datapath-type': 'netdev',
    };
    const settings = Object.entries(ids).map(([key, value]) => `external_ids:${key}="${value}"`);
    await this.vsctl('--no-wait', 'set', 'Open_vSwitch', '.', ...settings);
  }

  async #makeBridges(address: string): Promise<void> {
    const netdev = (bridge: string) => ['--', 'set', 'Bridge', bridge, 'datapath_type=netdev'];
    await this.vsctl('--may-exist', 'add-br', 'br-int', ...netdev('br-int'), 'fail_mode=secure');
    await this.vsctl('add-br', underlayBridge, ...netdev(underlayBridge));
    await this.vsctl('add-port', underlayBridge, underlayInterface);
    await this.namespace.ip('addr', 'flush', 'dev', underlayInterface);
    await this.namespace.ip('addr', 'add', `${address}/24`, 'dev', underlayBridge);
    await this.namespace.ip('link', 'set', underlayBridge, 'up');
  }

  #file(name: string): string {
    return `${this.folder}/${name}`;
  }
}
