import { setTimeout as delay } from 'node:timers/promises';

const limitMs = 5000;

/** Waits until `condition` holds; throws with `what()` after five seconds. */
export async function eventually(
  condition: () => boolean,
  what: () => unknown = () => condition,
): Promise<void> {
  const endMs = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > endMs) throw new Error(`not within ${limitMs} ms: ${String(what())}`);
    await delay(1);
  }
}
