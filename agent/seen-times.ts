import type { VifInterface } from './vswitch/interfaces.js';

/** How long each tap waited, from when it was first seen with its iface-id until its port was in the kernel. */
export class SeenTimes {
  readonly #now: () => number;
  /** By Interface.name; undefined once the waiting was over. */
  readonly #since = new Map<string, { readonly identity: string; sinceMs: number | undefined }>();

  /** `now` gives ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  update(interfaces: readonly VifInterface[]): void {
    const present = new Set<string>();
    for (const { name, ifaceId, device, error } of interfaces) {
      if (device === undefined || error !== undefined) continue;
      present.add(name);
      const identity = `${ifaceId} ${device.ifindex}`;
      if (this.#since.get(name)?.identity !== identity)
        this.#since.set(name, { identity, sinceMs: this.#now() });
    }
    for (const name of this.#since.keys()) if (!present.has(name)) this.#since.delete(name);
  }

  /** The seconds that those of the named interfaces have waited whose wait ends now. */
  installed(names: Iterable<string>): readonly number[] {
    return [...names].flatMap((name) => {
      const entry = this.#since.get(name);
      if (entry?.sinceMs === undefined) return [];
      const seconds = Math.max(0, this.#now() - entry.sinceMs) / 1000;
      entry.sinceMs = undefined;
      return [seconds];
    });
  }
}
