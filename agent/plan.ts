import { compareText } from '../common/compare.js';
import type { Ifindex } from '../common/addresses.js';
import type { ProgramName, TableEntries, TableName } from './data-plane.js';
import { decodeUint32 } from './modules/uint32.js';

export type Tables = ReadonlyMap<TableName, TableEntries>;

/** Where another program than that of taps is attached. */
export type UnderlayHook = `${Exclude<ProgramName, 'vif_ingress'>} ${number}`;

/** What should be in the kernel. */
export interface KernelTarget {
  readonly tables: Tables;
  readonly attachments: ReadonlySet<Ifindex>;
  readonly underlay: ReadonlySet<UnderlayHook>;
}

/** What is in the kernel. */
export interface KernelContents {
  readonly tables: Tables;
  /** Value: `Attachment.intact`. */
  readonly attachments: ReadonlyMap<Ifindex, boolean>;
  readonly underlay: ReadonlyMap<UnderlayHook, boolean>;
}

/** One step; entries and keys of a step are to be handled in their order. */
export type Operation =
  | { readonly kind: 'write'; readonly table: TableName; readonly entries: TableEntries }
  | { readonly kind: 'delete'; readonly table: TableName; readonly keys: readonly string[] }
  | { readonly kind: 'attach'; readonly ifindex: Ifindex }
  | { readonly kind: 'detach'; readonly ifindex: Ifindex }
  | { readonly kind: 'attach_underlay'; readonly hook: UnderlayHook }
  | { readonly kind: 'detach_underlay'; readonly hook: UnderlayHook };

/**
 * From what is pointed to, to what points to it: port security before the port that asks for it, ports before
 * whatever leads to their slot. Writing goes this way, removing goes back.
 */
const writeOrder: readonly TableName[] = [
  'allowed_prefixes',
  'allowed_addresses',
  'allowed_macs',
  'ports',
  'tunnels',
  'multicast_members',
  'remote_members',
  'ports_by_interface',
  'ports_by_key',
  'destinations',
  'neighbours',
  'tunnel_endpoints',
];

const noEntries: TableEntries = new Map();

/** The last field of struct member_key: a slot, and of struct remote_member_key: a tunnel. */
function memberNumber(key: string): number {
  return decodeUint32(Buffer.from(key.slice(-8), 'hex'));
}

/** Multicast lists from their end to their head, at 0; other tables in any fixed order. */
function writeOrderWithin(table: TableName): (a: string, b: string) => number {
  if (table !== 'multicast_members' && table !== 'remote_members') return compareText;
  return (a, b) => memberNumber(b) - memberNumber(a) || compareText(a, b);
}

function pick(entries: TableEntries, keys: readonly string[]): TableEntries {
  return new Map(
    keys.flatMap((key) => {
      const value = entries.get(key);
      return value === undefined ? [] : [[key, value] as const];
    }),
  );
}

/** New entries first, so that a changed one never leads to something that is not there yet. */
function writes(table: TableName, desired: TableEntries, actual: TableEntries): readonly Operation[] {
  const added: string[] = [];
  const changed: string[] = [];
  for (const [key, value] of desired) {
    const present = actual.get(key);
    if (present === undefined) added.push(key);
    else if (Buffer.compare(present, value) !== 0) changed.push(key);
  }
  const order = writeOrderWithin(table);
  return [added, changed]
    .filter((keys) => keys.length > 0)
    .map((keys) => ({ kind: 'write', table, entries: pick(desired, keys.sort(order)) }));
}

function deletions(table: TableName, desired: TableEntries, actual: TableEntries): readonly Operation[] {
  const order = writeOrderWithin(table);
  const keys = [...actual.keys()].filter((key) => !desired.has(key)).sort((a, b) => order(b, a));
  return keys.length === 0 ? [] : [{ kind: 'delete', table, keys }];
}

/** The interfaces to attach to; attaching puts right what is not intact, or swaps an older program for ours, in one step. */
export function planAttachments(
  desired: ReadonlySet<Ifindex>,
  actual: ReadonlyMap<Ifindex, boolean>,
): readonly Operation[] {
  return [...desired]
    .filter((ifindex) => actual.get(ifindex) !== true)
    .sort((a, b) => a - b)
    .map((ifindex) => ({ kind: 'attach', ifindex }));
}

/**
 * The steps from `actual` to `desired`. Between any two of them packets of ports that are in both find their way:
 * nothing leads to an entry that is not there, and a member of a multicast list in both is reached throughout. A tap
 * is attached after its port's entries are in place (its first packet is not lost) and detached after they are gone (the VM
 * never talks to the host's own stack as long as the tap is on the bridge).
 */
export function plan(desired: KernelTarget, actual: KernelContents): readonly Operation[] {
  const of = (tables: Tables, table: TableName): TableEntries => tables.get(table) ?? noEntries;
  const written = writeOrder.flatMap((table) =>
    writes(table, of(desired.tables, table), of(actual.tables, table)),
  );
  const deleted = writeOrder
    .toReversed()
    .flatMap((table) => deletions(table, of(desired.tables, table), of(actual.tables, table)));
  const detached = [...actual.attachments.keys()]
    .filter((ifindex) => !desired.attachments.has(ifindex))
    .sort((a, b) => a - b)
    .map((ifindex): Operation => ({ kind: 'detach', ifindex }));
  const underlay = planUnderlay(desired.underlay, actual.underlay);
  return [
    ...underlay.attach,
    ...written,
    ...planAttachments(desired.attachments, actual.attachments),
    ...deleted,
    ...detached,
    ...underlay.detach,
  ];
}

/** The underlay's programs do nothing while their tables are empty, so they may come first and go last. */
function planUnderlay(
  desired: ReadonlySet<UnderlayHook>,
  actual: ReadonlyMap<UnderlayHook, boolean>,
): { readonly attach: readonly Operation[]; readonly detach: readonly Operation[] } {
  const missing = [...desired].filter((hook) => actual.get(hook) !== true).sort(compareText);
  const superfluous = [...actual.keys()].filter((hook) => !desired.has(hook)).sort(compareText);
  return {
    attach: missing.map((hook) => ({ kind: 'attach_underlay', hook })),
    detach: superfluous.map((hook) => ({ kind: 'detach_underlay', hook })),
  };
}

/** The interfaces that are not attached to in this round: attaching blocks, under tcx for an RCU grace period each. */
export interface Portion {
  readonly operations: readonly Operation[];
  readonly postponed: ReadonlySet<Ifindex>;
}

/** A plan with so many attachments at most; everything else of it stays, in its order. */
export function limitAttachments(operations: readonly Operation[], maximum: number): Portion {
  const all = operations.flatMap((operation) => (operation.kind === 'attach' ? [operation.ifindex] : []));
  const postponed = new Set(all.slice(maximum));
  const isDue = (operation: Operation): boolean =>
    operation.kind !== 'attach' || !postponed.has(operation.ifindex);
  return { operations: operations.filter(isDue), postponed };
}
