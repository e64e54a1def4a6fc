import type { Links } from '../links.js';
import type { Relay } from './tunnels.js';

/** The two devices of the node's relay (bpf/tunnel.h). */
export const relayNames = { into: 'iovn-relay', outOf: 'iovn-relay-out' } as const;

/** The most that a veth takes: a tunnel packet must not be too big for the relay before it is for the underlay. */
export const relayMtu = 65535;

/** Undefined until both devices are there, up, and as long as it takes. */
export function findRelay(links: Links): Relay | undefined {
  const into = links.get(relayNames.into);
  const outOf = links.get(relayNames.outOf);
  const isReady = [into, outOf].every((link) => link?.adminUp === true && link.mtu === relayMtu);
  return into && outOf && isReady ? { into: into.ifindex, outOf: outOf.ifindex } : undefined;
}
