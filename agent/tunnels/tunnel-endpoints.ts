import { formatIp, sameIp } from '../../common/addresses.js';
import { constants } from '../../generated/bpf/layouts.js';
import { type ChassisIntent, type EncapIntent, readEncaps } from '../intent.js';
import type { EncapConfig } from '../vswitch/node-config.js';

/** Best first, as in OVN (ovn-architecture(7); chassis of which both have a type use the best one). */
const typePreference = ['geneve', 'stt', 'vxlan'] as const;
/** What this data plane speaks. */
export const supportedTypes = ['geneve', 'vxlan'] as const;
export type TunnelType = (typeof supportedTypes)[number];

/** An address of the underlay at which tunnel packets of a type arrive, or from which they come. */
export interface TunnelEndpoint {
  readonly type: TunnelType;
  /** 4 or 16 bytes. */
  readonly ip: Uint8Array;
}

export interface ChosenTunnel {
  readonly ok: true;
  readonly chassis: string;
  readonly type: TunnelType;
  /** 4 or 16 bytes each, both of one family. */
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
  /** The other end asks for an outer UDP checksum (Encap.options:csum). */
  readonly checksum: boolean;
}

/** Which addresses a tunnel to a chassis goes between, or why there can be none. */
export type TunnelChoice =
  | ChosenTunnel
  | { readonly ok: false; readonly chassis: string; readonly reason: string };

function isSupported(type: string | undefined): type is TunnelType {
  return supportedTypes.some((each) => each === type);
}

/** Of several addresses the one to use where nothing else is said. */
function preferred<E extends Pick<EncapIntent, 'isDefault'>>(encaps: readonly E[]): E | undefined {
  return encaps.find(({ isDefault }) => isDefault) ?? encaps[0];
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

/** The node's addresses from which its ports' tunnel packets may come, the default one first; each keeps its place as long as none comes or goes. */
export function tunnelSources(encaps: readonly EncapConfig[]): readonly Uint8Array[] {
  const own = readEncaps(encaps).filter(({ type }) => isSupported(type));
  const first = preferred(own);
  const ips = new Map([...(first ? [first] : []), ...own].map(({ ip }) => [formatIp(ip), ip]));
  return [...ips.values()].slice(0, constants.TUNNEL_SOURCES);
}

/**
 * Picks the endpoints of the tunnel to a chassis: of the types that both have the one that OVN prefers, and of several
 * addresses the default one, else the first, on both sides.
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
  const from = preferred(own.filter((each) => each.type === type))?.ip;
  const to = preferred(encaps.filter((each) => each.type === type && each.ip.length === from?.length));
  if (from !== undefined && to !== undefined) {
    return { ok: true, chassis: name, type, local: from, remote: to.ip, checksum: to.checksum };
  }
  const family = from?.length === 16 ? 'IPv6' : 'IPv4';
  return refuse(`it has no ${family} tunnel endpoint, and this node's is ${from ? formatIp(from) : 'none'}`);
}

/** The same tunnel to other addresses of the chassis: those of `ips` that it has. */
export function tunnelsToOthers(
  tunnel: ChosenTunnel,
  { encaps }: ChassisIntent,
  ips: readonly Uint8Array[],
): readonly ChosenTunnel[] {
  const { type, local, remote } = tunnel;
  return encaps
    .filter((each) => each.type === type && each.ip.length === local.length && !sameIp(each.ip, remote))
    .filter((each) => ips.some((ip) => sameIp(ip, each.ip)))
    .map(({ ip, checksum }) => ({ ...tunnel, remote: ip, checksum }));
}
