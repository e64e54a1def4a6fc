import type { Ifindex } from '../../common/addresses.js';
import { errorMessage } from '../../common/errors.js';
import type { Devices } from '../links.js';

/**
 * Makes uplinks promiscuous, as the MACs of VMs are not their own, and what was an uplink before not any more. Returns what
 * could not be done, by the name of the device.
 */
export function setPromiscuity(
  devices: Devices,
  uplinks: ReadonlySet<Ifindex>,
  former: ReadonlySet<Ifindex>,
): ReadonlyMap<string, string> {
  const problems = new Map<string, string>();
  for (const { ifindex, name, promiscuous = false } of devices.links.values()) {
    const isWanted = uplinks.has(ifindex);
    if (isWanted === promiscuous || (!isWanted && !former.has(ifindex))) continue;
    try {
      devices.setPromiscuous(ifindex, isWanted);
    } catch (error) {
      problems.set(name, errorMessage(error));
    }
  }
  return problems;
}
