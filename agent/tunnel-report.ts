import { formatIp } from '../common/addresses.js';
import type { TunnelInput } from '../generated/proto/iovn/v1/Tunnel.js';
import type { Links } from './links.js';
import { tunnelMtu } from './modules/tunnels.js';
import type { Tunnel } from './tunnels.js';

/** What the controller is told of a tunnel. */
export function reportTunnel(tunnel: Tunnel, links: Links): TunnelInput {
  const { chassis, type, local, remote, route } = tunnel;
  const device = [...links.values()].find(({ ifindex }) => ifindex === route.ifindex);
  return {
    chassis,
    type,
    local_ip: formatIp(local),
    remote_ip: formatIp(remote),
    interface: device?.name ?? '',
    mtu: tunnelMtu(tunnel),
  };
}
