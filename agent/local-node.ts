import type { Uplinks } from './vswitch/bridge-mappings.js';
import type { VifInterface } from './vswitch/interfaces.js';
import type { NodeConfig } from './vswitch/node-config.js';

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

/** Where a hypervisor's configuration is kept, and who plugged what: the local Open_vSwitch database, or a file. */
export interface LocalNode {
  /** It answers `ovs-vsctl` in the place of ovs-vswitchd. */
  readonly actsForVswitchd: boolean;
  /** Calls `listener` when what `read` returns may have changed, network devices excepted. Returns how to stop that. */
  onChange(listener: () => void): () => void;
  /** Brings the devices that it asks for into being, first. */
  read(): NodeState;
  /**
   * Tells those who plug interfaces what became of them. `installed` has the name of each interface whose port is in the kernel;
   * undefined while it is not known which ports should be. False when it could not be told.
   */
  report(state: NodeState, installed: ReadonlySet<string> | undefined, nowMs: number): Promise<boolean>;
}
