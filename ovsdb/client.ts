import { setMaxListeners } from 'node:events';

import { Backoff, sleep } from '../common/backoff.js';
import { ConfigError, errorMessage, IovnError } from '../common/errors.js';
import type { Row, TableSpec } from './columns.js';
import { Connection } from './connection.js';
import type {
  Database,
  DatabaseOptions,
  DatabaseStatus,
  DatabaseUpdate,
  Table,
  TransactOptions,
} from './database.js';
import { asError, NotConnectedError, RequestError, SessionError, TransactionError } from './errors.js';
import { Listeners } from './listeners.js';
import { type Lock, Locks } from './lock.js';
import type { Subscription } from './monitor.js';
import type { Operation, OperationResult } from './operations.js';
import { parseRemotes, type Remote } from './remotes.js';
import { Replica, type TableChanges } from './replica.js';
import { Rotation } from './rotation.js';
import type { Schema } from './schema.js';
import { type ResumePoint, Session, type SessionContext } from './session.js';
import { openSocket } from './socket.js';
import { changesByKey, tableViews } from './table-view.js';
import { defaultTiming, type Timing } from './timing.js';
import { fitOperation, readResults } from './transaction.js';

const defaultInactivityProbeMs = 5_000;
const defaultTransactTimeoutMs = 60_000;

/** The Database: connects, follows, and reconnects until its signal aborts. */
export class Client<T extends Record<string, TableSpec>> implements Database<T> {
  readonly name: string;
  readonly tables: { readonly [K in keyof T]: Table<Row<T[K]>> };
  readonly #options: DatabaseOptions<T>;
  readonly #timing: Timing;
  readonly #rotation: Rotation;
  readonly #replica: Replica;
  readonly #locks: Locks;
  readonly #updateListeners: Listeners<DatabaseUpdate<T>>;
  readonly #statusListeners: Listeners<DatabaseStatus>;
  #status: DatabaseStatus;
  /** Set while transactions are possible. */
  #connection: Connection | undefined;
  #schema: Schema | undefined;
  #resumePoint: ResumePoint | undefined;
  #establishedAtMs: number | undefined;

  constructor(options: DatabaseOptions<T>) {
    const remotes = parseRemotes(options.remote);
    requireUsable(options, remotes);
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.name = options.name;
    this.#rotation = new Rotation(remotes);
    this.#replica = new Replica(Object.values(options.tables).map(({ name }) => name));
    this.tables = tableViews(options.tables, this.#replica.tables);
    const report = (error: unknown): void =>
      options.log.error('a listener or request of the database failed', { error: errorMessage(error) });
    this.#updateListeners = new Listeners(report);
    this.#statusListeners = new Listeners(report);
    this.#locks = new Locks(this.#timing.requestTimeoutMs, report);
    this.#status = {
      state: 'connecting',
      remote: options.remote,
      sinceMs: Date.now(),
      populated: false,
      reconnects: 0,
    };
    setMaxListeners(0, options.signal);
    void this.#run();
  }

  get status(): DatabaseStatus {
    return this.#status;
  }

  hasColumn(table: string, column: string): boolean {
    return this.#schema?.tables.get(table)?.has(column) ?? false;
  }

  onUpdate(listener: (update: DatabaseUpdate<T>) => void): () => void {
    return this.#updateListeners.add(listener);
  }

  onStatus(listener: (status: DatabaseStatus) => void): () => void {
    return this.#statusListeners.add(listener);
  }

