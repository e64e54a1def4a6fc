import { existsSync, mkdirSync } from 'node:fs';

import type { OvnCentral } from './central.js';
import type { NetworkNamespace } from './namespace.js';
import { type Daemon, runOk } from './process.js';
import type { Testbed } from './testbed.js';
import { connectToUnderlay, underlayBridge as centralBridge, underlayInterface } from './underlay.js';
import type { VmHost } from './vm-host.js';
import { patience, waitFor } from './wait.js';

/** The bridge through which Open vSwitch's own datapath reaches the underlay; it has the tunnel endpoint's address. */
const underlayBridge = 'br-phys';

export interface VanillaOptions {
  /** Chassis name and hostname. */
  readonly name: string;
  /** 1..200; decides its underlay address. */
  readonly index: number;
  /** external_ids:ovn-encap-type, "geneve" where it is not given. */
  readonly encapType?: string;
  /** Bridge.datapath_type: Open vSwitch's own datapath in userspace, which works everywhere, or its kernel module. */
  readonly datapath?: 'netdev' | 'system';
}

/** What a NIC does elsewhere: Open vSwitch's own datapath takes frames as they are, and so must whoever sends to it. */
export async function fillInChecksums(namespace: NetworkNamespace, device: string): Promise<void> {
  await namespace.runOk(['ethtool', '-K', device, 'tx', 'off']);
}

/**
 * A hypervisor as OVN makes it: ovsdb-server, ovs-vswitchd and ovn-controller in a namespace, unless told otherwise with Open
 * vSwitch's userspace datapath. That one reads frames as they are, so checksums must be filled in by whoever sends them.
 */
export class VanillaHypervisor implements VmHost {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  readonly folder: string;
  readonly #address: string;
  readonly #datapath: 'netdev' | 'system';
  readonly #database: Daemon;
  readonly #vswitchd: Daemon;
  readonly #controller: Daemon;

  private constructor(
    bed: Testbed,
    namespace: NetworkNamespace,
    address: string,
    { name, datapath = 'netdev' }: VanillaOptions,
  ) {
    this.name = name;
    this.#datapath = datapath;
    this.namespace = namespace;
    this.#address = address;
    this.folder = bed.file(name);
    const quiet = ['-vconsole:warn', '-vsyslog:off', '-vfile:off'];
    const daemon = (program: string, ...args: string[]): Daemon =>
      bed.daemon({
        name: `${name}-${program}`,
        command: namespace.command([program, ...args, '--pidfile', ...quiet]),
        env: this.#env,
      });
    this.#database = daemon('ovsdb-server', this.#file('conf.db'), `--remote=punix:${this.#file('db.sock')}`);
    this.#vswitchd = daemon('ovs-vswitchd', this.remote, ...(this.#isInKernel ? [] : ['--disable-system']));
    this.#controller = daemon('ovn-controller', this.remote);
  }

