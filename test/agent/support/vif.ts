import type { Link } from '../../../agent/links.js';
import type { VifInterface } from '../../../agent/vswitch/interfaces.js';
import { makeLink } from './fake-devices.js';

/** A usable interface that carries `ifaceId`, on the device `tap<ifindex>`; its row says nothing more. */
export function vif(ifaceId: string, ifindex: number, link: Partial<Link> = {}): VifInterface {
  const name = `tap${ifindex}`;
  const device = makeLink(name, ifindex, link);
  return { name, ifaceId, ifaceIdVer: '', encapIp: '', device, error: undefined };
}
