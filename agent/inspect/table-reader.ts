import { IovnError } from '../../common/errors.js';
import { encodeFdbEntry } from '../../generated/bpf/layouts.js';
import type { TableEntryInput } from '../../generated/proto/iovn/v1/TableEntry.js';
import type { DataPlane, TableUsage } from '../data-plane.js';
import type { DropSource } from '../drops/drop-source.js';
import type { FdbTable } from '../fdb/fdb-table.js';
import { isProgramMap, programMapEntries, programMaps } from './program-maps.js';
import { type ByteTable, byteTables, isByteTable, keyText, valueText } from './table-text.js';

/** Entries of a reply: some 100 KB. */
const entriesPerPiece = 500;

/** Parts that make a reply each; one, empty, of nothing. */
export function* pieces<T>(all: readonly T[]): Generator<T[]> {
  for (let from = 0; from === 0 || from < all.length; from += entriesPerPiece)
    yield all.slice(from, from + entriesPerPiece);
}

/** What of a data plane can be shown entry by entry. */
export interface ReadablePlane
  extends Pick<DataPlane, 'readTable' | 'readActivations' | 'readCounters' | 'slotCount'>,
    Pick<DropSource, 'lostDropSamples'> {
  readonly fdb: Pick<FdbTable, 'capacity' | 'chunks' | 'counters'>;
}

/** In parts; one, empty, of an empty map. Throws IovnError 'unknown_map', which names those that there are. */
export function* readTable(plane: ReadablePlane, map: string, limit: number): Generator<TableEntryInput[]> {
  let left = limit === 0 ? Number.POSITIVE_INFINITY : limit;
  let isEmpty = true;
  for (const entries of chunksOf(plane, map)) {
    const shown = entries.slice(0, left);
    left -= shown.length;
    isEmpty = false;
    yield* pieces(shown);
    if (left <= 0) return;
  }
  if (isEmpty) yield [];
}

/** How full the maps are that the programs write. */
export function programMapUsage(plane: ReadablePlane): TableUsage[] {
  let learned = 0;
  for (const chunk of plane.fdb.chunks()) learned += chunk.size;
  const slots = plane.slotCount;
  return [
    { name: 'fdb', entries: learned, capacity: plane.fdb.capacity },
    { name: 'activations', entries: plane.readActivations().length, capacity: slots },
    { name: 'port_counters', entries: slots, capacity: slots },
    { name: 'drops', entries: slots, capacity: slots },
    { name: 'learning_counters', entries: 1, capacity: 1 },
    { name: 'drop_sampling', entries: 1, capacity: 1 },
  ];
}

function* chunksOf(plane: ReadablePlane, map: string): Generator<TableEntryInput[]> {
  if (isProgramMap(map)) yield* programMapEntries(plane, map);
  else if (!isByteTable(map)) {
    const names = [...byteTables, ...programMaps].join(', ');
    throw new IovnError('unknown_map', `there is no map '${map}' to be shown; there are ${names}`);
  } else {
    for (const entries of byteChunks(plane, map)) {
      yield Array.from(entries, ([key, value]) => ({
        key: keyText(map, Buffer.from(key, 'hex')),
        value: valueText(map, value),
      }));
    }
  }
}

function* byteChunks(plane: ReadablePlane, map: ByteTable): Generator<ReadonlyMap<string, Uint8Array>> {
  if (map !== 'fdb') {
    yield plane.readTable(map);
    return;
  }
  for (const chunk of plane.fdb.chunks())
    yield new Map(Array.from(chunk, ([key, entry]) => [key, encodeFdbEntry(entry)]));
}