  static async create(
    bed: Testbed,
    central: OvnCentral,
    options: VanillaOptions,
  ): Promise<VanillaHypervisor> {
    const { name, index, encapType = 'geneve' } = options;
    const namespace = await bed.namespace(name);
    const address = await connectToUnderlay(central, namespace, name, index);
    await fillInChecksums(central.namespace, centralBridge);
    const hypervisor = new VanillaHypervisor(bed, namespace, address, options);
    mkdirSync(hypervisor.folder);
    await runOk([
      'ovsdb-tool',
      'create',
      hypervisor.#file('conf.db'),
      '/usr/share/openvswitch/vswitch.ovsschema',
    ]);
    hypervisor.#database.start();
    await waitFor(`the database of ${name} listens`, () => existsSync(hypervisor.#file('db.sock')));
    await hypervisor.vsctl('--no-wait', 'init');
    await hypervisor.#configure(central, encapType);
    await hypervisor.#makeBridges();
    await hypervisor.start();
    await waitFor(`chassis ${name} is registered`, async () =>
      (await central.sbctl('--columns=name', 'find', 'Chassis', `name=${name}`)).includes(name),
    );
    return hypervisor;
  }

  /** Starts Open vSwitch and ovn-controller on the database that is there. */
  async start(): Promise<void> {
    this.#vswitchd.start();
    if (!this.#isInKernel) await this.#moveToBridge();
    this.#controller.start();
  }

  /** Ends ovn-controller; with `--restart` its rows, its claims and its flows stay. */
  async stopController(...flags: readonly '--restart'[]): Promise<void> {
    await runOk(['ovn-appctl', '-t', 'ovn-controller', 'exit', ...flags], { env: this.#env });
    await this.#controller.ended();
  }

  /** Ends ovs-vswitchd with its datapath. The bridge goes that had the tunnel endpoint's address; the uplink gets it. */
  async stopSwitch(): Promise<void> {
    await runOk(['ovs-appctl', '-t', 'ovs-vswitchd', 'exit', '--cleanup'], { env: this.#env });
    await this.#vswitchd.ended();
    await this.namespace.ip('addr', 'replace', `${this.#address}/24`, 'dev', underlayInterface);
  }

  get remote(): string {
    return `unix:${this.#file('db.sock')}`;
  }

  /** Process id of ovs-vswitchd. */
  get switchPid(): number {
    return this.#vswitchd.pid;
  }

  async vsctl(...args: string[]): Promise<string> {
    return (await runOk(['ovs-vsctl', `--db=${this.remote}`, `--timeout=${20 * patience}`, ...args])).trim();
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

  get #isInKernel(): boolean {
    return this.#datapath === 'system';
  }

  get #env(): Readonly<Record<string, string>> {
    return { OVS_RUNDIR: this.folder, OVN_RUNDIR: this.folder, OVS_DBDIR: this.folder };
  }

  async #configure(central: OvnCentral, encapType: string): Promise<void> {
    const ids = {
      'system-id': this.name,
      hostname: this.name,
      'ovn-remote': central.sb,
      'ovn-encap-type': encapType,
      'ovn-encap-ip': this.#address,
      'ovn-bridge-datapath-type': this.#datapath,
    };
    const settings = Object.entries(ids).map(([key, value]) => `external_ids:${key}="${value}"`);
    await this.vsctl('--no-wait', 'set', 'Open_vSwitch', '.', ...settings);
  }

  async #makeBridges(): Promise<void> {
    const typed = (bridge: string) => ['--', 'set', 'Bridge', bridge, `datapath_type=${this.#datapath}`];
    await this.vsctl('--no-wait', 'add-br', 'br-int', ...typed('br-int'), 'fail_mode=secure');
    if (this.#isInKernel) return;
    await this.vsctl('--no-wait', 'add-br', underlayBridge, ...typed(underlayBridge));
    await this.vsctl('--no-wait', 'add-port', underlayBridge, underlayInterface);
    // Else the kernel answers for the bridge's address with the interface's MAC, and the first packets are lost to it.
    await this.namespace.runOk(['sysctl', '-qw', `net.ipv4.conf.${underlayInterface}.arp_ignore=1`]);
  }

  async #moveToBridge(): Promise<void> {
    await waitFor(
      `${this.name} has ${underlayBridge}`,
      async () => (await this.namespace.run(['ip', 'link', 'show', underlayBridge])).status === 0,
    );
    await this.#moveAddress(underlayInterface, underlayBridge);
    await fillInChecksums(this.namespace, underlayBridge);
  }

  async #moveAddress(from: string, to: string): Promise<void> {
    await this.namespace.ip('addr', 'flush', 'dev', from);
    await this.namespace.ip('addr', 'replace', `${this.#address}/24`, 'dev', to);
    await this.namespace.ip('link', 'set', to, 'up');
  }

  #file(name: string): string {
    return `${this.folder}/${name}`;
  }
}
