import { IovnError } from '../common/errors.js';

export interface StandingOptions {
  /** Hypervisors in all. */
  readonly nodes: number;
  /** How many of them, the last ones, are OVN's own. */
  readonly vanilla: number;
  readonly vmsPerNode: number;
}

export interface PlannedVm {
  readonly name: string;
  readonly mac: string;
  /** Without its prefix length, which is 24. */
  readonly ip: string;
  /** Name of its hypervisor. */
  readonly node: string;
}

export interface PlannedNode {
  readonly name: string;
  /** From 1; decides its underlay address. */
  readonly index: number;
  readonly kind: 'iovn-agent' | 'ovn-controller';
}

export interface StandingPlan {
  readonly nodes: readonly PlannedNode[];
  readonly vms: readonly PlannedVm[];
}

/** All VMs are on one switch, with addresses in a /24. */
const mostVms = 200;

/** Who is in the testbed. Throws IovnError `invalid_testbed`. */
export function planStanding({ nodes, vanilla, vmsPerNode }: StandingOptions): StandingPlan {
  if (vanilla > nodes) {
    throw new IovnError('invalid_testbed', `--vanilla ${vanilla}: there are only ${nodes} nodes`);
  }
  if (nodes * vmsPerNode > mostVms) {
    throw new IovnError('invalid_testbed', `${nodes * vmsPerNode} VMs: ${mostVms} at most`);
  }
  const planned = Array.from(
    { length: nodes },
    (_, i): PlannedNode => ({
      name: `hv${i + 1}`,
      index: i + 1,
      kind: i < nodes - vanilla ? 'iovn-agent' : 'ovn-controller',
    }),
  );
  const vms = Array.from(
    { length: nodes * vmsPerNode },
    (_, i): PlannedVm => ({
      name: `vm${i + 1}`,
      mac: `02:00:00:00:00:${(i + 1).toString(16).padStart(2, '0')}`,
      ip: `10.0.0.${i + 1}`,
      node: `hv${(i % nodes) + 1}`,
    }),
  );
  return { nodes: planned, vms };
}
