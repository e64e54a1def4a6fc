import type { Ifindex } from '../common/addresses.js';
import { errorMessage } from '../common/errors.js';
import type { Devices } from './links.js';
import { findRelay, relayNames } from './relay.js';
import type { Underlay } from './tunnels.js';
import { findVxlanDevice, vxlanDeviceName } from './vxlan-device.js';

export interface NeededDevices {
  readonly relay: boolean;
  readonly vxlan: boolean;
}

/** What is wrong with devices, by their names. */
export type DeviceProblems = Map<string, string>;

/**
 * The devices that the node's tunnels need: the relay, which is there from the first other chassis until the node is
 * taken out, and the VXLAN device, while a tunnel is of that type.
 */
export class TunnelDevices {
  readonly #devices: Devices;
  #vxlanProblem: string | undefined;

  constructor(devices: Devices) {
    this.#devices = devices;
  }

  /** Makes what is missing. True while something is on its way, of which a notification will tell. */
  prepare(needed: NeededDevices, problems: DeviceProblems): boolean {
    const relayComes = needed.relay && this.#makeRelay(problems);
    return (needed.vxlan && this.#makeVxlan(problems)) || relayComes;
  }

  get underlay(): Underlay {
    const devices = this.#devices;
    return {
      relay: findRelay(devices.links),
      vxlan: findVxlanDevice(devices.links)?.ifindex,
      vxlanProblem: this.#vxlanProblem,
      interfacesWith: (addresses) => devices.interfacesWith(addresses),
      routeTo: (address) => devices.routeTo(address),
    };
  }

  /**
   * The VXLAN device goes up when the program is on it, and goes when it is needed no more: what comes out of it must not
   * reach the host's own stack.
   */
  finish(needed: NeededDevices, hasProgram: (device: Ifindex) => boolean, problems: DeviceProblems): void {
    const link = findVxlanDevice(this.#devices.links);
    if (link === undefined) return;
    const { ifindex } = link;
    if (!needed.vxlan) this.#attempt(vxlanDeviceName, problems, () => this.#devices.deleteLink(ifindex));
    else if (!link.adminUp && hasProgram(ifindex))
      this.#attempt(vxlanDeviceName, problems, () => this.#devices.raiseVxlan(ifindex));
  }

  #makeRelay(problems: DeviceProblems): boolean {
    const devices = this.#devices;
    if (findRelay(devices.links) !== undefined) return false;
    const ends = [relayNames.into, relayNames.outOf].map((name) => devices.links.get(name));
    return this.#attempt(relayNames.into, problems, () => {
      if (ends.every((link) => link === undefined))
        devices.createVeth(relayNames.into, relayNames.outOf, undefined);
      for (const link of ends) if (link !== undefined) devices.configureRelay(link.ifindex);
    });
  }

  #makeVxlan(problems: DeviceProblems): boolean {
    const devices = this.#devices;
    this.#vxlanProblem = undefined;
    if (findVxlanDevice(devices.links) !== undefined) return false;
    const made = this.#attempt(vxlanDeviceName, problems, () => devices.createVxlan(vxlanDeviceName));
    this.#vxlanProblem = problems.get(vxlanDeviceName);
    return made;
  }

  #attempt(name: string, problems: DeviceProblems, action: () => void): boolean {
    try {
      action();
      return true;
    } catch (error) {
      problems.set(name, errorMessage(error));
      return false;
    }
  }
}
