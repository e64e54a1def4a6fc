import type { Uuid } from '../common/addresses.js';
import type { Logger } from '../common/log.js';
import type { TlsFiles } from '../common/tls.js';
import type { Row, TableSpec } from './columns.js';
import type { Lock } from './lock.js';
import type { Condition, Operation, OperationResult } from './operations.js';
import type { Timing } from './timing.js';

export interface DatabaseOptions<T extends Record<string, TableSpec>> {
  /** 'OVN_Southbound', 'OVN_Northbound', 'Open_vSwitch' */
  readonly name: string;
  /** 'unix:/p', 'tcp:1.2.3.4:6642', 'tcp:[::1]:6642', 'ssl:…', comma separated */
  readonly remote: string;
  /** What to replicate, under the caller's own names: `{ portBinding: table('Port_Binding', {…}) }` */
  readonly tables: T;
  /** Only rows for which any of the conditions holds (monitor_cond); default all rows. */
  readonly conditions?: Partial<Record<keyof T, readonly Condition[]>>;
  /** Needed for ssl: remotes. */
  readonly tls?: TlsFiles;
  /** Default true; only matters for clustered databases. */
  readonly leaderOnly?: boolean;
  /** Silence after which the server is probed, and then again until it is given up. Default 5000; 0 = off. */
  readonly inactivityProbeMs?: number;
  /** Abort closes the database for good. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Replaces some of `defaultTiming`. */
  readonly timing?: Partial<Timing>;
}

export interface DatabaseStatus {
  readonly state: 'connecting' | 'connected' | 'backoff';
  readonly remote: string;
  /** Epoch ms of the last change of `state`. */
  readonly sinceMs: number;
  /** Why the last attempt or session ended; absent while connected. */
  readonly error?: string;
  readonly schemaVersion?: string;
  readonly populated: boolean;
  readonly reconnects: number;
}

export interface Table<R> extends Iterable<R> {
  readonly size: number;
  get(uuid: Uuid): R | undefined;
  has(uuid: Uuid): boolean;
}

export interface RowChange<R> {
  readonly uuid: Uuid;
  readonly before?: R;
  readonly after?: R;
}

/** For each table that changed, row by row. In a reload, rows that did not change do not appear. */
export interface DatabaseUpdate<T extends Record<string, TableSpec>> {
  readonly changes: { readonly [K in keyof T]?: readonly RowChange<Row<T[K]>>[] };
  /** True for the first full contents. */
  readonly initial: boolean;
}

export interface TransactOptions {
  readonly signal?: AbortSignal;
  /** Default 60,000. */
  readonly timeoutMs?: number;
}

export interface Database<T extends Record<string, TableSpec>> {
  readonly name: string;
  /** Live, read-only contents: the last consistent state received. Kept (not cleared) while disconnected. */
  readonly tables: { readonly [K in keyof T]: Table<Row<T[K]>> };
  readonly status: DatabaseStatus;
  /** Whether the connected server's schema has the column; false until a schema is known. */
  hasColumn(table: string, column: string): boolean;
  /** Called synchronously after each consistent batch has been applied to `tables`. Returns an unsubscribe function. */
  onUpdate(listener: (update: DatabaseUpdate<T>) => void): () => void;
  onStatus(listener: (status: DatabaseStatus) => void): () => void;
  /** Resolves when the first full contents are in; rejects (AbortError) when a signal aborts. */
  populated(signal?: AbortSignal): Promise<void>;
  /** One transaction; one result per operation. Rejects TransactionError, NotConnectedError, RequestTimeoutError or AbortError. */
  transact(operations: readonly Operation[], options?: TransactOptions): Promise<readonly OperationResult[]>;
  /** RFC 7047 §4.1.8; re-requested after a reconnect. */
  lock(name: string): Lock;
}
