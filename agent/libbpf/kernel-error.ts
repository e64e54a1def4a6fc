import os from 'node:os';
import { getSystemErrorName } from 'node:util';

import { IovnError } from '../../common/errors.js';

export type KernelErrorCode =
  | 'kernel_permission'
  | 'kernel_unsupported'
  | 'kernel_verifier'
  | 'kernel_no_device'
  | 'kernel_map_full'
  | 'kernel_not_found'
  | 'kernel_exists'
  | 'kernel_failure';

/** Thrown when the kernel, libbpf or the C library refuses what was asked. `errno` is positive; 0 when there is none. */
export class KernelError extends IovnError {
  override readonly code: KernelErrorCode;
  readonly errno: number;

  constructor(
    code: KernelErrorCode,
    errno: number,
    message: string,
    fields: Record<string, unknown> = {},
    cause?: unknown,
  ) {
    super(code, message, { ...fields, errno }, cause);
    this.code = code;
    this.errno = errno;
  }
}

const { EPERM, EACCES, ENODEV, ENXIO, E2BIG, ENOSPC, ENOENT, EEXIST, ENOSYS, EOPNOTSUPP } =
  os.constants.errno;

/** The kernel's own "operation not supported", which never had a name in userspace. */
const ENOTSUPP = 524;

/** True for the errors by which kernels refuse an operation that they don't have. */
export function isUnsupported(errno: number): boolean {
  return errno === ENOTSUPP || errno === EOPNOTSUPP || errno === ENOSYS;
}

export function codeOfErrno(errno: number): KernelErrorCode {
  if (isUnsupported(errno)) return 'kernel_unsupported';
  switch (errno) {
    case EPERM:
    case EACCES:
      return 'kernel_permission';
    case ENODEV:
    case ENXIO:
      return 'kernel_no_device';
    case E2BIG:
    case ENOSPC:
      return 'kernel_map_full';
    case ENOENT:
      return 'kernel_not_found';
    case EEXIST:
      return 'kernel_exists';
    default:
      return 'kernel_failure';
  }
}

/** `ENODEV` and the like; `errno 524` where there is no name. */
export function errnoName(errno: number): string {
  if (errno === ENOTSUPP) return 'ENOTSUPP';
  const name = errno > 0 ? getSystemErrorName(-errno) : '';
  return /^E[A-Z0-9]+$/.test(name) ? name : `errno ${errno}`;
}

const hints: Readonly<Partial<Record<KernelErrorCode, string>>> = {
  kernel_permission: 'eBPF needs CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN: run as root',
  kernel_unsupported:
    'this kernel does not have it: Linux 6.1 or later with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF is needed',
  kernel_no_device: 'no such interface in this network namespace',
};

/** The error for `what` ("attach to interface 5"), having failed with `errno`. */
export function kernelError(
  what: string,
  errno: number,
  fields: Record<string, unknown> = {},
  cause?: unknown,
): KernelError {
  const code = codeOfErrno(errno);
  const hint = hints[code];
  const message = `cannot ${what}: ${errnoName(errno)}${hint === undefined ? '' : ` (${hint})`}`;
  return new KernelError(code, errno, message, fields, cause);
}

/** `result` when it is no error; throws otherwise. For libbpf's calls, which return a negative errno. */
export function check(result: number, what: string, fields: Record<string, unknown> = {}): number {
  if (result < 0) throw kernelError(what, -result, fields);
  return result;
}

/** Runs a file system operation and turns what it throws into a KernelError. */
export function withKernelError<T>(what: string, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    const errno = error instanceof Error && 'errno' in error ? Math.abs(Number(error.errno)) : 0;
    throw kernelError(what, errno, {}, error);
  }
}

/** Throws unless `release` (as `uname -r` prints it) is 6.1 or later. */
export function requireKernel(release: string): void {
  const match = /^(\d+)\.(\d+)/.exec(release);
  const [major, minor] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || major > 6 || (major === 6 && minor >= 1)) return;
  throw new KernelError(
    'kernel_unsupported',
    0,
    `kernel ${release} is too old: Linux 6.1 or later is needed`,
    {
      release,
    },
  );
}

const maximumLogTail = 30;

/**
 * What a verifier log says about why it refused: its last lines, without the statistics and the states that
 * surround them. Empty when the log says nothing.
 */
export function verifierReason(log: string): string {
  const lines = log
    .replace(/\0[\s\S]*$/, '')
    .split('\n')
    .map((line) => line.trimEnd())
    .filter(
      (line) =>
        line !== '' && !/^(processed \d+ insns|verification time|stack depth|peak_states|libbpf:)/.test(line),
    );
  return lines.slice(-maximumLogTail).join('\n');
}
