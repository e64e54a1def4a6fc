import { errorMessage, IovnError } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import { DatabaseWriter } from './database-writer.js';
import type { Devices } from '../links.js';
import type { KernelProgress, LocalNode, NodeState } from '../local-node.js';
import { findUplinks } from './bridge-mappings.js';
import { readVifInterfaces } from './interfaces.js';
import { type NewPair, planInternalDevices } from './internal-devices.js';
import { readNodeConfig } from './node-config.js';
import type { VswitchDatabase } from './tables.js';
import { readTopology, type Topology } from './topology.js';

export interface VswitchNodeOptions {
  readonly database: VswitchDatabase;
  readonly devices: Devices;
  readonly osHostname: string;
  readonly log: Logger;
}

/** A pair that was made a moment ago may not have been notified yet. */
function createUnlessThere(devices: Devices, { name, attachEnd, mac }: NewPair): void {
  try {
    devices.createVeth(name, attachEnd, mac);
  } catch (error) {
    if (!(error instanceof IovnError) || error.code !== 'kernel_exists') throw error;
  }
}

/** A hypervisor as its Open_vSwitch database describes it, which must have been read. */
export class VswitchNode implements LocalNode {
  readonly #options: VswitchNodeOptions;
  readonly #writer: DatabaseWriter;

  constructor(options: VswitchNodeOptions) {
    this.#options = options;
    this.#writer = new DatabaseWriter(options.database, options.log);
  }

  get actsForVswitchd(): boolean {
    return this.#writer.actsForVswitchd;
  }

  onChange(listener: () => void): () => void {
    const { database } = this.#options;
    const subscriptions = [
      database.onUpdate(listener),
      database.onStatus(listener),
      this.#writer.onChange(listener),
    ];
    return () => {
      for (const unsubscribe of subscriptions) unsubscribe();
    };
  }

  read(): NodeState {
    const { database, devices, osHostname } = this.#options;
    const topology = readTopology(database.tables);
    const config = readNodeConfig(topology, osHostname);
    /* A device that was made before its row was written has been notified: it must not be taken for missing. */
    devices.refresh();
    const deviceProblems = this.#makeDevices(topology);
    const { bridgeMappings, integrationBridge } = config;
    return {
      config,
      interfaces: readVifInterfaces(topology, integrationBridge, devices.links),
      uplinks: findUplinks(bridgeMappings, topology, integrationBridge, devices.links),
      deviceProblems,
    };
  }

  async report({ interfaces }: NodeState, known: KernelProgress, nowMs: number): Promise<boolean> {
    const { database, devices, osHostname } = this.#options;
    const topology = readTopology(database.tables);
    const config = readNodeConfig(topology, osHostname);
    return this.#writer.write({ topology, config, links: devices.links, interfaces, ...known, nowMs });
  }

  /** Devices for the interfaces of type internal. Those made here are known, and set up, when it returns. */
  #makeDevices(topology: Topology): ReadonlyMap<string, string> {
    const { devices, log } = this.#options;
    const problems = new Map<string, string>();
    const attempt = (name: string, action: () => void): void => {
      try {
        action();
      } catch (error) {
        problems.set(name, errorMessage(error));
      }
    };
    const { create } = planInternalDevices(topology, devices.links);
    for (const pair of create) {
      const { name, attachEnd } = pair;
      log.info('making the device of an interface of type internal', { interface: name, attachEnd });
      attempt(name, () => createUnlessThere(devices, pair));
    }
    if (create.length > 0) devices.refresh();
    const { setUp, remove } = planInternalDevices(topology, devices.links);
    for (const { name, ifindex } of setUp) attempt(name, () => devices.setUp(ifindex));
    for (const { name, ifindex } of remove) attempt(name, () => devices.deleteLink(ifindex));
    return problems;
  }
}
