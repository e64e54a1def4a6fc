import type { NodeEventInput } from '../../generated/proto/iovn/v1/NodeEvent.js';

export type EventType = 'drop' | 'mac' | 'link' | 'intent' | 'applied';

export type FeedEvent = NodeEventInput & { readonly type: EventType };

export interface EventFilter {
  /** '' = all */
  readonly port: string;
  /** None = all. */
  readonly types: readonly string[];
}

interface Watcher {
  readonly filter: EventFilter;
  readonly waiting: FeedEvent[];
  lost: number;
  wake: () => void;
}

/** What may wait for a watcher that is slow; what comes beyond is counted and left out. */
const maximumWaiting = 1000;

/** Hands events to whoever watches at the moment. Nobody can hold up the one who publishes. */
export class EventFeed {
  readonly #watchers = new Set<Watcher>();

  /** `compute` is asked only when somebody watches. */
  publish(compute: () => FeedEvent | undefined): void {
    if (this.#watchers.size === 0) return;
    const event = compute();
    if (event === undefined) return;
    for (const watcher of this.#watchers) if (passes(watcher.filter, event)) offer(watcher, event);
  }

  /** Events from now on, until `signal` aborts. */
  async *watch(filter: EventFilter, signal: AbortSignal): AsyncGenerator<FeedEvent> {
    const watcher: Watcher = { filter, waiting: [], lost: 0, wake: () => undefined };
    const abort = (): void => watcher.wake();
    this.#watchers.add(watcher);
    signal.addEventListener('abort', abort);
    try {
      while (!signal.aborted) {
        const event = watcher.waiting.shift();
        if (event === undefined) {
          await new Promise<void>((resolve) => {
            watcher.wake = resolve;
            if (signal.aborted || watcher.waiting.length > 0) resolve();
          });
          continue;
        }
        const { lost } = watcher;
        watcher.lost = 0;
        yield lost === 0 ? event : { ...event, lost };
      }
    } finally {
      signal.removeEventListener('abort', abort);
      this.#watchers.delete(watcher);
    }
  }
}

function passes({ port, types }: EventFilter, event: FeedEvent): boolean {
  return (port === '' || event.port === port) && (types.length === 0 || types.includes(event.type));
}

function offer(watcher: Watcher, event: FeedEvent): void {
  if (watcher.waiting.length >= maximumWaiting) watcher.lost += 1;
  else watcher.waiting.push(event);
  watcher.wake();
}
