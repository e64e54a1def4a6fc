import os from 'node:os';

import type { Ifindex, Mac } from '../../common/addresses.js';
import { KernelError, kernelError } from '../libbpf/kernel-error.js';
import { openNetlinkSocket } from '../libbpf/netlink-socket.js';
import {
  decodeError,
  decodeLink,
  decodeMessages,
  encodeConfigureRelay,
  encodeCreateVeth,
  encodeCreateTunnelDevice,
  encodeDeleteLink,
  encodeGetFilters,
  encodeGetLink,
  encodeSetPromiscuous,
  encodeSetUp,
  encodeSetUpSilent,
  type Link,
  type Message,
  messageTypes,
} from './codec.js';
import {
  decodeInterfaceAddress,
  decodeRoute,
  encodeGetAddresses,
  encodeGetRoute,
  type InterfaceAddress,
  type RouteAnswer,
} from './route-codec.js';
import { relayMtu } from '../tunnels/relay.js';
import type { TunnelType } from '../tunnels/tunnel-endpoints.js';

const { ENETUNREACH, EHOSTUNREACH, EACCES, EBUSY, EINVAL, ENETDOWN, EOPNOTSUPP, EPERM } = os.constants.errno;
const noRouteErrnos = new Set([ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL, ENETDOWN]);
const portIsTaken = "another device has its UDP port (Open vSwitch's, perhaps)";
const sequence = 1;
const bufferBytes = 64 * 1024;
const maximumDumps = 5;
const clsactParents = [0xfffffff2, 0xfffffff3];

/** Every interface of this network namespace. Throws KernelError. */
export function readLinks(): Link[] {
  const answers = dump('list the interfaces', encodeGetLink(sequence));
  return answers
    .filter(({ type }) => type === messageTypes.newLink)
    .map(({ payload }) => decodeLink(payload))
    .filter((link) => link !== undefined);
}

/**
 * Makes a veth pair in this network namespace, both ends down, the end `name` with the address `mac` where one is given.
 * Throws KernelError 'kernel_exists' when a name is taken.
 */
export function createVeth(name: string, peerName: string, mac?: Mac): void {
  request(`create interface ${name}`, encodeCreateVeth(sequence, name, peerName, mac));
}

export function setUp(ifindex: Ifindex): void {
  request(`set interface ${ifindex} up`, encodeSetUp(sequence, ifindex));
}

export function setPromiscuous(ifindex: Ifindex, on: boolean): void {
  const what = `make interface ${ifindex} ${on ? '' : 'not '}promiscuous`;
  request(what, encodeSetPromiscuous(sequence, ifindex, on));
}

/** Makes one end of the node's relay what it has to be (bpf/tunnel.h). */
export function configureRelay(ifindex: Ifindex): void {
  const relay = { mtu: relayMtu, gsoMaxSegments: 1, gsoMaxBytes: 1024 };
  request(`configure interface ${ifindex} as relay`, encodeConfigureRelay(sequence, ifindex, relay));
}

/** Of which the general hints would lead astray (EPERM, EBUSY: geneve_configure in the kernel). */
const tunnelDeviceHints: ReadonlyMap<number, string> = new Map([
  [EOPNOTSUPP, 'this kernel has no such devices'],
  [EPERM, portIsTaken],
  [EBUSY, portIsTaken],
]);

/** Makes one of the node's tunnel devices, down. Throws KernelError. */
export function createTunnelDevice(name: string, type: TunnelType): void {
  const what = `create interface ${name} of type ${type}`;
  try {
    request(what, encodeCreateTunnelDevice(sequence, name, type));
  } catch (error) {
    const hint = error instanceof KernelError ? tunnelDeviceHints.get(error.errno) : undefined;
    if (!(error instanceof KernelError) || hint === undefined) throw error;
    throw new KernelError(error.code, error.errno, `cannot ${what}: ${hint}`, error.fields, error);
  }
}

/** Sets one of the node's tunnel devices up. */
export function raiseTunnelDevice(ifindex: Ifindex): void {
  request(`set interface ${ifindex} up`, encodeSetUpSilent(sequence, ifindex));
}

/** Where packets to an address leave; undefined where they don't. */
export function readRoute(address: Uint8Array): RouteAnswer | undefined {
  try {
    const answers = exchange('ask for a route', encodeGetRoute(sequence, address), () => true);
    return answers.flatMap(({ type, payload }) =>
      type === messageTypes.newRoute ? [decodeRoute(payload)] : [],
    )[0];
  } catch (error) {
    if (error instanceof KernelError && noRouteErrnos.has(error.errno)) return undefined;
    throw error;
  }
}

/** Every address of every interface. */
export function readAddresses(): readonly InterfaceAddress[] {
  return dump('list the addresses', encodeGetAddresses(sequence))
    .filter(({ type }) => type === messageTypes.newAddress)
    .map(({ payload }) => decodeInterfaceAddress(payload))
    .filter((address) => address !== undefined);
}

/** Removes an interface, a veth with its other end. */
export function deleteLink(ifindex: Ifindex): void {
  request(`delete interface ${ifindex}`, encodeDeleteLink(sequence, ifindex));
}

/** Whether there is any filter on an interface's clsact qdisc. */
export function hasTrafficControlFilters(ifindex: Ifindex): boolean {
  return clsactParents.some((parent) =>
    dump(`list the tc filters of interface ${ifindex}`, encodeGetFilters(sequence, ifindex, parent)).some(
      ({ type }) => type === messageTypes.newFilter,
    ),
  );
}

/** Sends a request and waits for its acknowledgement. */
function request(what: string, message: Buffer): void {
  exchange(what, message, ({ type }) => type === messageTypes.error);
}

/** All answers to a dump request; asked again when what was dumped changed meanwhile. */
function dump(what: string, message: Buffer): Message[] {
  for (let attempt = 0; attempt < maximumDumps; attempt++) {
    const answers = exchange(what, message, ({ type }) => type === messageTypes.done);
    if (!answers.some(({ interrupted }) => interrupted)) return answers;
  }
  throw new KernelError('kernel_failure', 0, `cannot ${what}: it changes all the time`);
}

/** Collects the answers up to the one that `isLast`. Throws the error that the kernel answers with. */
function exchange(what: string, message: Buffer, isLast: (message: Message) => boolean): Message[] {
  const socket = openNetlinkSocket({ groups: 0, timeout: true });
  const answers: Message[] = [];
  try {
    socket.send(message);
    for (;;) {
      const buffer = Buffer.alloc(bufferBytes);
      const messages = decodeMessages(buffer.subarray(0, socket.receive(buffer)));
      if (messages === undefined)
        throw new KernelError('kernel_failure', 0, `cannot ${what}: malformed answer`);
      for (const answer of messages) {
        const errno = answer.type === messageTypes.error ? decodeError(answer.payload) : 0;
        if (errno !== 0) throw kernelError(what, errno);
        answers.push(answer);
        if (isLast(answer)) return answers;
      }
    }
  } finally {
    socket.close();
  }
}
