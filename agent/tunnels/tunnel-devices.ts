import { errorMessage } from '../../common/errors.js';
import type { Devices } from '../links.js';
import type { UnderlayHook } from '../plan.js';
import { findRelay, relayNames } from './relay.js';
import type { GeneveMode } from '../settings.js';
import { findTunnelDevice, tunnelDeviceNames, tunnelDeviceHook, tunnelDevices } from './tunnel-device.js';
import { supportedTypes, type TunnelType } from './tunnel-endpoints.js';
import type { TunnelWay, Underlay } from './tunnels.js';

export interface NeededDevices {
  readonly relay: boolean;
  /** The types of tunnels that there are. */
  readonly tunnels: ReadonlySet<TunnelType>;
}

/** What is wrong with devices, by their names. */
export type DeviceProblems = Map<string, string>;

interface Failure {
  readonly reason: string;
  readonly atMs: number;
}

/** Where the program does as well, the device is tried for so often: somebody else's may be gone, or a module there. */
const optionalRetryMs = 60_000;

/**
 * The devices that the node's tunnels need: the relay, which is there from the first other chassis until the node is
 * taken out, and of each type of tunnels the device, while there are such tunnels. Geneve is spoken by our own program while
 * there is no device that is up, unless the device is insisted on.
 */
export class TunnelDevices {
  readonly #devices: Devices;
  readonly #geneve: GeneveMode;
  readonly #now: () => number;
  /** Why there is no device that is up. */
  readonly #failures = new Map<TunnelType, Failure>();

  /** `now`: epoch ms. */
  constructor(devices: Devices, geneve: GeneveMode, now: () => number) {
    this.#devices = devices;
    this.#geneve = geneve;
    this.#now = now;
  }

  /** Makes what is missing. True while something is on its way, of which a notification will tell. */
  prepare(needed: NeededDevices, problems: DeviceProblems): boolean {
    const coming = supportedTypes.filter(
      (type) => this.#isWanted(type, needed) && this.#make(type, problems),
    );
    const relayComes = needed.relay && this.#makeRelay(problems);
    return coming.length > 0 || relayComes;
  }

  get underlay(): Underlay {
    const devices = this.#devices;
    return {
      relay: findRelay(devices.links),
      way: (type) => this.#way(type),
      guards: new Map([...tunnelDevices(devices.links)].map(([type, { ifindex }]) => [type, ifindex])),
      interfacesWith: (addresses) => devices.interfacesWith(addresses),
      routeTo: (address) => devices.routeTo(address),
    };
  }

  /**
   * A device goes up when the program is on it, and goes when it is needed no more: what comes out of it must not
   * reach the host's own stack.
   */
  finish(needed: NeededDevices, hasHook: (hook: UnderlayHook) => boolean, problems: DeviceProblems): void {
    for (const [type, { ifindex, adminUp }] of tunnelDevices(this.#devices.links)) {
      const name = tunnelDeviceNames[type];
      if (!this.#isWanted(type, needed)) attempt(name, problems, () => this.#devices.deleteLink(ifindex));
      else if (!adminUp && hasHook(tunnelDeviceHook(type, ifindex))) {
        const isUp = this.#attempt(type, problems, () => this.#devices.raiseTunnelDevice(ifindex));
        if (!isUp && this.#isOptional(type)) attempt(name, problems, () => this.#devices.deleteLink(ifindex));
      }
    }
  }

  #way(type: TunnelType): TunnelWay {
    const link = findTunnelDevice(this.#devices.links, type);
    if (link?.adminUp === true && !this.#isUnwanted(type)) return { by: 'device', device: link.ifindex };
    const reason = this.#failures.get(type)?.reason;
    if (this.#isUnwanted(type)) return { by: 'program', reason: 'so the agent was told (--geneve)' };
    if (this.#isOptional(type)) return { by: 'program', reason: reason ?? '' };
    return { by: 'none', reason };
  }

  #isUnwanted(type: TunnelType): boolean {
    return type === 'geneve' && this.#geneve === 'program';
  }

  #isOptional(type: TunnelType): boolean {
    return type === 'geneve' && this.#geneve === 'auto';
  }

  #isWanted(type: TunnelType, needed: NeededDevices): boolean {
    return needed.tunnels.has(type) && !this.#isUnwanted(type);
  }

  #make(type: TunnelType, problems: DeviceProblems): boolean {
    const link = findTunnelDevice(this.#devices.links, type);
    if (link?.adminUp === true) this.#failures.delete(type);
    const failure = this.#failures.get(type);
    if (link !== undefined) return !link.adminUp && failure === undefined;
    if (failure && this.#isOptional(type) && this.#now() - failure.atMs < optionalRetryMs) return false;
    return this.#attempt(type, problems, () =>
      this.#devices.createTunnelDevice(tunnelDeviceNames[type], type),
    );
  }

  #makeRelay(problems: DeviceProblems): boolean {
    const devices = this.#devices;
    if (findRelay(devices.links) !== undefined) return false;
    const ends = [relayNames.into, relayNames.outOf].map((name) => devices.links.get(name));
    return attempt(relayNames.into, problems, () => {
      if (ends.every((link) => link === undefined))
        devices.createVeth(relayNames.into, relayNames.outOf, undefined);
      for (const link of ends) if (link !== undefined) devices.configureRelay(link.ifindex);
    });
  }

  /** That there is no device is a problem only where one is needed. */
  #attempt(type: TunnelType, problems: DeviceProblems, action: () => void): boolean {
    const failures: DeviceProblems = new Map();
    if (attempt(tunnelDeviceNames[type], failures, action)) {
      this.#failures.delete(type);
      return true;
    }
    for (const [name, reason] of failures) {
      this.#failures.set(type, { reason, atMs: this.#now() });
      if (!this.#isOptional(type)) problems.set(name, reason);
    }
    return false;
  }
}

function attempt(name: string, problems: DeviceProblems, action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    problems.set(name, errorMessage(error));
    return false;
  }
}
