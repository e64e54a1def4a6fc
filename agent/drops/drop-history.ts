import { type DropReasonInfo, dropReasons } from '../../generated/bpf/layouts.js';
import type { DropInput } from '../../generated/proto/iovn/v1/Drop.js';
import type { PortCounters } from '../data-plane.js';
import type { Place, Places } from '../inspect/places.js';
import { droppingRow } from '../inspect/nb-row.js';
import { directionAt } from './drop-decision.js';
import type { DropSample } from './drop-source.js';
import { describePacket } from './packet-text.js';

export interface DropHistoryOptions {
  readonly places: Pick<Places, 'all' | 'bySlot' | 'interfaceName'>;
  readonly readCounters: (slots: readonly number[]) => ReadonlyMap<number, PortCounters>;
  /** Epoch ms. */
  readonly now: () => number;
  readonly maximumRecords?: number;
}

/** What samples have shown of the drops of one port for one reason. */
interface DropRecord {
  readonly firstMs: number;
  readonly lastMs: number;
  readonly sample: DropSample;
}

const defaultMaximumRecords = 4096;

/**
 * Remembers when drops of each port and reason were first and last seen, and the last such packet. Bounded: the port and
 * reason that was quiet for longest is forgotten first. How many there were is in the kernel's counters.
 */
export class DropHistory {
  readonly #options: DropHistoryOptions;
  readonly #maximumRecords: number;
  /** The one that was seen last at the end. */
  readonly #records = new Map<string, DropRecord>();

  constructor(options: DropHistoryOptions) {
    this.#options = options;
    this.#maximumRecords = options.maximumRecords ?? defaultMaximumRecords;
  }

  get size(): number {
    return this.#records.size;
  }

  take(sample: DropSample): void {
    const reason = dropReasons[sample.reason];
    if (reason === undefined) return;
    const place = this.#options.places.bySlot(sample.slot);
    const key = recordKey(place, reason);
    const nowMs = this.#options.now();
    const record = { firstMs: this.#records.get(key)?.firstMs ?? nowMs, lastMs: nowMs, sample };
    this.#records.delete(key);
    this.#records.set(key, record);
    const [oldest] = this.#records.keys();
    if (this.#records.size > this.#maximumRecords && oldest !== undefined) this.#records.delete(oldest);
  }

  /** What is known of the drops like the one that was taken in last; undefined when it has not been. How many there were is left out. */
  describe({ slot, reason: number }: DropSample): DropInput | undefined {
    const reason = dropReasons[number];
    const place = this.#options.places.bySlot(slot);
    const record = reason && this.#records.get(recordKey(place, reason));
    return reason && record && this.#message(place, reason, record, 0n);
  }

  /** Everything that is counted for the ports that there are, newest first; '' asks for all ports, and for what belongs to none. */
  list(port: string): DropInput[] {
    const places = this.#options.places
      .all()
      .filter(({ plugged }) => port === '' || plugged.port.name === port);
    const slots = places.map(({ plugged }) => plugged.slot);
    const counters = this.#options.readCounters(port === '' ? [0, ...slots] : slots);
    const ofPorts = places.flatMap((place) => this.#listOne(place, counters.get(place.plugged.slot)));
    const ofNone = port === '' ? this.#listOne(undefined, counters.get(0)) : [];
    return [...ofPorts, ...ofNone].sort((a, b) => Number(b.last_seen) - Number(a.last_seen));
  }

  #listOne(place: Place | undefined, counters: PortCounters | undefined): DropInput[] {
    return dropReasons.flatMap((reason) => {
      const packets = counters?.drops[reason.number] ?? 0n;
      if (packets === 0n) return [];
      return [this.#message(place, reason, this.#records.get(recordKey(place, reason)), packets)];
    });
  }

  #message(
    place: Place | undefined,
    reason: DropReasonInfo,
    record: DropRecord | undefined,
    packets: bigint,
  ): DropInput {
    const sample = record?.sample;
    return {
      port: place?.plugged.port.name ?? '',
      switch: place?.owner?.name ?? '',
      interface:
        sample === undefined
          ? (place?.plugged.interfaceName ?? '')
          : this.#options.places.interfaceName(sample.ifindex),
      direction:
        place === undefined ? '' : directionAt(reason, place.plugged.device.ifindex, sample?.ifindex),
      reason: reason.name,
      text: reason.text,
      packets: String(packets),
      first_seen: (record?.firstMs ?? 0) / 1000,
      last_seen: (record?.lastMs ?? 0) / 1000,
      packet: sample === undefined ? '' : describePacket(sample.head, sample.length),
      head: sample?.head ?? new Uint8Array(0),
      length: sample?.length ?? 0,
      ...(place && droppingRow(place, reason, sample?.head)),
    };
  }
}

/** A port that is made anew under its old name is another one. */
function recordKey(place: Place | undefined, reason: DropReasonInfo): string {
  return `${reason.name} ${place?.plugged.port.binding ?? ''} ${place?.plugged.port.name ?? ''}`;
}
