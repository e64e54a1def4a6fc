import type { Ifindex } from '../../common/addresses.js';
import type { Route } from '../links.js';
import type { LinkMonitor } from './link-monitor.js';
import { readAddresses, readRoute } from './requests.js';
import type { InterfaceAddress } from './route-codec.js';

/** What the kernel says about routes and addresses, asked once until anything changes. */
export class Routes {
  readonly #monitor: LinkMonitor;
  readonly #routes = new Map<string, Route | undefined>();
  #addresses: readonly InterfaceAddress[] | undefined;

  constructor(monitor: LinkMonitor) {
    this.#monitor = monitor;
    monitor.onChange(() => {
      this.#routes.clear();
      this.#addresses = undefined;
    });
  }

  /** Throws KernelError when the kernel does not answer. */
  routeTo(address: Uint8Array): Route | undefined {
    const key = Buffer.from(address).toString('hex');
    if (this.#routes.has(key)) return this.#routes.get(key);
    const answer = readRoute(address);
    const link = answer && this.#monitor.byIndex.get(answer.ifindex);
    const route = link && { ifindex: link.ifindex, mtu: Math.min(answer.mtu ?? link.mtu, link.mtu) };
    this.#routes.set(key, route);
    return route;
  }

  interfacesWith(addresses: readonly Uint8Array[]): readonly Ifindex[] {
    this.#addresses ??= readAddresses();
    const found = this.#addresses.filter(({ address }) =>
      addresses.some((wanted) => Buffer.compare(wanted, address) === 0),
    );
    return [...new Set(found.map(({ ifindex }) => ifindex))].filter(
      (ifindex) => this.#monitor.byIndex.get(ifindex)?.name !== 'lo',
    );
  }
}
