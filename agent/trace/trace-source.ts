import type { ProgramName } from '../data-plane.js';
import type { TunnelMetadata } from './tunnel-packet.js';

/** What a program decided, with the frame as it was then, its tag in it (bpf/trace_step.h). */
export interface RecordedStep {
  /** One of traceEvent. */
  readonly event: number;
  readonly slot: number;
  readonly detail: number;
  readonly frame: Uint8Array;
  /** Of a tunnel packet that a device makes of the frame. */
  readonly tunnel?: TunnelMetadata;
}

/** Something that comes in by an interface, for which a program runs. */
export interface TracedArrival {
  readonly program: ProgramName;
  readonly frame: Uint8Array;
  /** Of this network namespace. */
  readonly ifindex: number;
  /** What the interface has read beside the frame, if it is a tunnel device. */
  readonly tunnel?: TunnelMetadata;
}

/** The part of the data plane that tells what it would do with a packet. */
export interface TraceSource {
  /** Nothing is sent, counted or learnt. Throws KernelError: too short, too long, no such interface. */
  trace(arrival: TracedArrival): readonly RecordedStep[];
}
