import type { SlotKey } from './local-ports.js';

export interface SlotAssignment<Key extends string = SlotKey> {
  /** Slot of each port that has one, by its key. */
  readonly slots: ReadonlyMap<Key, number>;
  /** Ports for which there is no room; they are served as soon as there is. */
  readonly unassigned: readonly Key[];
  /** Slots that were in use before and are not any more. */
  readonly released: readonly number[];
}

/**
 * Gives each wanted port a slot of 1..slotCount-1. A port keeps the slot it has; a new one gets the lowest that nobody
 * had before, so that nothing in the kernel that still points to a port that leaves can reach the one that comes.
 */
export function assignSlots<Key extends string>(
  previous: ReadonlyMap<Key, number>,
  wanted: Iterable<Key>,
  slotCount: number,
): SlotAssignment<Key> {
  const keys = [...new Set(wanted)].sort();
  const taken = new Set(previous.values());
  const slots = new Map<Key, number>();
  for (const key of keys) {
    const slot = previous.get(key);
    if (slot !== undefined && slot < slotCount) slots.set(key, slot);
  }
  const unassigned: Key[] = [];
  let next = 1;
  for (const key of keys) {
    if (slots.has(key)) continue;
    while (taken.has(next)) next++;
    if (next < slotCount) slots.set(key, next++);
    else unassigned.push(key);
  }
  const released = [...previous].filter(([key]) => !slots.has(key)).map(([, slot]) => slot);
  return { slots, unassigned, released: released.sort((a, b) => a - b) };
}
