import { decodeMemberKey, encodeMember, encodeMemberKey } from '../generated/bpf/layouts.js';
import type { TableEntries, TableName } from './data-plane.js';

/** The maps that hold linked lists. */
export const listTables = ['multicast_members', 'remote_members'] as const satisfies readonly TableName[];

export interface FittedGroups {
  readonly entries: TableEntries;
  /** Keys of the entries that the members which are in no list would have. */
  readonly leftOut: readonly string[];
}

export interface MembersRoom {
  /** What the kernel holds; entries that nobody wants any more take room until the end of the round. */
  readonly actual: TableEntries;
  readonly capacity: number;
  /** Keys of entries that the kernel has refused. */
  readonly refused: ReadonlySet<string>;
}

/** One group's list as it is wanted. */
interface List {
  readonly datapathKey: number;
  readonly groupKey: number;
  /** By slot. */
  readonly members: number[];
}

function keyOf({ datapathKey, groupKey }: List, slot: number): string {
  return Buffer.from(encodeMemberKey({ datapathKey, groupKey, slot })).toString('hex');
}

function listsOf(entries: TableEntries): readonly List[] {
  const lists = new Map<string, List>();
  for (const key of entries.keys()) {
    const { datapathKey, groupKey, slot } = decodeMemberKey(Buffer.from(key, 'hex'));
    const id = `${datapathKey}/${groupKey}`;
    const list = lists.get(id) ?? { datapathKey, groupKey, members: [] };
    lists.set(id, list);
    if (slot !== 0) list.members.push(slot);
  }
  for (const { members } of lists.values()) members.sort((a, b) => a - b);
  return [...lists.values()].sort((a, b) => a.datapathKey - b.datapathKey || a.groupKey - b.groupKey);
}

function link(list: List, members: readonly number[]): (readonly [string, Uint8Array])[] {
  if (members.length === 0) return [];
  const chain = [0, ...members];
  return chain.map((slot, index) => [keyOf(list, slot), encodeMember({ nextSlot: chain[index + 1] ?? 0 })]);
}

/**
 * The lists of multicast members (maps `multicast_members` and `remote_members`, which have one layout; what is called a
 * slot here is a tunnel's number there) that can be written in full. A list of which the kernel
 * refused an entry would lose the members behind it: who does not fit is left out of it beforehand. Those who are in the
 * kernel stay, and the others come in the order of datapath, group and slot.
 */
export function fitGroups(desired: TableEntries, { actual, capacity, refused }: MembersRoom): FittedGroups {
  let room = capacity - actual.size;
  const missing = [...desired.keys()].filter((key) => !actual.has(key)).length;
  if (missing <= room && refused.size === 0) return { entries: desired, leftOut: [] };
  const wanted = listsOf(desired).map((list) => {
    const head = keyOf(list, 0);
    const members = list.members.map((slot) => ({ slot, key: keyOf(list, slot) }));
    return { list, head, members, admitted: new Set<string>() };
  });
  /* Who is there already is first served, in all groups. */
  for (const isPresent of [true, false]) {
    for (const { head, members, admitted } of wanted) {
      if (refused.has(head)) continue;
      for (const { key } of members) {
        if (refused.has(key) || actual.has(key) !== isPresent) continue;
        const cost = Number(!isPresent) + Number(admitted.size === 0 && !actual.has(head));
        if (cost > room) continue;
        room -= cost;
        admitted.add(key);
      }
    }
  }
  const entries = wanted.flatMap(({ list, members, admitted }) =>
    link(
      list,
      members.filter(({ key }) => admitted.has(key)).map(({ slot }) => slot),
    ),
  );
  const leftOut = wanted.flatMap(({ members, admitted }) =>
    members.filter(({ key }) => !admitted.has(key)).map(({ key }) => key),
  );
  return { entries: new Map(entries), leftOut };
}
