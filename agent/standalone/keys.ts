import { createHash } from 'node:crypto';

/**
 * A number from 1 to `maximum` for each name, which depends on the name, and hardly ever on the others: so that it stays
 * what it is when others come and go, also over restarts. Throws RangeError when there are more names than numbers.
 */
export function assignKeys(names: readonly string[], maximum: number): ReadonlyMap<string, number> {
  if (names.length > maximum) throw new RangeError(`${names.length} names for ${maximum} keys`);
  const keys = new Map<string, number>();
  const taken = new Set<number>();
  for (const name of names.toSorted()) {
    let key = (createHash('sha256').update(name).digest().readUInt32BE() % maximum) + 1;
    while (taken.has(key)) key = (key % maximum) + 1;
    taken.add(key);
    keys.set(name, key);
  }
  return keys;
}
