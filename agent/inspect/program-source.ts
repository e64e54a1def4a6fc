import type { ProgramName } from '../data-plane.js';

/** A loaded program, as the kernel describes it. */
export interface ProgramStatus {
  readonly name: ProgramName;
  readonly id: number;
  /** 16 hex digits. */
  readonly tag: string;
  readonly verifiedInstructions: number;
  readonly instructions: number;
  /** Counted while the kernel is told to (kernel.bpf_stats_enabled). */
  readonly runs: bigint;
  readonly runNs: bigint;
  readonly memoryBytes: number;
}

/** The part of the data plane that describes its programs. */
export interface ProgramSource {
  readPrograms(): readonly ProgramStatus[];
}
