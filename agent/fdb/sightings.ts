import { decodeMacKey } from '../../generated/bpf/layouts.js';
import type { LearnedMacInput } from '../../generated/proto/iovn/v1/LearnedMac.js';
import { datapathPart, type Sighting } from './fdb-plan.js';

/** The way to the controller for learnt MACs. */
export interface LearnedOutlet {
  /** False when there is no stream, or the batch before this one has not gone out: nothing is taken then. */
  sendLearned(macs: readonly LearnedMacInput[]): boolean;
}

/** MACs in one message, and how often one may go out. */
export const batchSize = 500;
export const batchIntervalMs = 250;

/** MACs that may wait to be sent; of more only those are told that a later look at the map finds again. */
const maximumWaiting = 16_384;
/** After how long news without effect are told again; twice as long each time, to the maximum. */
const repeatNs = 10_000_000_000n;
const maximumDoublings = 5;
const second = 1_000_000_000n;

interface Told {
  readonly portKey: number;
  readonly atNs: bigint;
  /** Times before. */
  readonly repeats: number;
}

interface Waiting {
  readonly portKey: number;
  readonly seenNs: bigint;
}

/**
 * What the controller is to hear of the MACs that are used here: news soon and again until it has had an effect, use of
 * known ones often enough that they do not age. Bounded, whatever the VMs do.
 */
export class Sightings {
  readonly #waiting = new Map<string, Waiting>();
  #told = new Map<string, Told>();
  /** What takes its place when the review under way is finished. */
  #next = new Map<string, Told>();

  get waiting(): number {
    return this.#waiting.size;
  }

  /** A MAC that is new to this node or has moved. */
  add(key: string, portKey: number, nowNs: bigint): void {
    this.#wait(key, { portKey, seenNs: nowNs });
  }

  /** Takes in some of the MACs that are used here, as part of a review of all. */
  consider(sightings: readonly Sighting[], ageLimitsNs: ReadonlyMap<string, bigint>, nowNs: bigint): void {
    for (const { key, entry, isNews } of sightings) {
      const before = this.#told.get(key);
      const known = before?.portKey === entry.portKey ? before : undefined;
      if (known !== undefined) this.#next.set(key, known);
      const ageLimitNs = ageLimitsNs.get(datapathPart(key));
      if (!isNews && ageLimitNs === undefined) continue;
      // Half as long as the controller waits: what comes too early for it comes again before the MAC is too old.
      const pauseNs = isNews || ageLimitNs === undefined ? repeatPauseNs(known) : ageLimitNs / 4n;
      const isUsedSince = known === undefined || entry.seenNs > known.atNs || isNews;
      if (isUsedSince && (known === undefined || nowNs - known.atNs >= pauseNs)) this.#wait(key, entry);
    }
  }

  /** All have been considered: what was not among them is forgotten. */
  finish(): void {
    this.#told = this.#next;
    this.#next = new Map();
  }

  /** Sends a batch. True when more waits. */
  flush(outlet: LearnedOutlet, nowNs: bigint): boolean {
    const batch = [...this.#waiting].slice(0, batchSize);
    if (batch.length === 0 || !outlet.sendLearned(batch.map((each) => toMessage(...each, nowNs)))) {
      return this.#waiting.size > 0;
    }
    for (const [key, { portKey }] of batch) {
      this.#waiting.delete(key);
      const before = this.#told.get(key);
      const repeats = before?.portKey === portKey ? Math.min(before.repeats + 1, maximumDoublings) : 0;
      const told = { portKey, atNs: nowNs, repeats };
      this.#told.set(key, told);
      this.#next.set(key, told);
    }
    return this.#waiting.size > 0;
  }

  #wait(key: string, waiting: Waiting): void {
    if (this.#waiting.size < maximumWaiting || this.#waiting.has(key)) this.#waiting.set(key, waiting);
  }
}

function repeatPauseNs(told: Told | undefined): bigint {
  return repeatNs << BigInt(told?.repeats ?? 0);
}

function toMessage(key: string, { portKey, seenNs }: Waiting, nowNs: bigint): LearnedMacInput {
  const { datapathKey, mac } = decodeMacKey(Buffer.from(key, 'hex'));
  const age = nowNs > seenNs ? Number((nowNs - seenNs) / second) : 0;
  return {
    datapath_key: datapathKey,
    port_key: portKey,
    mac: Buffer.from(mac),
    age_seconds: age,
  };
}
