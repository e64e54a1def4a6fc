import { existsSync, rmSync } from 'node:fs';

import type { OvnCentral } from './central.js';
import type { NetworkNamespace } from './namespace.js';
import { NodeAgent } from './node-agent.js';
import { type Daemon, runOk } from './process.js';
import type { Testbed } from './testbed.js';
import { connectToUnderlay } from './underlay.js';
import { patience, waitFor } from './wait.js';

export interface HypervisorOptions {
  /** Chassis name and hostname. */
  readonly name: string;
  /** 1..200; decides its underlay address. */
  readonly index?: number;
  readonly agentArgs?: readonly string[];
  /** external_ids:ovn-encap-type, "geneve" where it is not given. */
  readonly encapType?: string;
}

/** A hypervisor: a namespace with its own Open_vSwitch database and iovn-agent, and without ovs-vswitchd. */
export class Hypervisor extends NodeAgent {
  readonly ovsdb: Daemon;
  readonly #bed: Testbed;

  private constructor(bed: Testbed, namespace: NetworkNamespace, options: HypervisorOptions) {
    super(bed, { ...options, namespace, remote: `unix:${bed.file(`${options.name}-ovs.sock`)}` });
    this.#bed = bed;
    this.ovsdb = bed.daemon({
      name: `${options.name}-ovsdb`,
      command: namespace.command([
        'ovsdb-server',
        this.#file('conf.db'),
        `--remote=punix:${this.#file('ovs.sock')}`,
        `--unixctl=${this.#file('ovs.ctl')}`,
        '-vconsole:warn',
        '-vsyslog:off',
        '-vfile:off',
      ]),
      env: { OVS_RUNDIR: bed.folder, OVS_DBDIR: bed.folder },
    });
  }

  /** Makes the namespace, connects it with the central one, and starts its database; the agent is not started. */
  static async create(bed: Testbed, central: OvnCentral, options: HypervisorOptions): Promise<Hypervisor> {
    const { name, index = 1, encapType = 'geneve' } = options;
    const namespace = await bed.namespace(name);
    const address = await connectToUnderlay(central, namespace, name, index);
    const hypervisor = new Hypervisor(bed, namespace, options);
    await runOk([
      'ovsdb-tool',
      'create',
      hypervisor.#file('conf.db'),
      '/usr/share/openvswitch/vswitch.ovsschema',
    ]);
    await hypervisor.startDatabase();
    const encap = { 'ovn-encap-type': encapType, 'ovn-encap-ip': address };
    await hypervisor.vsctl('--no-wait', 'init');
    await hypervisor.configure({ 'system-id': name, hostname: name, ...encap });
    await hypervisor.vsctl('--no-wait', 'add-br', 'br-int');
    return hypervisor;
  }

  async startDatabase(): Promise<void> {
    rmSync(this.#file('ovs.sock'), { force: true });
    this.ovsdb.start();
    await waitFor(`the database of ${this.name} listens`, () => existsSync(this.#file('ovs.sock')));
  }

  /** Sets Open_vSwitch.external_ids. */
  async configure(ids: Readonly<Record<string, string>>): Promise<void> {
    const settings = Object.entries(ids).map(([key, value]) => `external_ids:${key}="${value}"`);
    await this.vsctl('--no-wait', 'set', 'Open_vSwitch', '.', ...settings);
  }

  /** ovs-vsctl; returns what it printed, without the white space around it. */
  async vsctl(...args: string[]): Promise<string> {
    return (await runOk(['ovs-vsctl', `--db=${this.remote}`, `--timeout=${20 * patience}`, ...args])).trim();
  }

  /** `ovs-vsctl add-port` as os-vif does it, waiting for the agent's answer; returns the time it took. */
  async plug(netdev: string, ifaceId: string): Promise<number> {
    const startMs = performance.now();
    await this.vsctl(
      ...['add-port', 'br-int', netdev, '--'],
      ...['set', 'Interface', netdev, `external_ids:iface-id=${ifaceId}`],
    );
    return performance.now() - startMs;
  }

  async unplug(netdev: string): Promise<void> {
    await this.vsctl('--if-exists', 'del-port', 'br-int', netdev);
  }

  /** A column of an Interface row, as ovs-vsctl prints it. */
  interfaceColumn(netdev: string, column: string): Promise<string> {
    return this.vsctl('get', 'Interface', netdev, column);
  }

  #file(name: string): string {
    return this.#bed.file(`${this.name}-${name}`);
  }
}
