import { formatIp, macBytes } from '../../common/addresses.js';
import { encodeNeighbour, encodeNeighbourKey, ipFamily } from '../../generated/bpf/layouts.js';
import type { NeighbourIntent, PortIntent } from '../intent.js';
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

interface PortNeighbours {
  readonly datapathKey: number;
  /** One for each of the port's addresses, in their order. */
  readonly entries: readonly TableEntry[];
}

/** Ports are immutable: what was encoded for one is good until it is replaced or moves to another switch. */
const encodedNeighbours = new WeakMap<PortIntent, PortNeighbours>();

function encodeNeighbours({ port, datapathKey }: SwitchPort): readonly TableEntry[] {
  const known = encodedNeighbours.get(port);
  if (known?.datapathKey === datapathKey) return known.entries;
  const owner = portRef(port);
  const entries = port.neighbours.map(({ address, mac }): TableEntry => {
    const value = encodeNeighbour({ portKey: port.portKey, mac: macBytes(mac) });
    return { table: 'neighbours', key: keyOf(datapathKey, address), value, owner };
  });
  encodedNeighbours.set(port, { datapathKey, entries });
  return entries;
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
      for (const [index, entry] of encodeNeighbours(each).entries()) {
        const holder = holders.get(entry.key);
        if (holder === undefined) {
          holders.set(entry.key, each);
          entries.push(entry);
        } else if (holder.port !== each.port) {
          const neighbour = each.port.neighbours[index];
          if (neighbour !== undefined) problems.push(duplicateAddress(each, neighbour, holder));
        }
      }
    }
    return { entries, problems };
  },
};
