import { setTimeout as delay } from 'node:timers/promises';

import { IovnError } from '../common/errors.js';

/** How many times as long as usual everything may take: scripts/vm says so where the machine is emulated. */
export const patience = Number(process.env['IOVN_PATIENCE'] ?? '1');

export interface WaitOptions {
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
}

/**
 * Asks again and again until `condition` gives something other than undefined and false, and returns that. Throws
 * IovnError `wait_timeout`, its cause what the condition threw last, when the time is over.
 */
export async function waitFor<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  { timeoutMs = 15_000, intervalMs = 50 }: WaitOptions = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs * patience;
  for (;;) {
    let cause: unknown;
    try {
      const value = await condition();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) {
      throw new IovnError('wait_timeout', `waited ${timeoutMs * patience} ms in vain: ${what}`, {}, cause);
    }
    await delay(intervalMs);
  }
}
