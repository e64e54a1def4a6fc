import type { OvnVerdict } from '../../testbed/ovn-oracle.js';
import type { OurVerdict } from './data-plane.js';

export interface Disagreement {
  readonly frame: Uint8Array;
  readonly ovn: OvnVerdict;
  readonly ours: OurVerdict;
  /** Some port may use a network with 0.0.0.0 or :: in it. */
  readonly allowsZero: boolean;
}

interface KnownDifference {
  /** As in docs/data-plane.md, "Known differences". */
  readonly what: string;
  applies(disagreement: Disagreement): boolean;
}

const ip6DestinationOffset = 14 + 24;
const vlanTypes: readonly number[] = [0x8100, 0x88a8];

function uint16At(frame: Uint8Array, offset: number): number {
  return ((frame[offset] ?? 0) << 8) | (frame[offset + 1] ?? 0);
}

function isBroadcast(frame: Uint8Array): boolean {
  return frame.subarray(0, 6).every((byte) => byte === 0xff);
}

function isToItself(frame: Uint8Array): boolean {
  return Buffer.compare(frame.subarray(0, 6), frame.subarray(6, 12)) === 0;
}

/** A query such as current OVN answers: broadcast ARP, multicast neighbour solicitation. 23.03 answers others, too. */
function isForAll(frame: Uint8Array): boolean {
  if (uint16At(frame, 12) === 0x0806) return isBroadcast(frame);
  const toGroup = frame[ip6DestinationOffset] === 0xff;
  return ((frame[0] ?? 0) & 1) === 1 && toGroup;
}

/** Every difference is that we withhold from some what OVN gives them, for one of these reasons only. */
function onlyWithholds({ ovn, ours }: Disagreement, ...reasons: readonly string[]): boolean {
  const fewer = ours.outputs.every((port) => ovn.outputs.includes(port));
  const withheld = ovn.outputs.filter((port) => !ours.outputs.includes(port));
  const told = ours.drops.filter((drop) => reasons.some((reason) => drop.endsWith(`: ${reason}`)));
  return fewer && withheld.length > 0 && told.length > 0;
}

/** Asked of the switch in the owner's place: OVN answers, we let the owner do it. */
function leavesToOwner({ ovn, ours }: Disagreement): boolean {
  return ovn.answered && !ours.answered;
}

const knownDifferences: readonly KnownDifference[] = [
  {
    what: 'a query that is not sent to the broadcast address, or to a group',
    applies: (all) => leavesToOwner(all) && !isForAll(all.frame),
  },
  {
    what: 'a query with a SNAP header',
    applies: (all) => leavesToOwner(all) && uint16At(all.frame, 12) < 0x0600,
  },
  {
    what: 'an IP packet that cannot be read, where a network that contains 0.0.0.0 or :: is allowed',
    applies: (all) => all.allowsZero && onlyWithholds(all, 'malformed_ip4', 'malformed_ip6'),
  },
  {
    what: 'a neighbour advertisement in fragments',
    applies: (all) => onlyWithholds(all, 'port_security_nd') && all.ovn.fragment,
  },
  {
    what: 'a frame to its own source, which is learnt before it is looked for',
    applies: (all) => onlyWithholds(all, 'hairpin') && isToItself(all.frame),
  },
  {
    what: 'the type of a VLAN tag, and no tag behind it',
    applies: (all) =>
      onlyWithholds(all, 'vlan_tagged') &&
      all.frame.length < 18 &&
      vlanTypes.includes(uint16At(all.frame, 12)),
  },
];

/** Which of "Known differences" in docs/data-plane.md a disagreement is; undefined when it is none. */
export function knownDifference(disagreement: Disagreement): string | undefined {
  return knownDifferences.find((each) => each.applies(disagreement))?.what;
}
