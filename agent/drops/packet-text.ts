import { formatIp, macFromBytes } from '../../common/addresses.js';

/** Says what of a packet can be read in one line, in the manner of tcpdump(8). Pure, and made for cut-off and broken packets. */

const etherTypes = { ip4: 0x0800, arp: 0x0806, vlan: 0x8100, ip6: 0x86dd, serviceVlan: 0x88a8 } as const;
const protocols = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const;
const protocolNames: Readonly<Record<number, string>> = {
  2: 'IGMP',
  47: 'GRE',
  50: 'ESP',
  89: 'OSPF',
  132: 'SCTP',
};
/** Hop-by-hop options, routing and destination options: with a next header and a length in units of 8 bytes. */
const extensionHeaders = new Set([0, 43, 60]);
const fragmentHeader = 44;
const maximumTags = 4;
const maximumExtensions = 8;

const icmpNames: Readonly<Record<number, string>> = {
  0: 'echo reply',
  3: 'destination unreachable',
  5: 'redirect',
  8: 'echo request',
  11: 'time exceeded',
};
const icmp6Names: Readonly<Record<number, string>> = {
  1: 'destination unreachable',
  2: 'packet too big',
  3: 'time exceeded',
  128: 'echo request',
  129: 'echo reply',
  133: 'router solicitation',
  134: 'router advertisement',
  135: 'neighbour solicitation',
  136: 'neighbour advertisement',
  143: 'multicast listener report',
};
const neighbourMessages = new Set([135, 136]);
const tcpFlags = [
  [0x02, 'S'],
  [0x01, 'F'],
  [0x04, 'R'],
  [0x08, 'P'],
  [0x10, '.'],
] as const;

class CutOff extends Error {}

/** Bytes that are read from the front. Throws CutOff where there are none left. */
class Cursor {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes);
  }

  take(length: number): Buffer {
    const taken = this.#bytes.subarray(this.#offset, this.#offset + length);
    if (length < 0 || taken.length < length) throw new CutOff();
    this.#offset += length;
    return taken;
  }

  uint8(): number {
    return this.take(1).readUInt8();
  }

  uint16(): number {
    return this.take(2).readUInt16BE();
  }

  mac(): string {
    return macFromBytes(this.take(6));
  }

  ip(length: 4 | 16): string {
    return formatIp(this.take(length));
  }
}

/** `head` are the first bytes of a frame of `length` bytes. */
export function describePacket(head: Uint8Array, length: number): string {
  const parts: string[] = [];
  try {
    describeEthernet(new Cursor(head), parts);
  } catch (error) {
    if (!(error instanceof CutOff)) throw error;
    parts.push(head.length < length ? '[the rest was not taken along]' : '[cut off]');
  }
  return `${parts.join(', ')}, length ${length}`;
}

function describeEthernet(cursor: Cursor, parts: string[]): void {
  const destination = cursor.mac();
  parts.push(`${cursor.mac()} > ${destination}`);
  let type = cursor.uint16();
  for (
    let tags = 0;
    tags < maximumTags && (type === etherTypes.vlan || type === etherTypes.serviceVlan);
    tags++
  ) {
    parts.push(`vlan ${cursor.uint16() & 0xfff}`);
    type = cursor.uint16();
  }
  if (type === etherTypes.arp) describeArp(cursor, parts);
  else if (type === etherTypes.ip4) describeIp4(cursor, parts);
  else if (type === etherTypes.ip6) describeIp6(cursor, parts);
  else parts.push(type < 0x600 ? '802.3' : `ethertype 0x${type.toString(16).padStart(4, '0')}`);
}

function describeArp(cursor: Cursor, parts: string[]): void {
  const [hardware, protocol, lengths] = [cursor.uint16(), cursor.uint16(), cursor.uint16()];
  if (hardware !== 1 || protocol !== etherTypes.ip4 || lengths !== 0x0604) {
    parts.push('ARP that does not speak of IPv4');
    return;
  }
  const operation = cursor.uint16();
  const [senderMac, senderIp] = [cursor.mac(), cursor.ip(4)];
  cursor.take(6);
  const targetIp = cursor.ip(4);
  if (operation === 1) parts.push(`ARP who-has ${targetIp} tell ${senderIp} (${senderMac})`);
  else if (operation === 2) parts.push(`ARP ${senderIp} is-at ${senderMac}`);
  else parts.push(`ARP operation ${operation} from ${senderIp} (${senderMac})`);
}

