import { formatIp, parseIp } from '../common/addresses.js';
import type { ChassisIntent, EncapIntent } from './intent.js';
import type { EncapConfig } from './vswitch/node-config.js';

/** Which addresses a tunnel to a chassis goes between, or why there can be none. */
export type TunnelChoice =
  | {
      readonly ok: true;
      readonly chassis: string;
      /** 4 or 16 bytes each, both of one family. */
      readonly local: Uint8Array;
      readonly remote: Uint8Array;
    }
  | { readonly ok: false; readonly chassis: string; readonly reason: string };

/** Best first, as in OVN (ovn-architecture(7); chassis of which both have a type use the best one). */
const typePreference = ['geneve', 'stt', 'vxlan'] as const;
/** What this data plane speaks. */
const supportedType = 'geneve';

function readEncaps(encaps: readonly EncapConfig[]): readonly EncapIntent[] {
  return encaps.flatMap(({ type, ip: text }) => {
    const ip = parseIp(text);
    return ip === undefined ? [] : [{ type, ip }];
  });
}

/** The node's own addresses at which tunnel packets arrive. */
export function localEndpoints(encaps: readonly EncapConfig[]): readonly Uint8Array[] {
  return readEncaps(encaps).flatMap(({ type, ip }) => (type === supportedType ? [ip] : []));
}

/** The addresses from which a chassis may send. */
export function remoteEndpoints({ encaps }: ChassisIntent): readonly Uint8Array[] {
  return encaps.flatMap(({ type, ip }) => (type === supportedType ? [ip] : []));
}

/**
 * Picks the endpoints of the tunnel to a chassis: of the types that both have the one that OVN prefers, and of several
 * addresses the first. All tunnels of a node start at its first address.
 */
export function chooseTunnel(local: readonly EncapConfig[], chassis: ChassisIntent): TunnelChoice {
  const { name, encaps } = chassis;
  const own = readEncaps(local);
  const has = (some: readonly EncapIntent[], type: string): boolean =>
    some.some((each) => each.type === type);
  const refuse = (reason: string): TunnelChoice => ({ ok: false, chassis: name, reason });
  const type = typePreference.find((each) => has(own, each) && has(encaps, each));
  if (type === undefined) return refuse('it has no tunnel type in common with this node');
  if (type !== supportedType) {
    return refuse(
      `the only tunnel type that it has in common with this node is ${type}, which is not supported`,
    );
  }
  const [from] = localEndpoints(local);
  const [to] = remoteEndpoints(chassis).filter((ip) => ip.length === from?.length);
  if (from !== undefined && to !== undefined) return { ok: true, chassis: name, local: from, remote: to };
  const family = from?.length === 16 ? 'IPv6' : 'IPv4';
  return refuse(`it has no ${family} tunnel endpoint, and this node's is ${from ? formatIp(from) : 'none'}`);
}
