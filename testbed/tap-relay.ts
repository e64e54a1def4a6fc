// Moves packets between two TAPs in different network namespaces, as a hypervisor's process does between a VM and its
// tap: with offloads, so that GSO packets stay whole. node --import=tsx testbed/tap-relay.ts NETNS DEVICE NETNS DEVICE
import { openSync, read, writeSync } from 'node:fs';
import { promisify } from 'node:util';

import ffi from 'ffi-napi';

const newNetworkNamespace = 0x40000000;
/** linux/if_tun.h */
const setInterface = 0x400454ca;
const setOffload = 0x400454d0;
const tapWithHeader = 0x0002 | 0x1000 | 0x4000; // IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
const checksumAndSegmentation = 0x01 | 0x02 | 0x04; // TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6
/** The largest GSO packet with its virtio_net_hdr and an Ethernet header. */
const packetBytes = 65_536 + 64;

const libc = ffi.Library(null, {
  setns: ['int', ['int', 'int']],
  ioctl: ['int', ['int', 'ulong', 'pointer']],
});
const readOnce = promisify(read);

function must(result: number, what: string): void {
  if (result < 0) throw new Error(`${what} failed with errno ${ffi.errno()}`);
}

function openTap(namespace: string, device: string): number {
  must(libc.setns(openSync(`/run/netns/${namespace}`, 'r'), newNetworkNamespace), `entering ${namespace}`);
  const fd = openSync('/dev/net/tun', 'r+');
  const request = Buffer.alloc(40);
  request.write(device, 'latin1');
  request.writeUInt16LE(tapWithHeader, 16);
  must(libc.ioctl(fd, setInterface, request), `TUNSETIFF ${device}`);
  // The third argument of this one is a number, which travels as a pointer does.
  const asNumber = ffi.Library(null, { ioctl: ['int', ['int', 'ulong', 'ulong']] });
  must(asNumber.ioctl(fd, setOffload, checksumAndSegmentation), `TUNSETOFFLOAD ${device}`);
  return fd;
}

async function pump(from: number, to: number): Promise<never> {
  const buffer = Buffer.alloc(packetBytes);
  for (;;) {
    const { bytesRead } = await readOnce(from, buffer, 0, buffer.length, null);
    writeSync(to, buffer, 0, bytesRead);
  }
}

const [namespace1 = '', device1 = '', namespace2 = '', device2 = ''] = process.argv.slice(2);
const tap1 = openTap(namespace1, device1);
const tap2 = openTap(namespace2, device2);
await Promise.race([pump(tap1, tap2), pump(tap2, tap1)]);
