import { formatIp, macBytes } from '../../common/addresses.js';
import { encodeNeighbour, encodeNeighbourKey, ipFamily } from '../../generated/bpf/layouts.js';
import type { NeighbourIntent } from '../intent.js';
import type { ResourceProblem } from '../resources.js';
import { hexKey, type IoModule, portRef, type SwitchPort, type TableEntry } from './io-module.js';

function keyOf(datapathKey: number, address: Uint8Array): string {
  const padded = new Uint8Array(16);
  padded.set(address);
  const family = address.length === 16 ? ipFamily.FAMILY_IP6 : ipFamily.FAMILY_IP4;
  return hexKey(encodeNeighbourKey({ datapathKey, family, address: padded }));
}

function duplicateAddress(
  { port }: SwitchPort,
  { address }: NeighbourIntent,
  holder: SwitchPort,
): ResourceProblem {
  const message = `${formatIp(address)} is already an address of ${holder.port.name} of the same switch`;
  return { ...portRef(port), code: 'duplicate_address', message };
}

/** Answers for the addresses of every port of the node's switches; of several ports with one address the first has it. */
export const arpNdResponder: IoModule = {
  name: 'arp-nd-responder',
  tables: ['neighbours'],
  compute: ({ ports }) => {
    const holders = new Map<string, SwitchPort>();
    const entries: TableEntry[] = [];
    const problems: ResourceProblem[] = [];
    for (const each of ports) {
      for (const neighbour of each.port.neighbours) {
        const key = keyOf(each.datapathKey, neighbour.address);
        const holder = holders.get(key);
        if (holder === undefined) {
          holders.set(key, each);
          const value = encodeNeighbour({ portKey: each.port.portKey, mac: macBytes(neighbour.mac) });
          entries.push({ table: 'neighbours', key, value, owner: portRef(each.port) });
        } else if (holder.port !== each.port) {
          problems.push(duplicateAddress(each, neighbour, holder));
        }
      }
    }
    return { entries, problems };
  },
};
