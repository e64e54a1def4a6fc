import { formatIp, type Ifindex } from '../../common/addresses.js';
import type { TunnelInput } from '../../generated/proto/iovn/v1/Tunnel.js';
import type { Links } from '../links.js';
import { tunnelMtu } from '../modules/tunnels.js';
import type { Tunnel } from './tunnels.js';

/** What the controller is told of a tunnel. */
export function reportTunnel(tunnel: Tunnel, links: Links): TunnelInput {
  const { chassis, type, local, remote, route, byDevice } = tunnel;
  const nameOf = (device: Ifindex): string =>
    [...links.values()].find(({ ifindex }) => ifindex === device)?.name ?? '';
  return {
    chassis,
    type,
    local_ip: formatIp(local),
    remote_ip: formatIp(remote),
    interface: nameOf(route.ifindex),
    tunnel_device: byDevice ? nameOf(tunnel.device) : '',
    mtu: tunnelMtu(tunnel),
  };
}
