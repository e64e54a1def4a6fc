import type { Ifindex, Mac } from '../common/addresses.js';
import type { TunnelType } from './tunnels/tunnel-endpoints.js';

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
  /** Somebody has asked for all frames, whoever they are for (IFF_PROMISC). */
  readonly promiscuous?: boolean;
}

/** By name. */
export type Links = ReadonlyMap<string, Link>;

/** The devices of the agent's network namespace: agent/netlink has the real ones, tests have some in memory. */
export interface Devices {
  /** Kept current by the kernel's notifications; `onChange` tells also of changed routes and addresses. */
  readonly links: Links;
  /** Makes `links` at least as new as anything that has been heard by now. Calls no listener. */
  refresh(): void;
  onChange(listener: () => void): () => void;
  /** Makes a pair, both ends down, the first with that address. This and the following throw KernelError. */
  createVeth(name: string, peerName: string, mac: Mac | undefined): void;
  deleteLink(ifindex: Ifindex): void;
  setUp(ifindex: Ifindex): void;
  setPromiscuous(ifindex: Ifindex, on: boolean): void;
  /** Makes one end of the node's relay what it has to be: up, taking frames of any length, and no GSO packets. */
  configureRelay(ifindex: Ifindex): void;
  /** Makes a tunnel device that takes and gives the addresses of tunnel packets beside them ("external"), down. */
  createTunnelDevice(name: string, type: TunnelType): void;
  /** Sets it up, without an IPv6 address of its own. */
  raiseTunnelDevice(ifindex: Ifindex): void;
  /** Where packets to an address (4 or 16 bytes) leave, by the routes as they are; undefined where they don't. */
  routeTo(address: Uint8Array): Route | undefined;
  /** Interfaces that have one of the addresses. */
  interfacesWith(addresses: readonly Uint8Array[]): readonly Ifindex[];
}

/** Where packets to an address leave. */
export interface Route {
  readonly ifindex: Ifindex;
  /** Longest IP packet that the route takes, in bytes. */
  readonly mtu: number;
}
