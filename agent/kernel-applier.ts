import type { Ifindex } from '../common/addresses.js';
import type { Logger } from '../common/log.js';
import { decodePort } from '../generated/bpf/layouts.js';
import { judgeActivations } from './activations.js';
import type { DataPlane, TableName, TableUsage } from './data-plane.js';
import { attachmentsOf, computeDesired, type Desired } from './desired.js';
import { fitGroups, type FittedGroups, listTables } from './group-room.js';
import type { Intent } from './intent.js';
import { type InstallState, installState } from './interface-report.js';
import { type Failure, KernelState } from './kernel-state.js';
import { findLocalnets } from './localnet/localnets.js';
import { findLocalPorts, nestedPortProblems, type SlotKey, slotKey } from './local-ports.js';
import type { PluggedPort } from './modules/io-module.js';
import { decodeUint32 } from './modules/uint32.js';
import {
  type KernelContents,
  limitAttachments,
  type Operation,
  plan,
  type Portion,
  type UnderlayHook,
} from './plan.js';
import { assignSlots } from './slots.js';
import { allTunnels, planTunnels, recoverTunnelIds, type Tunnel, type Underlay } from './tunnels/tunnels.js';
import type { Uplinks } from './vswitch/bridge-mappings.js';
import type { VifInterface } from './vswitch/interfaces.js';
import type { ChassisConfig } from './vswitch/node-config.js';

/** A port keeps its slot over a restart: its counters are there, and nothing in the kernel has to change. */
export function recoverSlots(contents: KernelContents): ReadonlyMap<SlotKey, number> {
  const slots = new Map<SlotKey, number>();
  for (const [key, value] of contents.tables.get('ports') ?? []) {
    const { datapathKey, portKey } = decodePort(value);
    slots.set(slotKey(datapathKey, portKey), decodeUint32(Buffer.from(key, 'hex')));
  }
  return slots;
}

/** Whether something was removed from a full map, so that trying again may help. */
function hasMadeRoom(
  full: ReadonlySet<TableName>,
  operations: readonly Operation[],
  failures: readonly Failure[],
): boolean {
  const failed = new Set(failures.flatMap((failure) => (failure.kind === 'entry' ? [failure.key] : [])));
  return operations.some(
    (operation) =>
      operation.kind === 'delete' &&
      full.has(operation.table) &&
      operation.keys.some((key) => !failed.has(key)),
  );
}

function isListTable(table: TableName): boolean {
  return listTables.some((each) => each === table);
}

/** So many, and the loop has its turn again: an attachment blocks for some milliseconds under tcx. */
const attachmentsPerRound = 8;

export interface AppliedRound {
  readonly state: InstallState;
  /** Something waits for another round: a port for a slot that this one has made free, or attachments for their turn. */
  readonly again: boolean;
}

/** What the maps of the kernel could not take. */
export interface MapRefusals {
  /** Maps that refused something wanted in the last round; `ports` when a port was without a slot. */
  readonly full: ReadonlySet<TableName>;
  /** Writes that were refused because the map was full, since the start. */
  readonly refusedWrites: ReadonlyMap<TableName, number>;
}

/** What was carried out of a plan. */
interface Outcome extends Portion {
  readonly failures: readonly Failure[];
}

export interface AttachedRound {
  readonly failures: readonly Failure[];
  readonly again: boolean;
}

/** Brings the kernel to what intent and interfaces ask for. */
export class KernelApplier {
  readonly #dataPlane: DataPlane;
  readonly #log: Logger;
  readonly #kernel: KernelState;
  #slots: ReadonlyMap<SlotKey, number>;
  #plugged: readonly PluggedPort[] = [];
  #wanted: Desired | undefined;
  #tunnelIds: ReadonlyMap<string, number>;
  #tunnels: readonly Tunnel[] = [];
  #full: ReadonlySet<TableName> = new Set();
  readonly #refusedWrites = new Map<TableName, number>();

  /** Throws KernelError when the kernel can't be read. */
  constructor(dataPlane: DataPlane, log: Logger) {
    this.#dataPlane = dataPlane;
    this.#log = log;
    this.#kernel = new KernelState(dataPlane);
    this.#slots = recoverSlots(this.#kernel);
    this.#tunnelIds = recoverTunnelIds(this.#kernel);
  }

  /** The ports with a slot after the last round. */
  get plugged(): readonly PluggedPort[] {
    return this.#plugged;
  }

  /** What the last round was to bring about. */
  get wanted(): Desired | undefined {
    return this.#wanted;
  }

  /** The tunnels of the last round. */
  get tunnels(): readonly Tunnel[] {
    return this.#tunnels;
  }

  /** Interfaces with the program of uplinks. */
  get uplinks(): ReadonlySet<Ifindex> {
    return this.#kernel.uplinks();
  }

  get attachmentCount(): number {
    return this.#kernel.attachments.size;
  }

  hasHook(hook: UnderlayHook): boolean {
    return this.#kernel.underlay.get(hook) === true;
  }

  get usage(): readonly TableUsage[] {
    return this.#kernel.usage;
  }

