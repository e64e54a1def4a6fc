import { dropReasons } from '../../generated/bpf/layouts.js';
import type { TableEntryInput } from '../../generated/proto/iovn/v1/TableEntry.js';
import type { PortCounters } from '../data-plane.js';
import type { ReadablePlane } from './table-reader.js';

/** The maps that the programs write, `fdb` excepted: totals over all CPUs, and what has been activated. */
export const programMaps = [
  'activations',
  'port_counters',
  'drops',
  'learning_counters',
  'drop_sampling',
] as const;
export type ProgramMap = (typeof programMaps)[number];

export function isProgramMap(name: string): name is ProgramMap {
  return (programMaps as readonly string[]).includes(name);
}

const slotsPerChunk = 1024;

/** Slots of which nothing is counted are left out. */
export function* programMapEntries(plane: ReadablePlane, map: ProgramMap): Generator<TableEntryInput[]> {
  switch (map) {
    case 'activations':
      yield plane
        .readActivations()
        .map(({ datapathKey, portKey, ifindex }) => entry({ datapathKey, portKey }, { ifindex }));
      return;
    case 'port_counters':
      yield* perSlot(plane, ({ drops: _drops, ...traffic }) => traffic);
      return;
    case 'drops':
      yield* perSlot(plane, ({ drops }) =>
        Object.fromEntries(
          Array.from(drops).flatMap((count, reason) =>
            count === 0n ? [] : [[dropReasons[reason]?.name ?? String(reason), count]],
          ),
        ),
      );
      return;
    case 'learning_counters':
      yield [entry({ index: 0 }, plane.fdb.counters())];
      return;
    case 'drop_sampling':
      yield [entry({ index: 0 }, { lostSamples: plane.lostDropSamples() })];
  }
}

function* perSlot(
  plane: ReadablePlane,
  pick: (counters: PortCounters) => object,
): Generator<TableEntryInput[]> {
  for (let first = 0; first < plane.slotCount; first += slotsPerChunk) {
    const count = Math.min(slotsPerChunk, plane.slotCount - first);
    const slots = Array.from({ length: count }, (_, index) => first + index);
    yield [...plane.readCounters(slots)].flatMap(([slot, counters]) => {
      const value = pick(counters);
      const isCounted = Object.values(value).some((each) => each !== 0n);
      return isCounted ? [entry({ slot }, value)] : [];
    });
  }
}

/** 64-bit counters as numbers: ours stay below 2^53. */
function entry(key: object, value: object): TableEntryInput {
  return {
    key: JSON.stringify(key),
    value: JSON.stringify(value, (_name, each: unknown) => (typeof each === 'bigint' ? Number(each) : each)),
  };
}
