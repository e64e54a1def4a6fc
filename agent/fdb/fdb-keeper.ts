import { setImmediate as nextTurn } from 'node:timers/promises';

import { macBytes } from '../../common/addresses.js';
import { errorMessage } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import { encodeMacKey } from '../../generated/bpf/layouts.js';
import type { FdbEntryIntent, Intent } from '../intent.js';
import { hexKey, type PluggedPort } from '../modules/io-module.js';
import {
  datapathPart,
  type FdbContext,
  type FdbPlan,
  type FdbPort,
  fdbPortId,
  type FdbRow,
  planFdb,
} from './fdb-plan.js';
import type { LearningPlane, MacEvent } from './fdb-table.js';
import { batchIntervalMs, type LearnedOutlet, Sightings } from './sightings.js';

export interface FdbKeeperOptions {
  readonly plane: LearningPlane;
  readonly outlet: LearnedOutlet;
  /** CLOCK_MONOTONIC in ns. */
  readonly nowNs: () => bigint;
  /** The whole map is looked at as often as this; more often where MACs age so soon that one in use would be missed. */
  readonly reviewIntervalMs: number;
  readonly log: Logger;
}

/** For metrics; totals but for the first. */
export interface FdbStatistics {
  readonly entries: number;
  readonly learned: bigint;
  readonly moved: bigint;
  readonly evicted: bigint;
  readonly lostEvents: bigint;
}

/** Entries up to which a change of the ports is dealt with in one go; in a larger map it takes some turns of the event loop. */
const reviewedAtOnce = 4096;
const rowsPerStep = 512;
const nsPerSecond = 1_000_000_000n;
const nsPerMs = 1_000_000n;
const shortestReviewPauseMs = 500;

/**
 * Keeps the map of learnt MACs in line with the database's rows, and tells the controller what is seen here. The map is
 * changed MAC by MAC, never as a whole: what the programs learn meanwhile stays.
 */
export class FdbKeeper {
  readonly #options: FdbKeeperOptions;
  readonly #sightings = new Sightings();
  #intent: ReadonlyMap<string, FdbEntryIntent> | undefined;
  #rows: ReadonlyMap<string, FdbRow> = new Map();
  #context: Omit<FdbContext, 'nowNs'> = { ports: new Map(), ageLimitsNs: new Map() };
  #known = false;
  #reviewing = false;
  #reviewsWanted = false;
  #stopped = false;
  /** As of the last review. */
  #entries: number | undefined;
  #added = 0n;
  #removed = 0n;
  #evicted = 0n;
  /** Evictions of an earlier agent's time, which are not this one's to count. */
  #evictedBefore: bigint | undefined;
  #flushTimer: NodeJS.Timeout | undefined;
  /** Undefined before `run`. */
  #reviewTimer: NodeJS.Timeout | undefined;

  constructor(options: FdbKeeperOptions) {
    this.#options = options;
  }

