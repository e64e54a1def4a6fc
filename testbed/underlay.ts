import { centralAddress, type OvnCentral, underlayBridge } from './central.js';
import type { NetworkNamespace } from './namespace.js';

/** A hypervisor's interface in the network that connects all of them. */
export const underlayInterface = 'eth0';

/** Connects a hypervisor's namespace with the others; returns the address that its index (1..200) gives it. */
export async function connectToUnderlay(
  central: OvnCentral,
  namespace: NetworkNamespace,
  name: string,
  index: number,
): Promise<string> {
  const address = centralAddress.replace(/\d+$/, String(10 + index));
  await namespace.ip(
    ...['link', 'add', underlayInterface, 'type', 'veth', 'peer', 'name', `to-${name}`],
    ...['netns', central.namespace.name],
  );
  await central.namespace.ip('link', 'set', `to-${name}`, 'master', underlayBridge, 'up');
  await namespace.ip('addr', 'add', `${address}/24`, 'dev', underlayInterface);
  await namespace.ip('link', 'set', underlayInterface, 'up');
  return address;
}
