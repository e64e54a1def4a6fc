import { closeSync } from 'node:fs';

import ffi from 'ffi-napi';

import type { Ifindex } from '../../common/addresses.js';
import { waitFor } from '../../testbed/wait.js';

const addressFamilyPacket = 17;
const socketRawNonBlocking = 3 | 0o4000;
const everyProtocol = 0x0300; /* ETH_P_ALL, in network order */
const frameBytes = 65536;
const outgoing = 4; /* PACKET_OUTGOING */

/** Everything that arrives on an interface from the moment it was opened (packet(7)). */
export interface PacketReceiver {
  /** The frames so far. A VLAN tag is not among the bytes. */
  frames(): readonly Uint8Array[];
  /** Waits until there are that many. */
  waitForFrames(count: number): Promise<readonly Uint8Array[]>;
  close(): void;
}

export function openPacketReceiver(ifindex: Ifindex): PacketReceiver {
  const libc = ffi.Library(null, {
    socket: ['int', ['int', 'int', 'int']],
    bind: ['int', ['int', 'pointer', 'uint32']],
    recvfrom: ['long', ['int', 'pointer', 'size_t', 'int', 'pointer', 'pointer']],
  });
  const fd = libc.socket(addressFamilyPacket, socketRawNonBlocking, everyProtocol);
  if (fd < 0) throw new Error(`no packet socket: errno ${ffi.errno()}`);
  const address = Buffer.alloc(20);
  address.writeUInt16LE(addressFamilyPacket, 0);
  address.writeUInt16LE(everyProtocol, 2);
  address.writeInt32LE(ifindex, 4);
  if (libc.bind(fd, address, address.length) !== 0) throw new Error(`bind failed: errno ${ffi.errno()}`);

  const received: Uint8Array[] = [];
  const frames = (): readonly Uint8Array[] => {
    const frame = Buffer.alloc(frameBytes);
    const from = Buffer.alloc(20);
    const fromLength = Buffer.alloc(4);
    for (;;) {
      fromLength.writeUInt32LE(from.length);
      const length = Number(libc.recvfrom(fd, frame, frame.length, 0, from, fromLength));
      if (length < 0) return received;
      if (from.readUInt8(10) !== outgoing) received.push(Uint8Array.from(frame.subarray(0, length)));
    }
  };
  return {
    frames,
    waitForFrames: (count) =>
      waitFor(`${count} frames`, () => (frames().length >= count ? frames() : undefined), { intervalMs: 5 }),
    close: () => closeSync(fd),
  };
}
