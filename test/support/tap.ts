import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';

import ffi from 'ffi-napi';

import type { Ifindex } from '../../common/addresses.js';
import { setUp } from '../../agent/netlink/requests.js';
import { waitFor } from '../../testbed/wait.js';
import { findIfindex } from './private-namespace.js';

/* linux/if_tun.h */
const setInterface = 0x400454ca;
const tapWithoutHeader = 0x0002 | 0x1000;
const requestBytes = 40;
const flagsOffset = 16;
const frameBytes = 65_536;

/** A TAP with this process in the VM's place. */
export interface Tap {
  readonly ifindex: Ifindex;
  /** The VM sends a frame. Throws when the kernel takes none so short. */
  send(frame: Uint8Array): void;
  /** The next frame that the VM is sent. */
  receive(): Promise<Uint8Array>;
  close(): void;
}

/** In the network namespace of the caller; the device is gone when it is closed, or this process ends. */
export function openTap(name: string): Tap {
  const libc = ffi.Library(null, { ioctl: ['int', ['int', 'ulong', 'pointer']] });
  const fd = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
  const request = Buffer.alloc(requestBytes);
  request.write(name);
  request.writeUInt16LE(tapWithoutHeader, flagsOffset);
  if (libc.ioctl(fd, setInterface, request) !== 0) throw new Error(`no TAP: errno ${ffi.errno()}`);
  const ifindex = findIfindex(name);
  setUp(ifindex);
  const read = (): Uint8Array | undefined => {
    const frame = Buffer.alloc(frameBytes);
    try {
      return Uint8Array.from(frame.subarray(0, readSync(fd, frame)));
    } catch {
      return undefined;
    }
  };
  return {
    ifindex,
    send: (frame) => void writeSync(fd, frame),
    receive: () => waitFor('a frame from the TAP', read, { intervalMs: 5 }),
    close: () => closeSync(fd),
  };
}
