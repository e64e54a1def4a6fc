import { closeSync } from 'node:fs';
import os from 'node:os';

import type { Ifindex } from '../../common/addresses.js';
import { check, kernelError } from './kernel-error.js';
import { openPin } from './generations.js';
import { removePins } from './bpffs.js';
import { libbpf, NULL } from './native.js';

/** enum bpf_attach_type BPF_TCX_INGRESS (Linux 6.6), unknown to libbpf 1.1's headers. */
const tcxIngress = 46;
const { ENODEV } = os.constants.errno;

export interface TcxLink {
  /** 0 when the interface is gone or the link was detached by force. */
  readonly ifindex: number;
  readonly programId: number;
}

/** Whether the kernel has tcx: it is asked for a link on an interface that can't exist. */
export function hasTcx(programFd: number): boolean {
  const impossibleIfindex = 0x7fffffff;
  return libbpf().bpf_link_create(programFd, impossibleIfindex, tcxIngress, NULL) === -ENODEV;
}

/** The state of the link pinned at `pathname`. */
export function readTcxLink(pathname: string): TcxLink {
  return withPin(pathname, readLinkInfo);
}

/** Attaches the program by a new link, pinned at `pathname`. */
export function createTcxLink(programFd: number, ifindex: Ifindex, pathname: string): void {
  const result = libbpf().bpf_link_create(programFd, ifindex, tcxIngress, NULL);
  if (result < 0) throw kernelError(`attach to interface ${ifindex} by tcx`, -result, { ifindex });
  try {
    check(libbpf().bpf_obj_pin(result, pathname), `pin ${pathname}`);
  } finally {
    closeSync(result);
  }
}

/** Puts the program in place of the link's, atomically: no packet goes without one. */
export function updateTcxLink(programFd: number, pathname: string): void {
  withPin(pathname, (fd) => {
    check(libbpf().bpf_link_update(fd, programFd, NULL), `replace the program of link ${pathname}`);
  });
}

/** Detaches and unpins. */
export function removeTcxLink(pathname: string): void {
  withPin(pathname, (fd) => {
    if (readLinkInfo(fd).ifindex !== 0) {
      check(libbpf().bpf_link_detach(fd), `detach link ${pathname}`);
    }
  });
  removePins(pathname);
}

function withPin<T>(pathname: string, use: (fd: number) => T): T {
  const fd = openPin(pathname);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/** Reads `struct bpf_link_info` of a tcx link. */
function readLinkInfo(fd: number): TcxLink {
  const info = Buffer.alloc(48);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(info.length);
  check(libbpf().bpf_obj_get_info_by_fd(fd, info, length), 'read the description of a link');
  return { programId: info.readUInt32LE(8), ifindex: info.readUInt32LE(16) };
}
