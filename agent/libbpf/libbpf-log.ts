import type { Logger } from '../../common/log.js';
import { libbpf, type Pointer, printCallback } from './native.js';

const levelNames = ['warn', 'info', 'debug'] as const;

let callback: Pointer | undefined;
let receiver: ((level: number, text: string) => void) | undefined;

/**
 * Runs `operation` with libbpf's own messages going to `log`. All of them are debug messages of ours: whether one
 * matters is told by the error that the operation ends in.
 */
export function withLibbpfLog<T>(log: Logger, operation: () => T): T {
  if (callback === undefined) {
    callback = printCallback((level, text) => receiver?.(level, text));
    libbpf().libbpf_set_print(callback);
  }
  const outer = receiver;
  receiver = (level, text) => log.debug('libbpf', { text: text.trimEnd(), level: levelNames[level] });
  try {
    return operation();
  } finally {
    receiver = outer;
  }
}
