import { errorMessage, IovnError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { Connection, ConnectionHandlers } from './connection.js';
import { RequestError, SessionError } from './errors.js';
import { createIntern } from './intern.js';
import type { Json } from './json.js';
import type { Locks } from './lock.js';
import {
  type MonitorData,
  monitorRequests,
  readNotification,
  type Subscription,
  subscribe,
} from './monitor.js';
import type { PiecePath, PieceSink } from './piece-cutter.js';
import type { Replica, TableChanges } from './replica.js';
import { RowBatch } from './row-batch.js';
import { RowReader } from './row-reader.js';
import { parseSchema, type Schema } from './schema.js';
import { ServerDatabases, serverMonitorRequest } from './server-database.js';
import { TimeSlice } from './time-slice.js';

/** What outlives a session: where the next one can resume. */
export interface ResumePoint {
  /** The transaction up to which the replica is complete, and the monitor request it was got by. */
  readonly transactionId: string;
  readonly requests: string;
}

/** What a session works on and whom it tells. */
export interface SessionContext {
  readonly database: string;
  readonly subscriptions: readonly Subscription[];
  readonly leaderOnly: boolean;
  readonly requestTimeoutMs: number;
  readonly replica: Replica;
  readonly locks: Locks;
  readonly log: Logger;
  readonly resumePoint: ResumePoint | undefined;
  setResumePoint(point: ResumePoint | undefined): void;
  schemaKnown(schema: Schema): void;
  /** The replica is complete as of now, transactions are possible; `changes` is what (re)loading it changed. */
  contentsReceived(changes: TableChanges): void;
  replicaChanged(changes: TableChanges): void;
}

const serverMonitorId = 'server';

/** The first contents may take a busy server minutes; whether it is alive at all, the probe finds out. */
const monitorTimeoutMs = 600_000;

/** One connection's life: check the server, learn the schema, subscribe, follow. */
export class Session implements ConnectionHandlers {
  readonly #connection: Connection;
  readonly #context: SessionContext;
  readonly #servers = new ServerDatabases();
  readonly #slice = new TimeSlice();
  #followsServer = false;
  #readers: ReadonlyMap<string, RowReader> = new Map();
  #subscribing = false;
  #monitorCount = 0;
  #monitorId = '';
  #requests = '';

  constructor(connection: Connection, context: SessionContext) {
    this.#connection = connection;
    this.#context = context;
  }

  /** Lasts as long as the connection; throws why it ended. */
  async run(): Promise<never> {
    const reading = this.#connection.read(this);
    this.#establish().catch((error: unknown) => this.#end(error));
    return reading;
  }

  notification(
    method: string,
    params: readonly Json[],
    sink: PieceSink | undefined,
  ): Promise<void> | undefined {
    switch (method) {
      case 'update':
        if (params[0] === serverMonitorId) {
          this.#servers.apply(params[1]);
          this.#requireUsable();
          return undefined;
        }
        return this.#update(method, params, sink);
      case 'update2':
      case 'update3':
        return this.#update(method, params, sink);
      case 'locked':
      case 'stolen':
        this.#context.locks.notify(params[0], method === 'locked');
        return undefined;
      case 'monitor_canceled':
        if (params[0] === this.#monitorId) this.#resubscribe();
        return undefined;
      default:
        return undefined;
    }
  }

  createSink(): PieceSink {
    return new BatchSink(this.#newBatch(), this.#subscribing);
  }

  async #establish(): Promise<void> {
    await this.#followServer();
    await this.#subscribe();
    this.#context.locks.attach(this.#connection);
  }

  /** Servers before OVS 2.9 have no `_Server` database and no clusters: they are taken as they are. */
  async #followServer(): Promise<void> {
    await this.#optionalRequest('set_db_change_aware', [true], () => undefined);
    const params = ['_Server', serverMonitorId, serverMonitorRequest];
    await this.#optionalRequest('monitor', params, (result) => {
      this.#followsServer = true;
      this.#servers.apply(result);
      this.#requireUsable();
    });
  }

  async #optionalRequest(
    method: string,
    params: readonly Json[],
    handle: (result: Json) => void,
  ): Promise<void> {
    try {
      await this.#connection.request(method, params, this.#requestOptions(), handle);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.#context.log.debug('the server does without a request', { method, reason: error.message });
    }
  }

  #requireUsable(): void {
    const { database, leaderOnly } = this.#context;
    const obstacle = this.#followsServer ? this.#servers.obstacle(database, leaderOnly) : undefined;
    if (obstacle !== undefined) throw new SessionError('not_usable', obstacle);
  }

  async #subscribe(): Promise<void> {
    const { database, subscriptions, resumePoint } = this.#context;
    const schema = await this.#connection.request(
      'get_schema',
      [database],
      this.#requestOptions(),
      parseSchema,
    );
    this.#context.schemaKnown(schema);
    const intern = createIntern();
    this.#readers = new Map(
      subscriptions.flatMap(({ spec }) => {
        const columns = schema.tables.get(spec.name);
        return columns === undefined ? [] : [[spec.name, new RowReader(spec, columns, intern)]];
      }),
    );
    const requests = monitorRequests(subscriptions, schema);
    this.#requests = JSON.stringify(requests);
    this.#monitorId = `${database} ${++this.#monitorCount}`;
    const transactionId = resumePoint?.requests === this.#requests ? resumePoint.transactionId : undefined;
    this.#subscribing = true;
    const method = await subscribe(
      this.#connection,
      { database, monitorId: this.#monitorId, requests, transactionId },
      { timeoutMs: monitorTimeoutMs },
      (data, sink) => this.#takeAnswer(data, sink),
    );
    this.#context.log.debug('subscribed', { method, asked: transactionId });
  }

  async #takeAnswer(data: MonitorData, sink: PieceSink | undefined): Promise<void> {
    this.#subscribing = false;
    const { replica } = this.#context;
    const batch = this.#fill(data, sink);
    const steps = data.found ? replica.apply(batch) : replica.load(batch);
    const changes = await this.#slice.run(steps);
    this.#reached(data.transactionId);
    this.#context.log.info('database contents received', {
      resumed: data.found,
      changedRows: [...changes.values()].reduce((sum, rows) => sum + rows.length, 0),
    });
    this.#context.contentsReceived(changes);
  }

  #update(method: string, params: readonly Json[], sink: PieceSink | undefined): Promise<void> | undefined {
    const data = readNotification(method, params, this.#monitorId);
    if (data === undefined) return undefined;
    const steps = this.#context.replica.apply(this.#fill(data, sink));
    const first = steps.next();
    if (first.done === true) {
      this.#updated(data, first.value);
      return undefined;
    }
    return this.#slice.run(steps).then((changes) => this.#updated(data, changes));
  }

  #updated(data: MonitorData, changes: TableChanges): void {
    this.#reached(data.transactionId);
    if (changes.size > 0) this.#context.replicaChanged(changes);
  }

  #fill(data: MonitorData, sink: PieceSink | undefined): RowBatch {
    const batch = sink instanceof BatchSink ? sink.batch : this.#newBatch();
    batch.addAll(data.updates);
    return batch;
  }

  #newBatch(): RowBatch {
    return new RowBatch(this.#readers, this.#context.replica.tables);
  }

  #reached(transactionId: string | undefined): void {
    this.#context.setResumePoint(
      transactionId === undefined ? undefined : { transactionId, requests: this.#requests },
    );
  }

  /** The server has converted the database to another schema: what we know of it is void. */
  #resubscribe(): void {
    this.#context.log.info('the server cancelled the monitor: subscribing again');
    this.#subscribe().catch((error: unknown) => this.#end(error));
  }

  #end(error: unknown): void {
    this.#connection.close(
      error instanceof IovnError ? error : new SessionError('connection_lost', errorMessage(error), error),
    );
  }

  #requestOptions(): { readonly timeoutMs: number } {
    return { timeoutMs: this.#context.requestTimeoutMs };
  }
}

/** Turns the rows of a big message into typed rows while it is being read. */
class BatchSink implements PieceSink {
  readonly batch: RowBatch;
  readonly #takesResult: boolean;

  constructor(batch: RowBatch, takesResult: boolean) {
    this.batch = batch;
    this.#takesResult = takesResult;
  }

  accept(path: PiecePath, piece: Json): boolean {
    const [root] = path;
    if (root !== 'params' && !(root === 'result' && this.#takesResult)) return false;
    const tableName = path.at(-2);
    const uuid = path.at(-1);
    if (typeof tableName !== 'string' || typeof uuid !== 'string') return false;
    if (!this.batch.monitors(tableName)) return false;
    this.batch.add(tableName, uuid, piece);
    return true;
  }
}