  get refusals(): MapRefusals {
    return { full: this.#full, refusedWrites: this.#refusedWrites };
  }

  /** Everything that is wanted is put in place, everything else is removed. */
  apply(
    intent: Intent,
    interfaces: readonly VifInterface[],
    chassis: Pick<ChassisConfig, 'name' | 'encaps'>,
    underlay: Underlay,
    uplinks: Uplinks = new Map(),
  ): AppliedRound {
    const localnets = findLocalnets(intent, uplinks, attachmentsOf(interfaces));
    const found = [...findLocalPorts(intent, interfaces, chassis.name), ...localnets.ports];
    const { ports: localPorts, over } = judgeActivations(found, this.#dataPlane.readActivations());
    const refused = nestedPortProblems(localPorts);
    const programmed = localPorts.filter(({ port }) => !refused.has(port.name));
    const wanted = programmed.map(({ key }) => key);
    const { slots, unassigned, released } = assignSlots(this.#slots, wanted, this.#dataPlane.slotCount);
    for (const [key, slot] of slots) if (!this.#slots.has(key)) this.#dataPlane.resetCounters(slot);
    const tunnelPlan = planTunnels(intent, chassis.encaps, underlay, this.#tunnelIds);
    const desired = computeDesired(intent, interfaces, programmed, slots, tunnelPlan);
    const { operations, postponed, failures } = this.#bringAbout(desired);
    // Not before the ports do without: until then it is what lets their packets pass.
    this.#dataPlane.forgetActivations(over);
    this.#countRefusals(failures, unassigned.length);
    this.#slots = slots;
    this.#tunnelIds = tunnelPlan.ids;
    this.#tunnels = allTunnels(tunnelPlan);
    this.#plugged = desired.plugged;
    this.#wanted = desired;
    if (operations.length > 0) {
      this.#log.debug('kernel state changed', { operations: operations.length, failures: failures.length });
    }
    const judged = localPorts.filter(({ device }) => !postponed.has(device.ifindex));
    const problems = [...desired.problems, ...localnets.problems];
    const state = installState({ ...desired, problems }, judged, refused, unassigned, failures);
    const hasRoom =
      (unassigned.length > 0 && released.length > 0) || hasMadeRoom(this.#full, operations, failures);
    return { state, again: postponed.size > 0 || hasRoom };
  }

  /** A second attempt where the kernel refuses a member of a list for another reason than the map's size. */
  #bringAbout(desired: Desired): Outcome {
    const first = this.#prepare(desired, new Set());
    const lists = first.operations.findLastIndex(
      (operation) => operation.kind === 'write' && isListTable(operation.table),
    );
    const failures = this.#kernel.apply(first.operations.slice(0, lists + 1));
    const refused = failures.filter((failure) => failure.kind === 'entry' && isListTable(failure.table));
    if (refused.length === 0) {
      const rest = this.#kernel.apply(first.operations.slice(lists + 1));
      return { ...first, failures: [...first.failures, ...failures, ...rest] };
    }
    const keys = refused.flatMap((failure) => (failure.kind === 'entry' ? [failure.key] : []));
    const second = this.#prepare(desired, new Set(keys));
    const left = second.failures.filter((failure) => failure.kind !== 'entry' || !keys.includes(failure.key));
    return { ...second, failures: [...left, ...refused, ...this.#kernel.apply(second.operations)] };
  }

  /** What is to be done, without the members of lists that can not be written, which are its failures. */
  #prepare(desired: Desired, refused: ReadonlySet<string>): Outcome {
    const fitted = listTables.map((table) => ({ table, ...this.#fit(table, desired, refused) }));
    const tables = new Map([
      ...desired.tables,
      ...fitted.map(({ table, entries }) => [table, entries] as const),
    ]);
    const failures = fitted.flatMap(({ table, leftOut }) => {
      const message = `map ${table} is full: it takes ${this.#dataPlane.capacity(table)} entries`;
      return leftOut.map((key): Failure => ({ kind: 'entry', table, key, code: 'map_full', message }));
    });
    const operations = plan({ ...desired, tables }, this.#kernel);
    return { ...limitAttachments(operations, attachmentsPerRound), failures };
  }

  #fit(table: TableName, desired: Desired, refused: ReadonlySet<string>): FittedGroups {
    const capacity = this.#dataPlane.capacity(table);
    const actual = this.#kernel.tables.get(table) ?? new Map<string, Uint8Array>();
    const wanted = desired.tables.get(table) ?? new Map<string, Uint8Array>();
    return fitGroups(wanted, { actual, capacity, refused });
  }

  #countRefusals(failures: readonly Failure[], portsWithoutSlot: number): void {
    const refused = new Map<TableName, number>(portsWithoutSlot > 0 ? [['ports', portsWithoutSlot]] : []);
    for (const failure of failures) {
      if (failure.kind !== 'entry' || failure.code !== 'map_full') continue;
      refused.set(failure.table, (refused.get(failure.table) ?? 0) + 1);
    }
    for (const [table, count] of refused) {
      this.#refusedWrites.set(table, (this.#refusedWrites.get(table) ?? 0) + count);
    }
    this.#full = new Set(refused.keys());
  }

  /**
   * While it is not known what is wanted: interfaces that have no program get one, so that nothing they send reaches
   * the host's own stack. Everything else stays as it is.
   */
  attachOnly(interfaces: readonly VifInterface[]): AttachedRound {
    const missing = [...attachmentsOf(interfaces)]
      .filter((ifindex) => !this.#kernel.attachments.has(ifindex))
      .map((ifindex): Operation => ({ kind: 'attach', ifindex }));
    const { operations, postponed } = limitAttachments(missing, attachmentsPerRound);
    return { failures: this.#kernel.apply(operations), again: postponed.size > 0 };
  }

  /** Reads the kernel again; the next round repairs what somebody else changed. Returns how much that is. */
  checkDrift(): number {
    const { entries, ifindexes } = this.#kernel.refresh();
    const changed = entries.reduce((sum, { keys }) => sum + keys.length, 0) + ifindexes.length;
    if (changed === 0) return 0;
    const maps = Object.fromEntries(entries.map(({ table, keys }) => [table, keys.slice(0, 10)]));
    this.#log.warn('the kernel state was changed by somebody else', { changed, maps, ifindexes });
    return changed;
  }
}
