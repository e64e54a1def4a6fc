/** Limits on waiting, in ms. */
export interface Timing {
  /** Until a connection stands, TLS handshake included. */
  readonly connectTimeoutMs: number;
  /** For an answer to any request but the monitor's and transact's. */
  readonly requestTimeoutMs: number;
  readonly backoffInitialMs: number;
  readonly backoffMaximumMs: number;
  /** A session that lasted this long starts the back-off anew. */
  readonly stableAfterMs: number;
}

export const defaultTiming: Timing = {
  connectTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  backoffInitialMs: 250,
  backoffMaximumMs: 8_000,
  stableAfterMs: 2_000,
};
