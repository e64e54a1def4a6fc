import { type Ifindex, type Mac, parseMac } from '../../../common/addresses.js';
import type { TunnelType } from '../../../agent/tunnels/tunnel-endpoints.js';
import type { Underlay } from '../../../agent/tunnels/tunnels.js';
import type { Devices, Link, Links, Route } from '../../../agent/links.js';

const anyMac = parseMac('0e:00:00:00:00:01') as Mac;

export function makeLink(name: string, ifindex: number, parts: Partial<Link> = {}): Link {
  return {
    ifindex: ifindex as Ifindex,
    name,
    mac: anyMac,
    mtu: 1500,
    adminUp: true,
    operUp: true,
    kind: 'tun',
    peerInOtherNamespace: false,
    ...parts,
  };
}

/** A node that nobody shares a switch with. */
export const noUnderlay: Underlay = {
  relay: undefined,
  way: () => ({ by: 'program', reason: '' }),
  guards: new Map(),
  interfacesWith: () => [],
  routeTo: () => undefined,
};

/** The devices of a machine in memory. */
export class FakeDevices implements Devices {
  readonly #links = new Map<string, Link>();
  readonly #listeners = new Set<() => void>();
  readonly #pending: (() => void)[] = [];
  #nextIfindex = 100;
  readonly created: string[] = [];

  get links(): Links {
    return this.#links;
  }

  refresh(): void {
    for (const change of this.#pending.splice(0)) change();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Adds or replaces a device. */
  add(name: string, ifindex: number, parts: Partial<Link> = {}): void {
    this.#links.set(name, makeLink(name, ifindex, parts));
    this.#notify();
  }

  remove(name: string): void {
    if (this.#links.delete(name)) this.#notify();
  }

  /** As with the kernel, the new devices are known when its notification has come. */
  createVeth(name: string, peerName: string, mac?: Mac): void {
    this.created.push(`${name} ${peerName}`);
    const down = { kind: 'veth', adminUp: false, operUp: false };
    this.#pending.push(() => {
      this.#links.set(name, makeLink(name, this.#nextIfindex++, { ...down, ...(mac && { mac }) }));
      this.#links.set(peerName, makeLink(peerName, this.#nextIfindex++, down));
    });
    setImmediate(() => {
      this.refresh();
      this.#notify();
    });
  }

  deleteLink(ifindex: Ifindex): void {
    for (const link of [...this.#links.values()]) if (link.ifindex === ifindex) this.#links.delete(link.name);
    this.#notify();
  }

  setUp(ifindex: Ifindex): void {
    for (const link of [...this.#links.values()]) {
      if (link.ifindex === ifindex) this.#links.set(link.name, { ...link, adminUp: true, operUp: true });
    }
    this.#notify();
  }

  setPromiscuous(ifindex: Ifindex, promiscuous: boolean): void {
    for (const link of [...this.#links.values()]) {
      if (link.ifindex === ifindex) this.#links.set(link.name, { ...link, promiscuous });
    }
    this.#notify();
  }

  configureRelay(ifindex: Ifindex): void {
    for (const link of [...this.#links.values()]) {
      if (link.ifindex === ifindex)
        this.#links.set(link.name, { ...link, mtu: 65535, adminUp: true, operUp: true });
    }
    this.#notify();
  }

  createTunnelDevice(name: string, kind: TunnelType): void {
    this.created.push(name);
    this.#pending.push(() => {
      const down = { kind, adminUp: false, operUp: false };
      this.#links.set(name, makeLink(name, this.#nextIfindex++, down));
    });
    setImmediate(() => {
      this.refresh();
      this.#notify();
    });
  }

  raiseTunnelDevice(ifindex: Ifindex): void {
    this.setUp(ifindex);
  }

  /** Everything is on the network of the one underlay device, `eth0`, if that is there. */
  routeTo(): Route | undefined {
    const link = this.#links.get('eth0');
    return link && { ifindex: link.ifindex, mtu: link.mtu };
  }

  interfacesWith(): readonly Ifindex[] {
    const link = this.#links.get('eth0');
    return link === undefined ? [] : [link.ifindex];
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}
