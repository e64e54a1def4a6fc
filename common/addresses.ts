import ipaddr from 'ipaddr.js';

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** A MAC address in lower case, `aa:bb:cc:dd:ee:ff`. */
export type Mac = Branded<string, 'Mac'>;
/** Kernel interface index, > 0. */
export type Ifindex = Branded<number, 'Ifindex'>;
/** An OVSDB row's uuid in lower case. */
export type Uuid = Branded<string, 'Uuid'>;

/** An IPv4 or IPv6 network or host: 4 or 16 address bytes in network order, host bits kept as written. */
export interface IpPrefix {
  readonly address: Uint8Array;
  readonly prefixLength: number;
}

const macPattern = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** Reads six colon-separated octets, either case; undefined when it is anything else. */
export function parseMac(text: string): Mac | undefined {
  const lower = text.toLowerCase();
  return macPattern.test(lower) ? (lower as Mac) : undefined;
}

/** The six bytes in wire order. */
export function macBytes(mac: Mac): Uint8Array {
  return Uint8Array.from(mac.split(':'), (octet) => Number.parseInt(octet, 16));
}

/** Six bytes in wire order to a `Mac`. Throws RangeError when there are not six. */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`a MAC has 6 bytes, not ${bytes.length}`);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':') as Mac;
}

/** Reads `ADDRESS` or `ADDRESS/LENGTH` (also `ADDRESS/NETMASK` for IPv4, as OVS does); undefined when it is anything else. */
export function parseIpPrefix(text: string): IpPrefix | undefined {
  const [host = '', suffix, ...rest] = text.split('/');
  if (rest.length > 0) return undefined;
  const address = parseIp(host);
  if (address === undefined) return undefined;
  const bits = address.length * 8;
  if (suffix === undefined) return { address, prefixLength: bits };
  if (/^\d{1,3}$/.test(suffix)) {
    const prefixLength = Number(suffix);
    return prefixLength <= bits ? { address, prefixLength } : undefined;
  }
  if (bits !== 32 || !ipaddr.IPv4.isValidFourPartDecimal(suffix)) return undefined;
  const prefixLength = ipaddr.IPv4.parse(suffix).prefixLengthFromSubnetMask();
  return prefixLength === null ? undefined : { address, prefixLength };
}

/** Reads one IPv4 (four decimal parts) or IPv6 address without zone: 4 or 16 bytes in network order. */
export function parseIp(text: string): Uint8Array | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return Uint8Array.from(ipaddr.IPv4.parse(text).toByteArray());
  if (text.includes(':') && !text.includes('%') && ipaddr.IPv6.isValid(text)) {
    return Uint8Array.from(ipaddr.IPv6.parse(text).toByteArray());
  }
  return undefined;
}

/** Whether two addresses of 4 or 16 bytes are the same. */
export function sameIp(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** 4 or 16 bytes as people write them (RFC 5952 for IPv6). Throws for any other length. */
export function formatIp(address: Uint8Array): string {
  const parsed = ipaddr.fromByteArray(Array.from(address));
  return parsed.kind() === 'ipv6' ? (parsed as ipaddr.IPv6).toRFC5952String() : parsed.toString();
}

/** `10.0.0.0/24`, and a bare address for a full-length prefix. */
export function formatIpPrefix({ address, prefixLength }: IpPrefix): string {
  const host = formatIp(address);
  return prefixLength === address.length * 8 ? host : `${host}/${prefixLength}`;
}
