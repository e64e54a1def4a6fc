import type { Logger } from '../common/log.js';
import { decodePort } from '../generated/bpf/layouts.js';
import type { DataPlane } from './data-plane.js';
import { attachmentsOf, computeDesired } from './desired.js';
import type { Intent } from './intent.js';
import { type InstallState, installState } from './interface-report.js';
import { type Failure, KernelState } from './kernel-state.js';
import { findLocalPorts, nestedPortProblems, type SlotKey, slotKey } from './local-ports.js';
import type { PluggedPort } from './modules/io-module.js';
import { decodeUint32 } from './modules/uint32.js';
import { type KernelContents, limitAttachments, type Operation, plan } from './plan.js';
import { assignSlots } from './slots.js';
import { planTunnels, recoverTunnelIds, type Tunnel, type Underlay } from './tunnels.js';
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

/** So many, and the loop has its turn again: an attachment blocks for some milliseconds under tcx. */
const attachmentsPerRound = 8;

export interface AppliedRound {
  readonly state: InstallState;
  /** Something waits for another round: a port for a slot that this one has made free, or attachments for their turn. */
  readonly again: boolean;
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
  #tunnelIds: ReadonlyMap<string, number>;
  #tunnels: readonly Tunnel[] = [];

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

  /** The tunnels of the last round, by chassis. */
  get tunnels(): readonly Tunnel[] {
    return this.#tunnels;
  }

  get attachmentCount(): number {
    return this.#kernel.attachments.size;
  }

  /** Everything that is wanted is put in place, everything else is removed. */
  apply(
    intent: Intent,
    interfaces: readonly VifInterface[],
    chassis: Pick<ChassisConfig, 'name' | 'encaps'>,
    underlay: Underlay,
  ): AppliedRound {
    const localPorts = findLocalPorts(intent, interfaces, chassis.name);
    const refused = nestedPortProblems(localPorts);
    const programmed = localPorts.filter(({ port }) => !refused.has(port.name));
    const wanted = programmed.map(({ key }) => key);
    const { slots, unassigned, released } = assignSlots(this.#slots, wanted, this.#dataPlane.slotCount);
    for (const [key, slot] of slots) if (!this.#slots.has(key)) this.#dataPlane.resetCounters(slot);
    const tunnelPlan = planTunnels(intent.chassis, chassis.encaps, underlay, this.#tunnelIds);
    const desired = computeDesired(intent, interfaces, programmed, slots, tunnelPlan);
    const { operations, postponed } = limitAttachments(plan(desired, this.#kernel), attachmentsPerRound);
    const failures = this.#kernel.apply(operations);
    this.#slots = slots;
    this.#tunnelIds = tunnelPlan.ids;
    this.#tunnels = [...tunnelPlan.tunnels.values()];
    this.#plugged = desired.plugged;
    if (operations.length > 0) {
      this.#log.debug('kernel state changed', { operations: operations.length, failures: failures.length });
    }
    const judged = localPorts.filter(({ device }) => !postponed.has(device.ifindex));
    const state = installState(desired, judged, refused, unassigned, failures);
    return { state, again: postponed.size > 0 || (unassigned.length > 0 && released.length > 0) };
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
