import type { Ifindex, Mac } from '../common/addresses.js';

/** A network device of the agent's network namespace (rtnetlink(7) RTM_NEWLINK). */
export interface Link {
  readonly ifindex: Ifindex;
  readonly name: string;
  readonly mac?: Mac;
  readonly mtu: number;
  readonly adminUp: boolean;
  readonly operUp: boolean;
  /** IFLA_INFO_KIND: "veth", "tun", ...; empty for a physical device. */
  readonly kind: string;
  /** The other end of a veth is in another network namespace. */
  readonly peerInOtherNamespace: boolean;
}

/** By name. */
export type Links = ReadonlyMap<string, Link>;

/** The devices of the agent's network namespace: agent/netlink has the real ones, tests have some in memory. */
export interface Devices {
  /** Kept current by the kernel's notifications. */
  readonly links: Links;
  /** Makes `links` at least as new as anything that has been heard by now. Calls no listener. */
  refresh(): void;
  onChange(listener: () => void): () => void;
  /** Makes a pair, both ends down, the first with that address. This and the following throw KernelError. */
  createVeth(name: string, peerName: string, mac: Mac | undefined): void;
  deleteLink(ifindex: Ifindex): void;
  setUp(ifindex: Ifindex): void;
}
