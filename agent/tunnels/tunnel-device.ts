import type { Ifindex } from '../../common/addresses.js';
import type { Link, Links } from '../links.js';
import type { UnderlayHook } from '../plan.js';
import { supportedTypes, type TunnelType } from './tunnel-endpoints.js';

/** The node's collect-metadata devices (bpf/tunnel_device.h). The kernel calls their kinds as OVN the tunnel types. */
export const tunnelDeviceNames: Readonly<Record<TunnelType, string>> = {
  geneve: 'iovn-geneve',
  vxlan: 'iovn-vxlan',
};

/** The program that is attached to the device. */
export function tunnelDeviceHook(type: TunnelType, device: Ifindex): UnderlayHook {
  return `${type}_ingress ${device}`;
}

/** The device, up or not; undefined when there is none, or something else has its name. */
export function findTunnelDevice(links: Links, type: TunnelType): Link | undefined {
  const link = links.get(tunnelDeviceNames[type]);
  return link?.kind === type ? link : undefined;
}

/** Those that there are. */
export function tunnelDevices(links: Links): ReadonlyMap<TunnelType, Link> {
  return new Map(
    supportedTypes.flatMap((type) => {
      const link = findTunnelDevice(links, type);
      return link === undefined ? [] : [[type, link] as const];
    }),
  );
}
