import { type Ifindex, type Mac, macBytes, macFromBytes } from '../../common/addresses.js';
import type { TunnelType } from '../tunnels/tunnel-endpoints.js';

/** rtnetlink's wire format (rtnetlink(7), linux/rtnetlink.h, linux/if_link.h): host byte order, 4-byte alignment. */
export const messageTypes = {
  error: 2,
  done: 3,
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  newAddress: 20,
  deleteAddress: 21,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
  newFilter: 44,
  getFilter: 46,
} as const;

export const requestFlags = {
  request: 0x1,
  acknowledge: 0x4,
  exclusive: 0x200,
  dump: 0x300,
  create: 0x400,
} as const;

/** In an answer: what was dumped changed meanwhile, so it may be inconsistent. */
const dumpInterrupted = 0x10;

const headerLength = 16;
const interfaceInfoLength = 16;
const flagUp = 0x1;
const flagRunning = 0x40;
const flagPromiscuous = 0x100;

const linkAttributes = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  linkInfo: 18,
  afSpec: 26,
  linkNetnsid: 37,
  gsoMaxSegments: 40,
  gsoMaxSize: 41,
} as const;
const linkInfoKind = 1;
const linkInfoData = 2;
const vethInfoPeer = 1;
/** IFLA_GENEVE_* */
const geneveInfo = { port: 5, collectMetadata: 6, zeroChecksumIp6Receive: 10 } as const;
/** IFLA_VXLAN_* */
const vxlanInfo = { learning: 7, port: 15, zeroChecksumIp6Receive: 20, collectMetadata: 25 } as const;
const addressFamilyInet6 = 10;
const inet6AddressGeneration = 8;
const addressGenerationNone = 1;

export interface Message {
  readonly type: number;
  readonly sequence: number;
  readonly interrupted: boolean;
  readonly payload: Buffer;
}

/** A network interface as the kernel describes it. */
export interface Link {
  readonly ifindex: Ifindex;
  readonly name: string;
  /** All zero on interfaces that have no Ethernet address. */
  readonly mac: Mac;
  readonly mtu: number;
  readonly adminUp: boolean;
  /** Up and with carrier (IFF_RUNNING), which is what OVS calls `link_state`. */
  readonly operUp: boolean;
  /** IFLA_INFO_KIND: 'veth', 'tun', 'vxlan' ...; empty for physical interfaces and loopback. */
  readonly kind: string;
  readonly peerInOtherNamespace: boolean;
  /** As somebody has set it, not what packet sockets ask for. */
  readonly promiscuous: boolean;
  /** The other end of a veth, or the lower interface; counted in its own namespace. */
  readonly peerIfindex?: Ifindex;
  readonly masterIndex?: Ifindex;
}

