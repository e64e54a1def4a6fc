import { constants } from '../../generated/bpf/layouts.js';
import type { TunnelType } from './tunnel-endpoints.js';

export const { VXLAN_FIRST_MULTICAST_KEY: vxlanPortKeys, VXLAN_DATAPATH_KEYS: vxlanDatapathKeys } = constants;

/** Whether the tunnel packets can say where they are to go: OVN's VXLAN has 12 bits each for datapath and port. */
export function canCarry(type: TunnelType, datapathKey: number, portKey: number): boolean {
  if (type === 'geneve') return true;
  const number = portKey < constants.FIRST_MULTICAST_KEY ? portKey : portKey - constants.FIRST_MULTICAST_KEY;
  return datapathKey < vxlanDatapathKeys && number < vxlanPortKeys;
}
