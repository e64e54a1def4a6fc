/**
 * A client of OVSDB servers (RFC 7047 and ovsdb-server(7)'s extensions) that keeps a live copy of the tables it is asked
 * for. Say what to replicate with `table` and `scalar`/`optional`/`set`/`map`; `openDatabase` then connects and stays
 * connected, through server restarts and changes of a cluster's leader, until its signal aborts:
 *
 *     const ports = table('Port_Binding', { logical_port: scalar('string'), chassis: optional('uuid') });
 *     const sb = openDatabase({ name: 'OVN_Southbound', remote, tables: { ports }, signal, log });
 *     await sb.populated();
 *     sb.onUpdate(({ changes }) => changes.ports?.forEach(({ before, after }) => …));
 *     for (const port of sb.tables.ports) await sb.transact([update(ports, byUuid(port._uuid), { chassis })]);
 *
 * Contents outlive a lost connection; after it `onUpdate` reports the difference. `lock` claims a server's lock.
 */
export type { Uuid } from '../common/addresses.js';
export * from './columns.js';
export * from './database.js';
export {
  NotConnectedError,
  ProtocolError,
  RequestError,
  RequestTimeoutError,
  SessionError,
  TransactionError,
} from './errors.js';
export type { Json, JsonObject } from './json.js';
export type { Lock } from './lock.js';
export { openDatabase } from './open-database.js';
export * from './operations.js';
export { parseRemotes, type Remote } from './remotes.js';
export { defaultTiming, type Timing } from './timing.js';
export { selectedRows } from './transaction.js';
export { parseUuid, type Writable } from './values.js';
