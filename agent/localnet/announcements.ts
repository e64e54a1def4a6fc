import { type Ifindex, type Mac, macBytes } from '../../common/addresses.js';
import type { NeighbourIntent } from '../intent.js';
import { localnetsByDatapath } from './localnets.js';
import type { PluggedPort } from '../modules/io-module.js';
import { insertTag } from '../trace/tags.js';

/** A frame by which a physical network learns where a port is now. */
export interface Announcement {
  /** Of the port's device, as if its VM had sent the frame there. */
  readonly ifindex: Ifindex;
  readonly frame: Uint8Array;
}

const etherTypes = { arp: 0x0806, rarp: 0x8035, vlan: 0x8100 } as const;
const operations = { arpRequest: 1, rarpRequest: 3 } as const;
const noMac = new Uint8Array(6);
const noAddress = new Uint8Array(4);

/** Ethernet (1) and IPv4 addresses: RFC 826, RFC 903. */
function arpLike(
  type: number,
  operation: number,
  source: Mac,
  targetMac: Uint8Array,
  ip: Uint8Array,
): Uint8Array {
  const mac = macBytes(source);
  const fixed = [type >> 8, type & 0xff, 0, 1, 8, 0, 6, 4, 0, operation];
  return Uint8Array.of(255, 255, 255, 255, 255, 255, ...mac, ...fixed, ...mac, ...ip, ...targetMac, ...ip);
}

/** What ovn-controller sends: an ARP request for the port's own address, or a RARP request where it has none. */
function announcementFrame({ mac, address }: NeighbourIntent): Uint8Array {
  return address.length === 0
    ? arpLike(etherTypes.rarp, operations.rarpRequest, mac, macBytes(mac), noAddress)
    : arpLike(etherTypes.arp, operations.arpRequest, mac, noMac, address);
}

/**
 * As in OVN: the VIFs bound to this chassis, nested ones too, on switches with a localnet port here; those that may not send are
 * left out. By what makes an announcement another one.
 */
export function findAnnouncements(plugged: readonly PluggedPort[]): ReadonlyMap<string, Announcement> {
  const localnets = localnetsByDatapath(plugged);
  const found = new Map<string, Announcement>();
  for (const { port, role, key, datapathKey, device, vlanId } of plugged) {
    if (port.announced === undefined || !port.enabled || role !== 'main') continue;
    if (!localnets.has(datapathKey)) continue;
    const plain = announcementFrame(port.announced);
    const frame = vlanId === 0 ? plain : insertTag(plain, { type: etherTypes.vlan, tci: vlanId });
    const id = `${key} ${device.ifindex} ${Buffer.from(frame).toString('hex')}`;
    found.set(id, { ifindex: device.ifindex, frame });
  }
  return found;
}
