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
