import type { OvnVerdict } from '../../testbed/ovn-oracle.js';
import type { OurVerdict } from './data-plane.js';

export interface Disagreement {
  readonly frame: Uint8Array;
  readonly ovn: OvnVerdict;
  readonly ours: OurVerdict;
}

/** Whether a disagreement is one of "Known differences" in docs/data-plane.md. */
export function isKnownDifference({ frame, ovn, ours }: Disagreement): boolean {
  return isUnicastQuery(frame) && ovn.answered && !ours.answered;
}

/** OVN before 23.09 answers also queries that are sent to the owner. */
function isUnicastQuery(frame: Uint8Array): boolean {
  return ((frame[0] ?? 0) & 1) === 0;
}
