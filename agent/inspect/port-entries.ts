import {
  formatIp,
  formatIpPrefix,
  type IpPrefix,
  type Mac,
  macFromBytes,
  sameIp,
} from '../../common/addresses.js';
import type { PortIntent, PortSecurityEntry } from '../intent.js';

/** Which of a port's entries in the northbound database a packet meets. For people: the programs have decided already. */

export type Side = 'source' | 'destination';

/** What port security looks at. */
interface Ends {
  readonly mac: Mac;
  /** 4 or 16 bytes; undefined for what is neither IP nor ARP. */
  readonly address: Uint8Array | undefined;
}

const etherTypes = { ip4: 0x0800, arp: 0x0806, ip6: 0x86dd } as const;
const tagTypes: readonly number[] = [0x8100, 0x88a8];
const addressesAt = { ethernet: 14, ip4: 12, ip6: 8, arpSender: 14, ndTarget: 48 } as const;
const tagLength = 4;

/** An entry of Logical_Switch_Port.port_security as an operator writes it. */
export function portSecurityText({ mac, addresses }: PortSecurityEntry): string {
  return [mac, ...addresses.map(formatIpPrefix)].join(' ');
}

function take(frame: Uint8Array, offset: number, length: number): Uint8Array | undefined {
  return frame.length < offset + length ? undefined : frame.subarray(offset, offset + length);
}

/** The type behind the VLAN tags and where what is of this type begins. */
function networkLayer(frame: Uint8Array): readonly [type: number, offset: number] {
  const typeAt = (at: number): number => ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
  let offset: number = addressesAt.ethernet;
  while (tagTypes.includes(typeAt(offset - 2)) && offset < frame.length) offset += tagLength;
  return [typeAt(offset - 2), offset];
}

function endsOf(frame: Uint8Array, side: Side): Ends | undefined {
  const mac = take(frame, side === 'source' ? 6 : 0, 6);
  if (mac === undefined) return undefined;
  const [type, offset] = networkLayer(frame);
  const of = (length: number, first: number): Uint8Array | undefined =>
    take(frame, offset + first + (side === 'source' ? 0 : length), length);
  const address =
    type === etherTypes.ip4
      ? of(4, addressesAt.ip4)
      : type === etherTypes.ip6
        ? of(16, addressesAt.ip6)
        : type === etherTypes.arp && side === 'source'
          ? of(4, addressesAt.arpSender)
          : undefined;
  return { mac: macFromBytes(mac), address };
}

function covers({ address, prefixLength }: IpPrefix, host: Uint8Array): boolean {
  if (address.length !== host.length) return false;
  return address.every((byte, index) => {
    const bits = Math.min(8, Math.max(0, prefixLength - index * 8));
    const mask = (0xff00 >> bits) & 0xff;
    return ((byte ^ (host[index] ?? 0)) & mask) === 0;
  });
}

interface SecurityMatch {
  /** The entries with the packet's MAC. */
  readonly withMac: readonly PortSecurityEntry[];
  readonly address: Uint8Array | undefined;
}

function matchMac(portSecurity: readonly PortSecurityEntry[], frame: Uint8Array, side: Side): SecurityMatch {
  const ends = endsOf(frame, side);
  return { withMac: portSecurity.filter(({ mac }) => mac === ends?.mac), address: ends?.address };
}

/** The entry of port security that lets a packet pass which does. */
export function passingEntry(
  { portSecurity }: Pick<PortIntent, 'portSecurity'>,
  frame: Uint8Array,
  side: Side,
): readonly string[] {
  const { withMac, address: host } = matchMac(portSecurity, frame, side);
  const found =
    withMac.find(({ addresses }) => host !== undefined && addresses.some((prefix) => covers(prefix, host))) ??
    withMac.find(({ addresses }) => addresses.length === 0) ??
    withMac[0];
  return found === undefined ? [] : [portSecurityText(found)];
}

/** The entries of port security that a packet does not fit which is refused: those with its MAC, else all. */
export function violatedEntries(
  { portSecurity }: Pick<PortIntent, 'portSecurity'>,
  frame: Uint8Array,
  side: Side,
): readonly string[] {
  const { withMac } = matchMac(portSecurity, frame, side);
  return (withMac.length === 0 ? portSecurity : withMac).map(portSecurityText);
}

/** The entry of Logical_Switch_Port.addresses with the MAC; none when it is not the port's. */
export function addressesEntry(
  { macs, neighbours }: Pick<PortIntent, 'macs' | 'neighbours'>,
  mac: Mac,
): readonly string[] {
  if (!macs.includes(mac)) return [];
  const addresses = neighbours.flatMap((each) => (each.mac === mac ? [formatIp(each.address)] : []));
  return [[mac, ...addresses].join(' ')];
}

/** Whether the answer (an ARP reply or a neighbour advertisement) is for an address of the port. */
export function isAnswerFor({ neighbours }: Pick<PortIntent, 'neighbours'>, answer: Uint8Array): boolean {
  const [type, offset] = networkLayer(answer);
  const [at, length] = type === etherTypes.arp ? [addressesAt.arpSender, 4] : [addressesAt.ndTarget, 16];
  const address = take(answer, offset + at, length);
  return address !== undefined && neighbours.some((each) => sameIp(each.address, address));
}
