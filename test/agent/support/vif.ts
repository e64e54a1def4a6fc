import type { Link } from '../../../agent/links.js';
import type { VifInterface } from '../../../agent/vswitch/interfaces.js';
import { FakeDatabase } from './fake-database.js';
import { makeLink } from './fake-devices.js';

const database = new FakeDatabase();
database.init({});
database.addBridge('br-int');
database.plug('any', 'any');
const row = database.interface('any');

/** A usable interface that carries `ifaceId`, on the device `tap<ifindex>`; its row says nothing. */
export function vif(ifaceId: string, ifindex: number, link: Partial<Link> = {}): VifInterface {
  const name = `tap${ifindex}`;
  return { row, name, ifaceId, device: makeLink(name, ifindex, link), error: undefined };
}