  /** As of the last look at the whole map. */
  statistics(): FdbStatistics {
    const { learned, moved, lostEvents } = this.#options.plane.fdb.counters();
    return { entries: this.#entries ?? 0, learned, moved, lostEvents, evicted: this.#evicted };
  }

  /** Takes in what is wanted and what is plugged in here. Throws KernelError. */
  apply(intent: Intent, plugged: readonly PluggedPort[]): void {
    const context = contextOf(intent, plugged);
    const contextChanged = !this.#known || !sameContext(context, this.#context);
    const { changed, gone } = this.#takeRows(intent);
    this.#context = context;
    this.#known = true;
    this.#forget(gone);
    for (let from = 0; from < changed.length; from += rowsPerStep) {
      this.#applyRows(changed.slice(from, from + rowsPerStep), Number.POSITIVE_INFINITY);
    }
    if (!contextChanged) return;
    if (this.#reviewTimer !== undefined) this.#reviewLater();
    if ((this.#entries ?? this.#options.plane.fdb.capacity) <= reviewedAtOnce) this.review();
    else void this.#reviewInTurns();
  }

  /** Looks at the whole map: finds what no event told, puts slots right, forgets what is over. Throws KernelError. */
  review(): void {
    const steps = this.#reviewSteps();
    while (steps.next().done !== true);
  }

  /** As `review`, with other events dealt with in between. One at a time; what is asked for meanwhile comes after. */
  async #reviewInTurns(): Promise<void> {
    this.#reviewsWanted = true;
    if (this.#reviewing) return;
    this.#reviewing = true;
    try {
      while (this.#reviewsWanted) {
        this.#reviewsWanted = false;
        const steps = this.#reviewSteps();
        while (!this.#isStopped() && steps.next().done !== true) await nextTurn();
      }
    } catch (error) {
      this.#options.log.error('the map of learnt MACs can not be reviewed', { error: errorMessage(error) });
    } finally {
      this.#reviewing = false;
    }
  }

  #isStopped(): boolean {
    return this.#stopped;
  }

  *#reviewSteps(): Generator<void> {
    if (!this.#known) return;
    const { fdb } = this.#options.plane;
    const nowNs = this.#options.nowNs();
    /* Before the map is read: what comes in between must not look as if it had been given up. */
    const come = fdb.counters().learned + this.#added;
    const seen = new Set<string>();
    let entries = 0;
    for (const chunk of fdb.chunks()) {
      const plan = planFdb(chunk.keys(), chunk, this.#rows, { ...this.#context, nowNs }, 0);
      this.#carryOut(plan);
      entries += chunk.size - plan.removals.length;
      for (const key of chunk.keys()) if (this.#rows.has(key)) seen.add(key);
      this.#sightings.consider(plan.sightings, this.#context.ageLimitsNs, nowNs);
      yield;
    }
    this.#countEvictions(come, entries);
    const missing = [...this.#rows.keys()].filter((key) => !seen.has(key));
    /* The kernel begins to give up entries shortly before the map is full. */
    let room = Math.max(0, Math.floor((fdb.capacity * 7) / 8) - entries);
    for (let from = 0; from < missing.length && room > 0; from += rowsPerStep) {
      room -= this.#applyRows(missing.slice(from, from + rowsPerStep), room);
      yield;
    }
    this.#sightings.finish();
    this.#flush();
  }

  /** Reviews now and then, and takes in events, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    this.#reviewLater();
    try {
      await this.#options.plane.watchEvents((event) => this.#takeEvent(event), signal);
    } finally {
      this.#stopped = true;
      clearTimeout(this.#reviewTimer);
      clearTimeout(this.#flushTimer);
    }
  }

  #reviewLater(): void {
    const { reviewIntervalMs } = this.#options;
    clearTimeout(this.#reviewTimer);
    this.#reviewTimer = setTimeout(
      () => {
        void this.#reviewInTurns();
        this.#reviewLater();
      },
      reviewPauseMs(this.#context.ageLimitsNs, reviewIntervalMs),
    );
  }

  #takeEvent({ datapathKey, portKey, mac }: MacEvent): void {
    const key = hexKey(encodeMacKey({ datapathKey, mac: macBytes(mac) }));
    const port = this.#context.ports.get(fdbPortId(datapathPart(key), portKey));
    if (port?.learns !== true || this.#rows.get(key)?.portKey === portKey) return;
    this.#sightings.add(key, portKey, this.#options.nowNs());
    this.#flush();
  }

  /** Sends what waits, a batch per interval; the first at once. */
  #flush(): void {
    if (this.#flushTimer !== undefined) return;
    if (this.#sightings.waiting === 0) return;
    this.#sightings.flush(this.#options.outlet, this.#options.nowNs());
    this.#flushTimer = setTimeout(() => {
      this.#flushTimer = undefined;
      this.#flush();
    }, batchIntervalMs);
    this.#flushTimer.unref();
  }

  /** The rows that differ from those known so far, and those that are gone. */
  #takeRows(intent: Intent): { changed: readonly string[]; gone: ReadonlyMap<string, FdbRow> } {
    if (intent.fdb === this.#intent) return { changed: [], gone: new Map() };
    this.#intent = intent.fdb;
    const sinceNs = this.#options.nowNs();
    const rows = new Map<string, FdbRow>();
    const changed: string[] = [];
    for (const { switchId, mac, portKey } of intent.fdb.values()) {
      const datapathKey = intent.switches.get(switchId)?.datapathKey;
      if (datapathKey === undefined) continue;
      const key = hexKey(encodeMacKey({ datapathKey, mac: macBytes(mac) }));
      const before = this.#rows.get(key);
      const isSame = before?.portKey === portKey;
      rows.set(key, isSame ? before : { portKey, sinceNs });
      if (!isSame) changed.push(key);
    }
    const gone = new Map([...this.#rows].filter(([key]) => !rows.has(key)));
    this.#rows = rows;
    return { changed, gone };
  }

  /** Writes what rows ask for, at most `room` that the kernel lacks; returns how many of these. */
  #applyRows(keys: readonly string[], room: number): number {
    const entries = this.#options.plane.fdb.lookup(keys);
    const nowNs = this.#options.nowNs();
    const plan = planFdb(keys, entries, this.#rows, { ...this.#context, nowNs }, room);
    this.#carryOut(plan);
    return plan.added;
  }

  /** Removes what is only there because of rows that are gone: a VM that is still in use is learnt again. */
  #forget(gone: ReadonlyMap<string, FdbRow>): void {
    const { fdb } = this.#options.plane;
    const entries = fdb.lookup([...gone.keys()]);
    const over = [...entries]
      .filter(([key, { portKey }]) => gone.get(key)?.portKey === portKey)
      .map(([key]) => key);
    fdb.remove(over);
    this.#removed += BigInt(over.length);
  }

  #carryOut({ writes, added, removals }: FdbPlan): void {
    const { fdb } = this.#options.plane;
    fdb.write(writes);
    this.#added += BigInt(added);
    fdb.remove(removals);
    this.#removed += BigInt(removals.length);
  }

  /** Whatever came and neither is there nor was removed has been given up for something newer. */
  #countEvictions(come: bigint, entries: number): void {
    this.#entries = entries;
    const missing = come - this.#removed - BigInt(entries);
    this.#evictedBefore ??= missing;
    const evicted = missing - this.#evictedBefore;
    if (evicted > this.#evicted) this.#evicted = evicted;
  }
}

/** Often enough to see in time that a MAC is in use where MACs age the soonest. */
function reviewPauseMs(ageLimitsNs: ReadonlyMap<string, bigint>, longestMs: number): number {
  const limitsMs = [...ageLimitsNs.values()].map((limitNs) => Number(limitNs / nsPerMs));
  return Math.min(longestMs, Math.max(shortestReviewPauseMs, Math.min(...limitsMs) / 8));
}

function contextOf(intent: Intent, plugged: readonly PluggedPort[]): Omit<FdbContext, 'nowNs'> {
  const part = (datapathKey: number): string =>
    datapathPart(hexKey(encodeMacKey({ datapathKey, mac: new Uint8Array(6) })));
  const ports = new Map<string, FdbPort>();
  for (const { port, datapathKey, slot } of plugged) {
    ports.set(fdbPortId(part(datapathKey), port.portKey), { slot, learns: port.learnsMacs });
  }
  const ageLimitsNs = new Map<string, bigint>();
  for (const { datapathKey, fdbAgeThresholdSeconds: seconds } of intent.switches.values()) {
    if (seconds > 0) ageLimitsNs.set(part(datapathKey), BigInt(seconds) * nsPerSecond);
  }
  return { ports, ageLimitsNs };
}

function sameContext(a: Omit<FdbContext, 'nowNs'>, b: Omit<FdbContext, 'nowNs'>): boolean {
  return (
    sameMap(a.ports, b.ports, (x, y) => x.slot === y.slot && x.learns === y.learns) &&
    sameMap(a.ageLimitsNs, b.ageLimitsNs, (x, y) => x === y)
  );
}

function sameMap<V>(
  a: ReadonlyMap<string, V>,
  b: ReadonlyMap<string, V>,
  same: (x: V, y: V) => boolean,
): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) {
    const other = b.get(key);
    if (other === undefined || !same(value, other)) return false;
  }
  return true;
}
