import { IovnError } from './errors.js';

/**
 * A signal that aborts with `signal`, or else after `timeoutMs`. Not AbortSignal.any with AbortSignal.timeout: Node 20 lets the latter be
 * collected as garbage when nothing else holds on to it, and then it never aborts.
 */
export function deadline(signal: AbortSignal, timeoutMs: number): AbortSignal {
  const controller = new AbortController();
  const abort = (): void => {
    clearTimeout(timer);
    controller.abort(signal.reason);
  };
  const timer = setTimeout(() => {
    signal.removeEventListener('abort', abort);
    controller.abort(new IovnError('timeout', `not within ${timeoutMs} ms`));
  }, timeoutMs).unref();
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  return controller.signal;
}
