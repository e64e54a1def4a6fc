import { closeSync } from 'node:fs';
import path from 'node:path';

import { errorMessage } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import { openPin } from './generations.js';
import { KernelError } from './kernel-error.js';
import { KernelMap } from './kernel-map.js';

/**
 * Copies what a map of older generations holds into the same map of a new one, so that an upgrade forgets nothing. One
 * of another layout is left behind, with a line in the log. A map that drops its oldest takes what it has room for.
 */
export function carryOver(
  name: string,
  into: number,
  bpffsDir: string,
  generations: readonly string[],
  log: Logger,
): void {
  const target = new KernelMap(name, into);
  for (const id of generations) {
    try {
      const copied = copyFrom(path.join(bpffsDir, id, 'maps', name), target);
      log.info('carried over what an older generation had learnt', { map: name, generation: id, copied });
    } catch (error) {
      /* An older version that did not have the map. */
      if (error instanceof KernelError && error.code === 'kernel_not_found') continue;
      log.warn('what an older generation had learnt is lost', {
        map: name,
        generation: id,
        error: errorMessage(error),
      });
    }
  }
}

function copyFrom(pin: string, target: KernelMap): number {
  const fd = openPin(pin);
  try {
    const source = new KernelMap(target.name, fd);
    const same =
      source.info.keySize === target.info.keySize && source.info.valueSize === target.info.valueSize;
    if (!same) throw new RangeError('it has another layout');
    let copied = 0;
    source.visit((keys, values, count) => {
      copied += count - target.update(keys, values, count).length;
    });
    return copied;
  } finally {
    closeSync(fd);
  }
}
