import type { NetworkNamespace } from './namespace.js';

/** Address of the central namespace in the network that connects it with the hypervisors. */
export const centralAddress = '192.0.2.1';
/** The bridge of the central namespace to which hypervisors are connected. */
const underlayBridge = 'underlay';
/** A hypervisor's interface in the network that connects all of them. */
export const underlayInterface = 'eth0';

/** Makes the network's middle in the central namespace. */
export async function makeUnderlay(central: NetworkNamespace): Promise<void> {
  await central.ip('link', 'add', underlayBridge, 'type', 'bridge');
  await central.ip('addr', 'add', `${centralAddress}/24`, 'dev', underlayBridge);
  await central.ip('link', 'set', underlayBridge, 'up');
}

/** Connects a hypervisor's namespace with the others; returns the address that its index (1..200) gives it. */
export async function connectToUnderlay(
  central: { readonly namespace: NetworkNamespace },
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
