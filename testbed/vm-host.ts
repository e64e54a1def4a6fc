import type { NetworkNamespace } from './namespace.js';

/** What a VM needs of the hypervisor that it runs on, whosever software that has. */
export interface VmHost {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  /** Binds a tap to a logical port. */
  plug(netdev: string, ifaceId: string): Promise<unknown>;
  unplug(netdev: string): Promise<void>;
}
