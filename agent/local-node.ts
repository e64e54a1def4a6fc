import type { Uplinks } from './vswitch/bridge-mappings.js';
import type { VifInterface } from './vswitch/interfaces.js';
import type { NodeConfig } from './vswitch/node-config.js';
import type { Progress } from './vswitch/progress-marks.js';

/** What a hypervisor says of itself at one moment. */
export interface NodeState {
  readonly config: Pick<NodeConfig, 'chassis' | 'controller' | 'problem' | 'warnings'>;
  /** Those that carry logical ports, by name. */
  readonly interfaces: readonly VifInterface[];
  /** Where its physical networks are reached. */
  readonly uplinks: Uplinks;
  /** What is wrong with devices that it asks for, by their names. */
  readonly deviceProblems: ReadonlyMap<string, string>;
}

/** What is in the kernel, as far as is known. */
export interface KernelProgress {
  /** Interface.name of each interface whose port is in the kernel; undefined while it is not known which ports should be. */
  readonly installed: ReadonlySet<string> | undefined;
  /** Undefined when the kernel is not in line with any intent yet. */
  readonly progress: Progress | undefined;
}

export const nothingKnown: KernelProgress = { installed: undefined, progress: undefined };

/** Where a hypervisor's configuration is kept, and who plugged what: the local Open_vSwitch database, or a file. */
export interface LocalNode {
  /** It answers `ovs-vsctl` in the place of ovs-vswitchd. */
  readonly actsForVswitchd: boolean;
  /** Calls `listener` when what `read` returns may have changed, network devices excepted. Returns how to stop that. */
  onChange(listener: () => void): () => void;
  /** Brings the devices that it asks for into being, first. */
  read(): NodeState;
  /** Tells those who plug interfaces what became of them. False when it could not be told. */
  report(state: NodeState, known: KernelProgress, nowMs: number): Promise<boolean>;
}
