import { type IpPrefix, type Mac, parseIp, parseIpPrefix, parseMac } from './addresses.js';

/** `MAC [ADDRESS[/LENGTH]…]` as OVN reads it. */
export interface MacAndAddresses {
  readonly mac: Mac;
  readonly addresses: readonly IpPrefix[];
  /** What follows the last address that could be read; OVN ignores it, and so do we. Empty when all is well. */
  readonly rest: string;
}

const macAtStart = /^\s*([0-9a-f]{1,2})((?::[0-9a-f]{1,2}){5})(?![0-9a-f])/i;
const ip4AtStart = /^\s*(\d+(?:\.\d+){3})(?:\/(\d+(?:\.\d+){3})|\/(\d+))?/;
const ip6AtStart = /^\s*([0-9a-f:.]+)(?:\/([0-9a-f:.]+))?/i;

/**
 * Reads an entry of Logical_Switch_Port.addresses or .port_security (ovn-nb(5)) by the rules of OVN's own parser: a
 * MAC first, whose octets may have one digit, then addresses until something is not one. Undefined without a MAC.
 */
export function parseMacAndAddresses(text: string): MacAndAddresses | undefined {
  const matched = macAtStart.exec(text);
  if (matched === null) return undefined;
  const mac = macOf(`${matched[1] ?? ''}${matched[2] ?? ''}`);
  if (mac === undefined) return undefined;
  const addresses: IpPrefix[] = [];
  let rest = text.slice(matched[0].length);
  while (rest !== '') {
    const next = ip4From(rest) ?? ip6From(rest);
    if (next === undefined) break;
    addresses.push(next.prefix);
    rest = rest.slice(next.length);
  }
  return { mac, addresses, rest: rest.trim() };
}

/** Whether an entry of `addresses` leaves the MAC, the IP or both to northd (ovn-nb(5), "dynamic"). */
export function isDynamic(text: string): boolean {
  if (text === 'dynamic') return true;
  const [first = '', ...others] = text.split(' ');
  if (first === 'dynamic') return others.length <= 2 && others.every((other) => parseIp(other) !== undefined);
  return others.length === 1 && others[0] === 'dynamic' && parseMacAndAddresses(first) !== undefined;
}

interface Scanned {
  readonly prefix: IpPrefix;
  readonly length: number;
}

function macOf(octets: string): Mac | undefined {
  return parseMac(
    octets
      .split(':')
      .map((octet) => octet.padStart(2, '0'))
      .join(':'),
  );
}

function ip4From(text: string): Scanned | undefined {
  const matched = ip4AtStart.exec(text);
  if (matched === null) return undefined;
  const [whole, host = '', netmask, length] = matched;
  const suffix = netmask ?? length;
  const prefix = parseIpPrefix(
    suffix === undefined
      ? wrapped(host)
      : `${wrapped(host)}/${netmask === undefined ? suffix : wrapped(suffix)}`,
  );
  return prefix === undefined ? undefined : { prefix, length: whole.length };
}

/** Four decimal parts modulo 256, which is what OVN makes of `10.0.0.300`: the same, so that the same is allowed. */
function wrapped(parts: string): string {
  return parts
    .split('.')
    .map((part) => String(Number(BigInt(part) % 256n)))
    .join('.');
}

function ip6From(text: string): Scanned | undefined {
  const matched = ip6AtStart.exec(text);
  if (matched === null) return undefined;
  const [whole, host = '', suffix] = matched;
  if (!host.includes(':')) return undefined;
  const prefix = parseIpPrefix(suffix === undefined ? host : `${host}/${suffix}`);
  return prefix === undefined ? undefined : { prefix, length: whole.length };
}
