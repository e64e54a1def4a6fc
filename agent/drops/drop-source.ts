import type { DropReason } from '../../generated/bpf/layouts.js';

/** One of the packets that were dropped (bpf/types.h struct packet_dropped_event). */
export interface DropSample {
  /** Under which it was counted; 0 = no logical port. */
  readonly slot: number;
  readonly reason: DropReason;
  /** Where the program ran: of the sender's tap, or of the underlay. */
  readonly ifindex: number;
  /** Of the whole packet, in bytes. */
  readonly length: number;
  /** Its first bytes, as they are on a wire: with the tag that the kernel keeps beside the packet. */
  readonly head: Uint8Array;
}

/** The part of the data plane that shows what it drops. */
export interface DropSource {
  /** `listener` gets samples for as long as events are watched; it replaces the one before. */
  onDrop(listener: (sample: DropSample) => void): void;
  /** Samples for which there was no room, since the maps were made. */
  lostDropSamples(): bigint;
}
