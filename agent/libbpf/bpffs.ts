import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import type { Logger } from '../../common/log.js';
import { KernelError, kernelError, withKernelError } from './kernel-error.js';
import { lastErrno, libc, NULL } from './native.js';

const bpffsMagic = 0xcafe4a11;
const usualMountPoint = '/sys/fs/bpf';

/**
 * Makes `folder` exist on a bpf file system. Where there is none it is mounted: at /sys/fs/bpf for folders in it,
 * at the folder itself otherwise. Throws KernelError.
 */
export function prepareBpffs(folder: string, log: Logger): void {
  if (!isOnBpffs(folder)) {
    const mountPoint = folder.startsWith(`${usualMountPoint}/`) ? usualMountPoint : folder;
    withKernelError(`make folder ${mountPoint}`, () => mkdirSync(mountPoint, { recursive: true }));
    const what = `mount a bpf file system at ${mountPoint}`;
    if (libc().mount('bpf', mountPoint, 'bpf', 0, NULL) !== 0)
      throw kernelError(what, lastErrno(), { mountPoint });
    log.info('bpf file system mounted', { mountPoint });
  }
  if (path.relative(existingPart(folder), folder).includes('.')) {
    const message = `${folder} can't be made: names on a bpf file system have no dots`;
    throw new KernelError('kernel_failure', os.constants.errno.EINVAL, message, { folder });
  }
  makeFolder(folder);
}

/** The folder itself or the nearest above it that exists. */
function existingPart(folder: string): string {
  let existing = folder;
  while (!existsSync(existing)) existing = path.dirname(existing);
  return existing;
}

function isOnBpffs(folder: string): boolean {
  const existing = existingPart(folder);
  return withKernelError(`look at ${existing}`, () => statfsSync(existing)).type === bpffsMagic;
}

/** Names in a folder, sorted; none when the folder is not there. The kernel's own files, which have dots, are left out. */
export function listFolder(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const names = withKernelError(`list ${folder}`, () => readdirSync(folder));
  return names.filter((name) => !name.includes('.')).sort();
}

export function makeFolder(folder: string): void {
  withKernelError(`make folder ${folder}`, () => mkdirSync(folder, { recursive: true, mode: 0o700 }));
}

/** Removes a pin, or a folder with all the pins in it; what is not there is no error. */
export function removePins(pathname: string): void {
  withKernelError(`remove ${pathname}`, () => rmSync(pathname, { recursive: true, force: true }));
}

/** Removes a folder and everything in it; one that is a mount point stays, empty. */
export function removePinnedFolder(folder: string): void {
  for (const name of listFolder(folder)) removePins(path.join(folder, name));
  const isMountPoint = statSync(folder).dev !== statSync(path.dirname(folder)).dev;
  if (!isMountPoint) removePins(folder);
}
