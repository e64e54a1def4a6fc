import type { Connection } from './connection.js';
import { isJsonObject, type Json } from './json.js';

/** A claim to a server's lock (RFC 7047 §4.1.8), kept up over reconnects. */
export interface Lock {
  readonly name: string;
  /** False while waiting for the lock, after it was stolen, and while disconnected. */
  readonly held: boolean;
  /** Called at every change of `held`. Returns an unsubscribe function. */
  onChange(listener: (held: boolean) => void): () => void;
  /** Gives the lock up; this handle is dead afterwards. */
  release(): void;
}

interface Claim {
  held: boolean;
  readonly handles: Set<Set<(held: boolean) => void>>;
}

/** All locks that one client wants. Handles for one name share a claim, since the server knows one per session. */
export class Locks {
  readonly #claims = new Map<string, Claim>();
  readonly #timeoutMs: number;
  readonly #report: (error: unknown) => void;
  #connection: Connection | undefined;

  /** `report` gets what a listener throws. */
  constructor(timeoutMs: number, report: (error: unknown) => void) {
    this.#timeoutMs = timeoutMs;
    this.#report = report;
  }

  claim(name: string): Lock {
    let claim = this.#claims.get(name);
    if (claim === undefined) {
      claim = { held: false, handles: new Set() };
      this.#claims.set(name, claim);
      this.#request(name);
    }
    return this.#handle(name, claim);
  }

  /** A session is there: asks for every lock. */
  attach(connection: Connection): void {
    this.#connection = connection;
    for (const name of this.#claims.keys()) this.#request(name);
  }

  /** The session is gone, and all locks with it. */
  detach(): void {
    this.#connection = undefined;
    for (const claim of this.#claims.values()) this.#setHeld(claim, false);
  }

  /** The notifications "locked" and "stolen". */
  notify(name: Json | undefined, held: boolean): void {
    const claim = typeof name === 'string' ? this.#claims.get(name) : undefined;
    if (claim !== undefined) this.#setHeld(claim, held);
  }

  #handle(name: string, claim: Claim): Lock {
    const listeners = new Set<(held: boolean) => void>();
    claim.handles.add(listeners);
    const isLive = (): boolean => claim.handles.has(listeners);
    return {
      name,
      get held() {
        return isLive() && claim.held;
      },
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      release: () => {
        if (claim.handles.delete(listeners) && claim.handles.size === 0) this.#release(name);
      },
    };
  }

  #release(name: string): void {
    this.#claims.delete(name);
    // The connection's end releases the lock as well as the answer would.
    this.#connection
      ?.request('unlock', [name], { timeoutMs: this.#timeoutMs }, () => undefined)
      .catch(() => undefined);
  }

  #request(name: string): void {
    const connection = this.#connection;
    const claim = this.#claims.get(name);
    if (connection === undefined || claim === undefined) return;
    connection
      .request('lock', [name], { timeoutMs: this.#timeoutMs }, (result) => {
        if (isJsonObject(result) && result['locked'] === true) this.#setHeld(claim, true);
      })
      .catch((error: unknown) => {
        if (connection.closedBy === undefined) this.#report(error);
      });
  }

  #setHeld(claim: Claim, held: boolean): void {
    if (claim.held === held) return;
    claim.held = held;
    for (const listener of [...claim.handles].flatMap((listeners) => [...listeners])) {
      try {
        listener(held);
      } catch (error) {
        this.#report(error);
      }
    }
  }
}
