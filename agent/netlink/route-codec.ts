import type { Ifindex } from '../../common/addresses.js';
import { decodeAttributes, encodeAttribute, encodeMessage, messageTypes, requestFlags } from './codec.js';

/** Of rtnetlink(7): routes and addresses (linux/rtnetlink.h, linux/if_addr.h). */
const routeMessageLength = 12;
const addressMessageLength = 8;
const families = { ip4: 2, ip6: 10 } as const;
const routeAttributes = { destination: 1, outInterface: 4, metrics: 8 } as const;
const metricMtu = 2;
const addressAttributes = { address: 1, local: 2 } as const;
const unicast = 1;

export interface RouteAnswer {
  readonly ifindex: Ifindex;
  /** RTAX_MTU, where the route sets one. */
  readonly mtu: number | undefined;
}

/** Asks where packets to an address (4 or 16 bytes) leave. */
export function encodeGetRoute(sequence: number, address: Uint8Array): Buffer {
  const message = Buffer.alloc(routeMessageLength);
  message.writeUInt8(address.length === 4 ? families.ip4 : families.ip6, 0);
  message.writeUInt8(address.length * 8, 1);
  const destination = encodeAttribute(routeAttributes.destination, Buffer.from(address));
  return encodeMessage(messageTypes.getRoute, requestFlags.request, sequence, [message, destination]);
}

/** Reads RTM_NEWROUTE; undefined for a route that leads nowhere else (local, unreachable ...). */
export function decodeRoute(payload: Buffer): RouteAnswer | undefined {
  if (payload.length < routeMessageLength || payload.readUInt8(7) !== unicast) return undefined;
  const attributes = decodeAttributes(payload.subarray(routeMessageLength));
  const out = attributes.get(routeAttributes.outInterface);
  if (out?.length !== 4) return undefined;
  const mtu = decodeAttributes(attributes.get(routeAttributes.metrics) ?? Buffer.alloc(0)).get(metricMtu);
  return {
    ifindex: out.readUInt32LE(0) as Ifindex,
    mtu: mtu?.length === 4 ? mtu.readUInt32LE(0) : undefined,
  };
}

/** Asks for all addresses of all interfaces. */
export function encodeGetAddresses(sequence: number): Buffer {
  const flags = requestFlags.request | requestFlags.dump;
  return encodeMessage(messageTypes.getAddress, flags, sequence, [Buffer.alloc(addressMessageLength)]);
}

export interface InterfaceAddress {
  readonly ifindex: Ifindex;
  readonly address: Uint8Array;
}

/** Reads RTM_NEWADDR; undefined when there is no address in it. */
export function decodeInterfaceAddress(payload: Buffer): InterfaceAddress | undefined {
  if (payload.length < addressMessageLength) return undefined;
  const attributes = decodeAttributes(payload.subarray(addressMessageLength));
  const address = attributes.get(addressAttributes.local) ?? attributes.get(addressAttributes.address);
  if (address === undefined) return undefined;
  return { ifindex: payload.readUInt32LE(4) as Ifindex, address: Uint8Array.from(address) };
}
