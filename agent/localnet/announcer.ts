import { errorMessage } from '../../common/errors.js';
import type { Logger } from '../../common/log.js';
import { type Announcement, findAnnouncements } from './announcements.js';
import type { DataPlane } from '../data-plane.js';
import type { PluggedPort } from '../modules/io-module.js';

/** Before each of the announcements of a port, as ovn-controller waits. */
const defaultWaitsMs: readonly number[] = [1000, 2000, 4000, 8000, 16_000];

interface Scheduled {
  readonly announcement: Announcement;
  sent: number;
  /** performance.now(); Infinity when all are sent. */
  dueMs: number;
}

/** Announces the ports that come to this node to the physical networks of their switches, each five times in half a minute. */
export class Announcer {
  readonly #plane: Pick<DataPlane, 'broadcast'>;
  readonly #log: Logger;
  readonly #waitsMs: readonly number[];
  readonly #scheduled = new Map<string, Scheduled>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(plane: Pick<DataPlane, 'broadcast'>, log: Logger, waitsMs = defaultWaitsMs) {
    this.#plane = plane;
    this.#log = log;
    this.#waitsMs = waitsMs;
  }

  /** Takes in which ports are here now. */
  apply(plugged: readonly PluggedPort[]): void {
    const wanted = findAnnouncements(plugged);
    for (const id of this.#scheduled.keys()) if (!wanted.has(id)) this.#scheduled.delete(id);
    for (const [id, announcement] of wanted) {
      if (this.#scheduled.has(id)) continue;
      this.#scheduled.set(id, { announcement, sent: 0, dueMs: this.#nextMs(0) });
    }
    this.#wait();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #wait(): void {
    clearTimeout(this.#timer);
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { dueMs } of this.#scheduled.values()) nextMs = Math.min(nextMs, dueMs);
    if (this.#stopped || nextMs === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#sendDue(), Math.max(0, nextMs - performance.now()));
    this.#timer.unref();
  }

  #sendDue(): void {
    const nowMs = performance.now();
    for (const each of this.#scheduled.values()) {
      if (each.dueMs > nowMs) continue;
      each.sent += 1;
      each.dueMs = this.#nextMs(each.sent);
      this.#announce(each.announcement);
    }
    this.#wait();
  }

  #nextMs(sent: number): number {
    return performance.now() + (this.#waitsMs[sent] ?? Number.POSITIVE_INFINITY);
  }

  #announce({ ifindex, frame }: Announcement): void {
    try {
      this.#plane.broadcast(ifindex, frame);
    } catch (error) {
      this.#log.warn('a port was not announced to its physical network', {
        ifindex,
        error: errorMessage(error),
      });
    }
  }
}
