import test from 'ava';
import fc from 'fast-check';

import { slotKey, type SlotKey } from '../../agent/local-ports.js';
import { assignSlots } from '../../agent/slots.js';

const keys = fc.uniqueArray(
  fc.integer({ min: 1, max: 12 }).map((port) => slotKey(1, port)),
  { maxLength: 12 },
);
const slotCount = 8;

test('slots start at 1 and go up', (t) => {
  const { slots } = assignSlots(new Map(), ['1/2', '1/1'], 8);
  t.deepEqual(
    slots,
    new Map<SlotKey, number>([
      ['1/1', 1],
      ['1/2', 2],
    ]),
  );
});

test('a slot that has just become free is not given away in the same round', (t) => {
  const first = assignSlots(new Map(), ['1/1'], 3);
  const second = assignSlots(first.slots, ['1/2'], 3);
  t.is(second.slots.get('1/2'), 2);
  t.deepEqual(second.released, [1]);
  const third = assignSlots(second.slots, ['1/2', '1/3'], 3);
  t.is(third.slots.get('1/3'), 1);
});

test('a full node serves nobody more until a slot is free', (t) => {
  const full = assignSlots(new Map(), ['1/1', '1/2'], 3);
  const over = assignSlots(full.slots, ['1/1', '1/2', '1/3'], 3);
  t.deepEqual(over.unassigned, ['1/3']);
  const swapped = assignSlots(full.slots, ['1/2', '1/3'], 3);
  t.deepEqual(swapped.unassigned, ['1/3'], 'slot 1 is only free after this round');
  t.is(assignSlots(swapped.slots, ['1/2', '1/3'], 3).slots.get('1/3'), 1);
});

test('property: unique, in range, stable, complete as far as there is room, independent of order', (t) => {
  fc.assert(
    fc.property(fc.array(keys, { minLength: 1, maxLength: 6 }), (rounds) => {
      let previous: ReadonlyMap<SlotKey, number> = new Map();
      for (const wanted of rounds) {
        const result = assignSlots(previous, wanted, slotCount);
        const { slots, unassigned, released } = result;
        const used = [...slots.values()];
        t.is(new Set(used).size, used.length);
        t.true(used.every((slot) => slot >= 1 && slot < slotCount));
        for (const key of wanted) {
          const before = previous.get(key);
          if (before !== undefined) t.is(slots.get(key), before);
        }
        t.deepEqual([...slots.keys(), ...unassigned].sort(), [...wanted].sort());
        const before = new Set(previous.values());
        for (const [key, slot] of slots) if (!previous.has(key)) t.false(before.has(slot));
        if (unassigned.length > 0) t.is(used.length + released.length, slotCount - 1);
        t.deepEqual(assignSlots(previous, [...wanted].reverse(), slotCount), result);
        previous = slots;
      }
    }),
  );
});