function describeIp4(cursor: Cursor, parts: string[]): void {
  const first = cursor.uint8();
  const optionsLength = ((first & 0xf) - 5) * 4;
  if (first >> 4 !== 4 || optionsLength < 0) {
    parts.push('IPv4 with a bad header');
    return;
  }
  cursor.take(5);
  const fragment = cursor.uint16();
  cursor.take(1);
  const protocol = cursor.uint8();
  cursor.take(2);
  const addresses = { family: 'IPv4', source: cursor.ip(4), destination: cursor.ip(4) };
  cursor.take(optionsLength);
  describeTransport(cursor, parts, addresses, protocol, (fragment & 0x1fff) * 8);
}

function describeIp6(cursor: Cursor, parts: string[]): void {
  if (cursor.uint8() >> 4 !== 6) {
    parts.push('IPv6 with a bad header');
    return;
  }
  cursor.take(5);
  let next = cursor.uint8();
  cursor.take(1);
  const addresses = { family: 'IPv6', source: cursor.ip(16), destination: cursor.ip(16) };
  let fragmentOffset = 0;
  for (let i = 0; i < maximumExtensions && (extensionHeaders.has(next) || next === fragmentHeader); i++) {
    const isFragment = next === fragmentHeader;
    next = cursor.uint8();
    const units = cursor.uint8();
    if (isFragment) fragmentOffset = cursor.uint16() & 0xfff8;
    cursor.take(isFragment ? 4 : units * 8 + 6);
    if (fragmentOffset > 0) break;
  }
  describeTransport(cursor, parts, addresses, next, fragmentOffset);
}

interface Addresses {
  readonly family: string;
  readonly source: string;
  readonly destination: string;
}

function describeTransport(
  cursor: Cursor,
  parts: string[],
  { family, source, destination }: Addresses,
  protocol: number,
  fragmentOffset: number,
): void {
  const flow = `${family} ${source} > ${destination}`;
  if (fragmentOffset > 0) {
    parts.push(`${flow}: fragment at ${fragmentOffset} of protocol ${protocol}`);
    return;
  }
  /* The addresses are said also where what follows is cut off. */
  parts.push(`${flow}: ${protocolName(protocol)}`);
  const say = (text: string): void => void parts.splice(-1, 1, text);
  if (protocol === protocols.tcp || protocol === protocols.udp) {
    const ports = `${family} ${source}:${cursor.uint16()} > ${destination}:${cursor.uint16()}`;
    say(`${ports}: ${protocolName(protocol)}`);
    if (protocol === protocols.tcp) say(`${ports}: TCP [${tcpFlagText(cursor)}]`);
  } else if (protocol === protocols.icmp) {
    say(`${flow}: ICMP ${readMessage(icmpNames, cursor).text}`);
  } else if (protocol === protocols.icmp6) {
    say(`${flow}: ICMPv6 ${icmp6Text(cursor)}`);
  }
}

function protocolName(protocol: number): string {
  const known = Object.entries(protocols).find(([, number]) => number === protocol)?.[0];
  if (known === 'icmp6') return 'ICMPv6';
  return known?.toUpperCase() ?? protocolNames[protocol] ?? `protocol ${protocol}`;
}

function tcpFlagText(cursor: Cursor): string {
  cursor.take(9);
  const flags = cursor.uint8();
  return tcpFlags.map(([bit, letter]) => ((flags & bit) === 0 ? '' : letter)).join('');
}

/** The beginning of an ICMP or ICMPv6 message. */
function readMessage(
  names: Readonly<Record<number, string>>,
  cursor: Cursor,
): { readonly type: number; readonly text: string } {
  const [type, code] = [cursor.uint8(), cursor.uint8()];
  return { type, text: (names[type] ?? `type ${type}`) + (code === 0 ? '' : ` code ${code}`) };
}

function icmp6Text(cursor: Cursor): string {
  const { type, text } = readMessage(icmp6Names, cursor);
  if (!neighbourMessages.has(type)) return text;
  cursor.take(6);
  return `${text} ${type === 135 ? 'who has' : 'for'} ${cursor.ip(16)}`;
}
