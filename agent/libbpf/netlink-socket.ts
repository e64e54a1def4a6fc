import { closeSync } from 'node:fs';

import { kernelError } from './kernel-error.js';
import { lastErrno, libc } from './native.js';

const addressFamilyNetlink = 16;
const socketRawCloseOnExec = 3 | 0o2000000;
const netlinkRoute = 0;
const solSocket = 1;
const soReceiveTimeout = 20;
const soReceiveBufferForce = 33;
const messageDontWait = 0x40;
const tryAgain = 11;

/** A NETLINK_ROUTE socket of this process' network namespace. */
export interface NetlinkSocket {
  readonly fd: number;
  send(bytes: Uint8Array): void;
  /** Blocks until a datagram is there, 5 s at most (only for answers that are on their way); returns its length. */
  receive(into: Buffer): number;
  /** The length of the next datagram that has come; undefined when there is none. */
  receiveQueued(into: Buffer): number | undefined;
  close(): void;
}

export interface NetlinkSocketOptions {
  /** Bit mask of RTMGRP_* to listen to. */
  readonly groups: number;
  /** False for a socket that is read without bound, elsewhere than by `receive`. */
  readonly timeout: boolean;
}

/** Room for the notifications of some thousand interfaces that change at once. */
const receiveBufferBytes = 4 * 1024 * 1024;

/** Throws KernelError. */
export function openNetlinkSocket({ groups, timeout }: NetlinkSocketOptions): NetlinkSocket {
  const fd = libc().socket(addressFamilyNetlink, socketRawCloseOnExec, netlinkRoute);
  if (fd < 0) throw kernelError('open a netlink socket', lastErrno());
  const close = (): void => closeSync(fd);
  const must = (result: number, what: string): number => {
    if (result >= 0) return result;
    throw kernelError(what, lastErrno());
  };
  try {
    const address = Buffer.alloc(12);
    address.writeUInt16LE(addressFamilyNetlink, 0);
    address.writeUInt32LE(groups, 8);
    must(libc().bind(fd, address, address.length), 'bind a netlink socket');
    const size = Buffer.alloc(4);
    size.writeInt32LE(receiveBufferBytes);
    /* Refused without CAP_NET_ADMIN: then the default has to do, and an overflow costs a new dump. */
    libc().setsockopt(fd, solSocket, soReceiveBufferForce, size, size.length);
    if (timeout) {
      const interval = Buffer.alloc(16);
      interval.writeBigInt64LE(5n, 0);
      must(
        libc().setsockopt(fd, solSocket, soReceiveTimeout, interval, interval.length),
        'set up a netlink socket',
      );
    }
  } catch (error) {
    close();
    throw error;
  }
  return {
    fd,
    close,
    send: (bytes) => {
      const copy = Buffer.from(bytes);
      must(libc().send(fd, copy, copy.length, messageDontWait), 'send a netlink request');
    },
    receiveQueued: (into) => {
      const length = libc().recv(fd, into, into.length, messageDontWait);
      return length < 0 && lastErrno() === tryAgain
        ? undefined
        : must(length, 'receive from a netlink socket');
    },
    receive: (into) => must(libc().recv(fd, into, into.length, 0), 'receive a netlink answer'),
  };
}