  populated(signal?: AbortSignal): Promise<void> {
    const signals = signal === undefined ? [this.#options.signal] : [this.#options.signal, signal];
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        const aborted = signals.find((candidate) => candidate.aborted);
        if (aborted === undefined && !this.#status.populated) return;
        stop();
        for (const candidate of signals) candidate.removeEventListener('abort', settle);
        if (aborted === undefined) resolve();
        else reject(asError(aborted.reason));
      };
      const stop = this.#statusListeners.add(settle);
      for (const candidate of signals) candidate.addEventListener('abort', settle);
      settle();
    });
  }

  async transact(
    operations: readonly Operation[],
    { signal, timeoutMs = defaultTransactTimeoutMs }: TransactOptions = {},
  ): Promise<readonly OperationResult[]> {
    const connection = this.#connection;
    const schema = this.#schema;
    if (connection === undefined || schema === undefined) {
      throw new NotConnectedError(`not connected to ${this.name}`, { sent: false });
    }
    const params = [this.name, ...operations.map((operation) => fitOperation(operation, schema))];
    try {
      const result = await connection.request('transact', params, { timeoutMs, signal }, (value) => value);
      return readResults(result, operations.length);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      const { error: name, details } = error.fields;
      throw new TransactionError(String(name), typeof details === 'string' ? details : undefined, undefined);
    }
  }

  lock(name: string): Lock {
    return this.#locks.claim(name);
  }

  async #run(): Promise<void> {
    const { signal, log } = this.#options;
    const backoff = new Backoff({
      initialMs: this.#timing.backoffInitialMs,
      maximumMs: this.#timing.backoffMaximumMs,
    });
    while (!signal.aborted) {
      const remote = this.#rotation.next();
      const error = await this.#runSession(remote);
      if (isAborted(signal)) return;
      const report = { database: this.name, remote: remote.text, error: error.message };
      if (error.message === this.#status.error) log.debug('still no session with the database', report);
      else log.warn('no session with the database', report);
      if (this.#wasStable()) {
        backoff.reset();
        this.#rotation.startRound(true);
      }
      if (this.#rotation.hasUntried) {
        this.#setStatus({ state: 'connecting', error: error.message });
        continue;
      }
      this.#setStatus({ state: 'backoff', error: error.message });
      await sleep(backoff.nextMs(), signal);
      this.#rotation.startRound();
      if (!isAborted(signal)) this.#setStatus({ state: 'connecting' });
    }
  }

  /** Returns why the session could not be made or ended. */
  async #runSession(remote: Remote): Promise<IovnError> {
    const { signal, tls, inactivityProbeMs = defaultInactivityProbeMs } = this.#options;
    this.#establishedAtMs = undefined;
    this.#setStatus({ remote: remote.text });
    try {
      const socket = await openSocket(remote, tls, this.#timing.connectTimeoutMs, signal);
      const connection = new Connection(socket, inactivityProbeMs);
      const onAbort = (): void => connection.close(new SessionError('connection_lost', 'closed by us'));
      signal.addEventListener('abort', onAbort);
      try {
        if (signal.aborted) onAbort();
        return await new Session(connection, this.#sessionContext(connection)).run();
      } finally {
        signal.removeEventListener('abort', onAbort);
        this.#connection = undefined;
        this.#locks.detach();
      }
    } catch (error) {
      return error instanceof IovnError
        ? error
        : new SessionError('connection_lost', errorMessage(error), error);
    }
  }

  #sessionContext(connection: Connection): SessionContext {
    const { name, tables, conditions, leaderOnly = true, log } = this.#options;
    const subscriptions: readonly Subscription[] = Object.entries(tables).map(([key, spec]) => ({
      spec,
      conditions: conditions?.[key] ?? [],
    }));
    const resumePoint = (): ResumePoint | undefined => this.#resumePoint;
    return {
      database: name,
      subscriptions,
      leaderOnly,
      requestTimeoutMs: this.#timing.requestTimeoutMs,
      replica: this.#replica,
      locks: this.#locks,
      log,
      get resumePoint() {
        return resumePoint();
      },
      setResumePoint: (point) => {
        this.#resumePoint = point;
      },
      schemaKnown: (schema) => {
        this.#schema = schema;
        this.#setStatus({ schemaVersion: schema.version });
      },
      contentsReceived: (changes) => this.#contentsReceived(connection, changes),
      replicaChanged: (changes) => this.#emitUpdate(changes),
    };
  }

  /** From here on transactions are possible, also for those who hear of the contents. */
  #contentsReceived(connection: Connection, changes: TableChanges): void {
    if (this.#options.signal.aborted) return;
    const isNewSession = this.#connection !== connection && connection.closedBy === undefined;
    if (isNewSession) this.#connection = connection;
    if (changes.size > 0 || !this.#status.populated) this.#emitUpdate(changes);
    if (isNewSession) this.#connected();
    else if (!this.#status.populated) this.#setStatus({ populated: true });
  }

  #emitUpdate(changes: TableChanges): void {
    if (this.#options.signal.aborted) return;
    const update = { changes: changesByKey(this.#options.tables, changes), initial: !this.#status.populated };
    this.#updateListeners.emit(update);
  }

  #connected(): void {
    const isFirst = !this.#status.populated;
    this.#establishedAtMs = performance.now();
    const { error: _resolved, ...status } = this.#status;
    this.#status = status;
    this.#setStatus({
      state: 'connected',
      populated: true,
      reconnects: isFirst ? 0 : status.reconnects + 1,
    });
    this.#options.log.info('connected to the database', { database: this.name, remote: status.remote });
  }

  #wasStable(): boolean {
    const sinceMs = this.#establishedAtMs;
    return sinceMs !== undefined && performance.now() - sinceMs >= this.#timing.stableAfterMs;
  }

  #setStatus(changes: Partial<DatabaseStatus>): void {
    const before = this.#status;
    const stateChanged = changes.state !== undefined && changes.state !== before.state;
    this.#status = { ...before, ...changes, sinceMs: stateChanged ? Date.now() : before.sinceMs };
    this.#statusListeners.emit(this.#status);
  }
}

/** Checked anew after each wait: the compiler takes a once-read `aborted` for settled. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

function requireUsable<T extends Record<string, TableSpec>>(
  { tables, tls }: DatabaseOptions<T>,
  remotes: readonly Remote[],
): void {
  const secure = remotes.find(({ kind }) => kind === 'ssl');
  if (secure !== undefined && tls === undefined) {
    throw new ConfigError(`OVSDB remote "${secure.text}" needs a certificate, a key and a CA certificate`, {
      part: secure.text,
    });
  }
  const names = Object.values(tables).map(({ name }) => name);
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) throw new RangeError(`table ${repeated} is specified twice`);
}
