import type { ProgramName } from '../data-plane.js';

/** What a program decided, with the frame as it was then, its tag in it (bpf/trace_step.h). */
export interface RecordedStep {
  /** One of traceEvent. */
  readonly event: number;
  readonly slot: number;
  readonly detail: number;
  readonly frame: Uint8Array;
}

/** The part of the data plane that tells what it would do with a packet. */
export interface TraceSource {
  /**
   * `frame` comes in by the interface, for which the program runs. Nothing is sent, counted or learnt. Throws KernelError:
   * too short, too long, no such interface.
   */
  trace(program: ProgramName, frame: Uint8Array, ifindex: number): readonly RecordedStep[];
}