/** Splits a datagram into its messages; undefined when it is cut off or malformed. */
export function decodeMessages(datagram: Buffer): Message[] | undefined {
  const messages: Message[] = [];
  for (let offset = 0; offset < datagram.length; ) {
    if (datagram.length - offset < headerLength) return undefined;
    const length = datagram.readUInt32LE(offset);
    if (length < headerLength || offset + length > datagram.length) return undefined;
    messages.push({
      type: datagram.readUInt16LE(offset + 4),
      interrupted: (datagram.readUInt16LE(offset + 6) & dumpInterrupted) !== 0,
      sequence: datagram.readUInt32LE(offset + 8),
      payload: datagram.subarray(offset + headerLength, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** The positive errno of an NLMSG_ERROR message; 0 is an acknowledgement. */
export function decodeError(payload: Buffer): number {
  return payload.length < 4 ? 0 : Math.abs(payload.readInt32LE(0));
}

/** Reads the payload of RTM_NEWLINK or RTM_DELLINK; undefined when it describes no interface. */
export function decodeLink(payload: Buffer): Link | undefined {
  if (payload.length < interfaceInfoLength) return undefined;
  const attributes = decodeAttributes(payload.subarray(interfaceInfoLength));
  const name = attributes.get(linkAttributes.name);
  if (name === undefined) return undefined;
  const flags = payload.readUInt32LE(8);
  const address = attributes.get(linkAttributes.address);
  const peer = readIndex(attributes, linkAttributes.link);
  const master = readIndex(attributes, linkAttributes.master);
  const info = decodeAttributes(attributes.get(linkAttributes.linkInfo) ?? Buffer.alloc(0));
  return {
    ifindex: payload.readInt32LE(4) as Ifindex,
    name: readText(name),
    mac: macFromBytes(address?.length === 6 ? address : new Uint8Array(6)),
    mtu: readNumber(attributes.get(linkAttributes.mtu)) ?? 0,
    adminUp: (flags & flagUp) !== 0,
    operUp: (flags & flagRunning) !== 0,
    kind: readText(info.get(linkInfoKind) ?? Buffer.alloc(0)),
    peerInOtherNamespace: attributes.has(linkAttributes.linkNetnsid),
    promiscuous: (flags & flagPromiscuous) !== 0,
    ...(peer !== undefined && { peerIfindex: peer }),
    ...(master !== undefined && { masterIndex: master }),
  };
}

/** Asks for every interface, or for one. */
export function encodeGetLink(sequence: number, ifindex?: Ifindex): Buffer {
  const flags = ifindex === undefined ? requestFlags.request | requestFlags.dump : requestFlags.request;
  return encodeMessage(messageTypes.getLink, flags, sequence, [interfaceInfo(ifindex ?? 0)]);
}

/** Asks for a new veth pair, both ends in this namespace and down. */
export function encodeCreateVeth(sequence: number, name: string, peerName: string, mac?: Mac): Buffer {
  const { request, acknowledge, create, exclusive } = requestFlags;
  const peer = Buffer.concat([interfaceInfo(0), encodeText(linkAttributes.name, peerName)]);
  const data = encodeAttribute(linkInfoData, encodeAttribute(vethInfoPeer, peer));
  const info = encodeAttribute(
    linkAttributes.linkInfo,
    Buffer.concat([encodeText(linkInfoKind, 'veth'), data]),
  );
  return encodeMessage(messageTypes.newLink, request | acknowledge | create | exclusive, sequence, [
    interfaceInfo(0),
    encodeText(linkAttributes.name, name),
    ...(mac === undefined ? [] : [encodeAttribute(linkAttributes.address, Buffer.from(macBytes(mac)))]),
    info,
  ]);
}

/** The attributes of a device of which packets tell the addresses, and the UDP ports that OVN uses (RFC 8926, RFC 7348). */
function tunnelDeviceData(type: TunnelType): Buffer {
  const port = Buffer.alloc(2);
  port.writeUInt16BE(type === 'geneve' ? 6081 : 4789);
  const [yes, no] = [Buffer.of(1), Buffer.of(0)];
  return type === 'geneve'
    ? Buffer.concat([
        encodeAttribute(geneveInfo.collectMetadata, Buffer.alloc(0)),
        encodeAttribute(geneveInfo.port, port),
        encodeAttribute(geneveInfo.zeroChecksumIp6Receive, yes),
      ])
    : Buffer.concat([
        encodeAttribute(vxlanInfo.collectMetadata, yes),
        encodeAttribute(vxlanInfo.learning, no),
        encodeAttribute(vxlanInfo.port, port),
        encodeAttribute(vxlanInfo.zeroChecksumIp6Receive, yes),
      ]);
}

/**
 * Asks for a new tunnel device that learns nothing and has its addresses told with each packet. Tunnel packets over IPv6
 * without a checksum are accepted, as Open vSwitch does.
 */
export function encodeCreateTunnelDevice(sequence: number, name: string, type: TunnelType): Buffer {
  const { request, acknowledge, create, exclusive } = requestFlags;
  const data = encodeAttribute(linkInfoData, tunnelDeviceData(type));
  const info = Buffer.concat([encodeText(linkInfoKind, type), data]);
  return encodeMessage(messageTypes.newLink, request | acknowledge | create | exclusive, sequence, [
    interfaceInfo(0),
    encodeText(linkAttributes.name, name),
    encodeAttribute(linkAttributes.linkInfo, info),
  ]);
}

/** Sets an interface up, without an IPv6 address of its own. */
export function encodeSetUpSilent(sequence: number, ifindex: Ifindex): Buffer {
  const flags = requestFlags.request | requestFlags.acknowledge;
  return encodeMessage(messageTypes.newLink, flags, sequence, [
    interfaceInfo(ifindex, flagUp, flagUp),
    noIp6Address(),
  ]);
}

export function encodeSetUp(sequence: number, ifindex: Ifindex): Buffer {
  const flags = requestFlags.request | requestFlags.acknowledge;
  return encodeMessage(messageTypes.newLink, flags, sequence, [interfaceInfo(ifindex, flagUp, flagUp)]);
}

export function encodeSetPromiscuous(sequence: number, ifindex: Ifindex, on: boolean): Buffer {
  const flags = requestFlags.request | requestFlags.acknowledge;
  const info = interfaceInfo(ifindex, on ? flagPromiscuous : 0, flagPromiscuous);
  return encodeMessage(messageTypes.newLink, flags, sequence, [info]);
}

/** What a device of the node's relay is to be. */
export interface RelayLink {
  readonly mtu: number;
  /** The kernel cuts GSO packets into segments that have more segments, or bytes, than the device takes. */
  readonly gsoMaxSegments: number;
  readonly gsoMaxBytes: number;
}

/** Sets it up with these values, and without an IPv6 address of its own. */
export function encodeConfigureRelay(sequence: number, ifindex: Ifindex, relay: RelayLink): Buffer {
  const flags = requestFlags.request | requestFlags.acknowledge;
  const parts = [
    interfaceInfo(ifindex, flagUp, flagUp),
    encodeNumber(linkAttributes.mtu, relay.mtu),
    encodeNumber(linkAttributes.gsoMaxSegments, relay.gsoMaxSegments),
    encodeNumber(linkAttributes.gsoMaxSize, relay.gsoMaxBytes),
    noIp6Address(),
  ];
  return encodeMessage(messageTypes.newLink, flags, sequence, parts);
}

export function encodeDeleteLink(sequence: number, ifindex: Ifindex): Buffer {
  const flags = requestFlags.request | requestFlags.acknowledge;
  return encodeMessage(messageTypes.deleteLink, flags, sequence, [interfaceInfo(ifindex)]);
}

/** Asks for the traffic control filters below `parent` (TC_H_CLSACT's minor numbers, say) of an interface. */
export function encodeGetFilters(sequence: number, ifindex: Ifindex, parent: number): Buffer {
  const info = Buffer.alloc(20);
  info.writeInt32LE(ifindex, 4);
  info.writeUInt32LE(parent, 12);
  return encodeMessage(messageTypes.getFilter, requestFlags.request | requestFlags.dump, sequence, [info]);
}

function align(length: number): number {
  return (length + 3) & ~3;
}

export function encodeMessage(
  type: number,
  flags: number,
  sequence: number,
  parts: readonly Buffer[],
): Buffer {
  const header = Buffer.alloc(headerLength);
  const message = Buffer.concat([header, ...parts]);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt16LE(flags, 6);
  message.writeUInt32LE(sequence, 8);
  return message;
}

function noIp6Address(): Buffer {
  const none = encodeAttribute(inet6AddressGeneration, Buffer.from([addressGenerationNone]));
  return encodeAttribute(linkAttributes.afSpec, encodeAttribute(addressFamilyInet6, none));
}

/** struct ifinfomsg */
function interfaceInfo(ifindex: number, flags = 0, change = 0): Buffer {
  const info = Buffer.alloc(interfaceInfoLength);
  info.writeInt32LE(ifindex, 4);
  info.writeUInt32LE(flags, 8);
  info.writeUInt32LE(change, 12);
  return info;
}

export function encodeAttribute(type: number, value: Buffer): Buffer {
  const attribute = Buffer.alloc(align(4 + value.length));
  attribute.writeUInt16LE(4 + value.length, 0);
  attribute.writeUInt16LE(type, 2);
  value.copy(attribute, 4);
  return attribute;
}

function encodeNumber(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value, 0);
  return encodeAttribute(type, bytes);
}

function encodeText(type: number, text: string): Buffer {
  return encodeAttribute(type, Buffer.from(`${text}\0`));
}

/** Attributes by type; of a malformed list, those before the fault. */
export function decodeAttributes(bytes: Buffer): Map<number, Buffer> {
  const typeMask = 0x3fff; /* without NLA_F_NESTED and NLA_F_NET_BYTEORDER */
  const attributes = new Map<number, Buffer>();
  for (let offset = 0; offset + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(offset);
    if (length < 4 || offset + length > bytes.length) break;
    attributes.set(bytes.readUInt16LE(offset + 2) & typeMask, bytes.subarray(offset + 4, offset + length));
    offset += align(length);
  }
  return attributes;
}

function readText(value: Buffer): string {
  const end = value.indexOf(0);
  return value.toString('utf8', 0, end < 0 ? value.length : end);
}

function readNumber(value: Buffer | undefined): number | undefined {
  return value?.length === 4 ? value.readUInt32LE(0) : undefined;
}

function readIndex(attributes: ReadonlyMap<number, Buffer>, type: number): Ifindex | undefined {
  const value = readNumber(attributes.get(type));
  return value === undefined || value === 0 ? undefined : (value as Ifindex);
}
