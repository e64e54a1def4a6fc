import { IovnError } from '../../common/errors.js';
import { encodeFdbEntry } from '../../generated/bpf/layouts.js';
import type { TableEntryInput } from '../../generated/proto/iovn/v1/TableEntry.js';
import type { DataPlane } from '../data-plane.js';
import type { FdbTable } from '../fdb/fdb-table.js';
import { isShownTable, keyText, type ShownTable, shownTables, valueText } from './table-text.js';

/** Entries of a reply: some 100 KB. */
const entriesPerPiece = 500;

/** Parts that make a reply each; one, empty, of nothing. */
export function* pieces<T>(all: readonly T[]): Generator<T[]> {
  for (let from = 0; from === 0 || from < all.length; from += entriesPerPiece)
    yield all.slice(from, from + entriesPerPiece);
}

/** What of a data plane can be shown entry by entry. */
export interface ReadablePlane extends Pick<DataPlane, 'readTable'> {
  readonly fdb: Pick<FdbTable, 'chunks'>;
}

/** Throws IovnError 'unknown_map', which names those that there are. */
export function* readTable(plane: ReadablePlane, map: string, limit: number): Generator<TableEntryInput[]> {
  if (!isShownTable(map)) {
    throw new IovnError(
      'unknown_map',
      `there is no map '${map}' to be shown; there are ${shownTables.join(', ')}`,
    );
  }
  let left = limit === 0 ? Number.POSITIVE_INFINITY : limit;
  for (const entries of chunksOf(plane, map)) {
    const shown = [...entries]
      .slice(0, left)
      .map(([key, value]) => ({ key: keyText(map, Buffer.from(key, 'hex')), value: valueText(map, value) }));
    left -= shown.length;
    yield* pieces(shown);
    if (left <= 0) return;
  }
}

function* chunksOf(plane: ReadablePlane, map: ShownTable): Generator<ReadonlyMap<string, Uint8Array>> {
  if (map !== 'fdb') {
    yield plane.readTable(map);
    return;
  }
  for (const chunk of plane.fdb.chunks())
    yield new Map(Array.from(chunk, ([key, entry]) => [key, encodeFdbEntry(entry)]));
}
