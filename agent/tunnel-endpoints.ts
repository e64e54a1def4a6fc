import { formatIp, parseIp } from '../common/addresses.js';
import type { ChassisIntent, EncapIntent } from './intent.js';
import type { EncapConfig } from './vswitch/node-config.js';

/** Best first, as in OVN (ovn-architecture(7); chassis of which both have a type use the best one). */
const typePreference = ['geneve', 'stt', 'vxlan'] as const;
/** What this data plane speaks. */
const supportedTypes = ['geneve', 'vxlan'] as const;
export type TunnelType = (typeof supportedTypes)[number];

/** An address of the underlay at which tunnel packets of a type arrive, or from which they come. */
export interface TunnelEndpoint {
  readonly type: TunnelType;
  /** 4 or 16 bytes. */
  readonly ip: Uint8Array;
}

/** Which addresses a tunnel to a chassis goes between, or why there can be none. */
export type TunnelChoice =
  | {
      readonly ok: true;
      readonly chassis: string;
      readonly type: TunnelType;
      /** 4 or 16 bytes each, both of one family. */
      readonly local: Uint8Array;
      readonly remote: Uint8Array;
      /** The other end asks for an outer UDP checksum (Encap.options:csum). */
      readonly checksum: boolean;
    }
  | { readonly ok: false; readonly chassis: string; readonly reason: string };

function isSupported(type: string | undefined): type is TunnelType {
  return supportedTypes.some((each) => each === type);
}

function readEncaps(encaps: readonly EncapConfig[]): readonly EncapIntent[] {
  return encaps.flatMap(({ type, ip: text, options }) => {
    const ip = parseIp(text);
    return ip === undefined ? [] : [{ type, ip, checksum: options['csum'] === 'true' }];
  });
}

function endpointsOf(encaps: readonly EncapIntent[]): readonly TunnelEndpoint[] {
  return encaps.flatMap(({ type, ip }) => (isSupported(type) ? [{ type, ip }] : []));
}

/** The node's own endpoints. */
export function localEndpoints(encaps: readonly EncapConfig[]): readonly TunnelEndpoint[] {
  return endpointsOf(readEncaps(encaps));
}

/** The endpoints from which a chassis may send. */
export function remoteEndpoints({ encaps }: ChassisIntent): readonly TunnelEndpoint[] {
  return endpointsOf(encaps);
}

/**
 * Picks the endpoints of the tunnel to a chassis: of the types that both have the one that OVN prefers, and of several
 * addresses the first. All tunnels of a type start at the node's first address of that type.
 */
export function chooseTunnel(local: readonly EncapConfig[], chassis: ChassisIntent): TunnelChoice {
  const { name, encaps } = chassis;
  const own = readEncaps(local);
  const has = (some: readonly EncapIntent[], type: string): boolean =>
    some.some((each) => each.type === type);
  const refuse = (reason: string): TunnelChoice => ({ ok: false, chassis: name, reason });
  const type = typePreference.find((each) => has(own, each) && has(encaps, each));
  if (type === undefined) return refuse('it has no tunnel type in common with this node');
  if (!isSupported(type)) {
    return refuse(
      `the tunnel type that OVN prefers of those that it has in common with this node is ${type}, which is not supported`,
    );
  }
  const from = own.find((each) => each.type === type)?.ip;
  const to = encaps.find((each) => each.type === type && each.ip.length === from?.length);
  if (from !== undefined && to !== undefined) {
    return { ok: true, chassis: name, type, local: from, remote: to.ip, checksum: to.checksum };
  }
  const family = from?.length === 16 ? 'IPv6' : 'IPv4';
  return refuse(`it has no ${family} tunnel endpoint, and this node's is ${from ? formatIp(from) : 'none'}`);
}
