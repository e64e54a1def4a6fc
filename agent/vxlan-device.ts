import type { Link, Links } from './links.js';

/** The node's collect-metadata VXLAN device (bpf/vxlan.h). */
export const vxlanDeviceName = 'iovn-vxlan';

/** The device, up or not; undefined when there is none, or something else has its name. */
export function findVxlanDevice(links: Links): Link | undefined {
  const link = links.get(vxlanDeviceName);
  return link?.kind === 'vxlan' ? link : undefined;
}
