import os from 'node:os';

import type { Ifindex } from '../../common/addresses.js';
import { hasTrafficControlFilters } from '../netlink/requests.js';
import { check } from './kernel-error.js';
import { libbpf } from './native.js';

const attachIngress = 1;
const attachIngressAndEgress = 3;
const replaceFlag = 1;

const filterPriorities = [1, 2] as const;
export type FilterPriority = (typeof filterPriorities)[number];

/** Our filter on an interface; one program each, as an interface of the underlay may be an uplink, too. */
export interface Filter {
  readonly ifindex: Ifindex;
  /** Low ones come first: a filter before ours could let packets past it. */
  readonly priority: FilterPriority;
}

const filterHandle = 0x494f564e;

const { EEXIST, EINVAL, ENODEV, ENOENT } = os.constants.errno;

/** Whether an interface has our filter; the id of its program if so. Neither when the interface is gone. */
export function readFilter({ ifindex, priority }: Filter): number | undefined {
  const options = filterOptions(priority, 0, 0);
  const result = libbpf().bpf_tc_query(hook(ifindex, attachIngress), options);
  if (result === -ENOENT || result === -ENODEV || result === -EINVAL) return undefined;
  check(result, `read the tc filter of interface ${ifindex}`, { ifindex });
  return options.readUInt32LE(16);
}

/** Whether any of our programs is on the interface. */
export function hasOurFilter(ifindex: Ifindex): boolean {
  return filterPriorities.some((priority) => readFilter({ ifindex, priority }) !== undefined);
}

/** Makes a clsact qdisc; false when there is one already. */
export function createQdisc(ifindex: Ifindex): boolean {
  const result = libbpf().bpf_tc_hook_create(hook(ifindex, attachIngressAndEgress));
  if (result === -EEXIST) return false;
  check(result, `make a clsact qdisc on interface ${ifindex}`, { ifindex });
  return true;
}

/** Attaches the program as our filter, in place of the one that is there, atomically. */
export function attachFilter(programFd: number, { ifindex, priority }: Filter): void {
  const result = libbpf().bpf_tc_attach(
    hook(ifindex, attachIngress),
    filterOptions(priority, programFd, replaceFlag),
  );
  check(result, `attach to interface ${ifindex} by clsact`, { ifindex });
}

/** Removes our filter where it is. */
export function detachFilter(filter: Filter): void {
  if (readFilter(filter) === undefined) return;
  const { ifindex, priority } = filter;
  const result = libbpf().bpf_tc_detach(hook(ifindex, attachIngress), filterOptions(priority, 0, 0));
  if (result === -ENOENT || result === -ENODEV) return;
  check(result, `detach from interface ${ifindex}`, { ifindex });
}

/** Removes the clsact qdisc unless somebody has a filter on it. */
export function removeQdisc(ifindex: Ifindex): void {
  if (hasTrafficControlFilters(ifindex)) return;
  const result = libbpf().bpf_tc_hook_destroy(hook(ifindex, attachIngressAndEgress));
  if (result === -ENOENT || result === -ENODEV || result === -EINVAL) return;
  check(result, `remove the clsact qdisc of interface ${ifindex}`, { ifindex });
}

/** struct bpf_tc_hook */
function hook(ifindex: Ifindex, attachPoint: number): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeBigUInt64LE(24n, 0);
  bytes.writeInt32LE(ifindex, 8);
  bytes.writeUInt32LE(attachPoint, 12);
  return bytes;
}

/** struct bpf_tc_opts */
function filterOptions(priority: number, programFd: number, flags: number): Buffer {
  const bytes = Buffer.alloc(32);
  bytes.writeBigUInt64LE(32n, 0);
  bytes.writeInt32LE(programFd, 8);
  bytes.writeUInt32LE(flags, 12);
  bytes.writeUInt32LE(filterHandle, 20);
  bytes.writeUInt32LE(priority, 24);
  return bytes;
}
