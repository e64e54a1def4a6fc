import type { Mac } from '../../common/addresses.js';
import {
  allowedAddressFlags,
  constants,
  encodeAllowedAddress,
  encodeAllowedAddressKey,
} from '../../generated/bpf/layouts.js';
import type { NeighbourIntent } from '../intent.js';
import { hexKey, type IoModule, type PluggedPort, portRef, type TableEntry } from './io-module.js';
import { addressKey, linkLocalAddress } from './port-security.js';

const ip4Bytes = 4;
const ip6Bytes = 16;
const value = encodeAllowedAddress({ flags: allowedAddressFlags.ALLOWED_SOURCE });

/** A MAC with an IPv6 address has a link-local one, too. */
function linkLocals(addresses: readonly NeighbourIntent[]): readonly NeighbourIntent[] {
  const macs = new Set<Mac>(
    addresses.flatMap(({ address, mac }) => (address.length === ip6Bytes ? [mac] : [])),
  );
  return Array.from(macs, (mac) => ({ mac, address: linkLocalAddress(mac) }));
}

function entriesOf({ port, slot, awaits }: PluggedPort): readonly TableEntry[] {
  const lengths = [
    ...(awaits.includes('garp') ? [ip4Bytes] : []),
    ...(awaits.includes('na') ? [ip6Bytes] : []),
  ];
  return [...port.activating, ...linkLocals(port.activating)]
    .filter(({ address }) => lengths.includes(address.length))
    .map(({ address, mac }) => {
      const { family, ...rest } = addressKey(slot, mac, address);
      const key = encodeAllowedAddressKey({ ...rest, family: family | constants.ACTIVATING_FAMILY });
      return { table: 'allowed_addresses', key: hexKey(key), value, owner: portRef(port) };
    });
}

/** Whose gratuitous ARP and advertisements activate a port that waits for them (bpf/activation.h). */
export const activation: IoModule = {
  name: 'activation',
  tables: [],
  compute: ({ plugged }) => ({ entries: plugged.flatMap(entriesOf), problems: [] }),
};
