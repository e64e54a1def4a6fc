import { isJsonArray, isJsonObject, type Json, type JsonObject } from './json.js';

/** The monitor request for the `_Server` database (ovsdb-server(5), Database table), in RFC 7047's plain form. */
export const serverMonitorRequest: JsonObject = {
  Database: [{ columns: ['name', 'model', 'connected', 'leader'] }],
};

/** One row of `_Server.Database`: how a server stands to a database. */
export interface ServerDatabase {
  readonly name: string;
  readonly model: string;
  readonly connected: boolean;
  readonly leader: boolean;
}

/** Follows `_Server.Database` through the formats of `monitor` and `update`. */
export class ServerDatabases {
  readonly #rows = new Map<string, ServerDatabase>();

  /** Takes <table-updates>. What is malformed is skipped: then the database counts as not served. */
  apply(updates: Json | undefined): void {
    const rows = isJsonObject(updates) ? updates['Database'] : undefined;
    if (!isJsonObject(rows)) return;
    for (const [uuid, rowUpdate] of Object.entries(rows)) {
      const row = isJsonObject(rowUpdate) ? rowUpdate['new'] : undefined;
      if (isJsonObject(row)) this.#rows.set(uuid, readRow(row));
      else this.#rows.delete(uuid);
    }
  }

  /** Why a client of `name` can't use this server now; undefined when it can. */
  obstacle(name: string, leaderOnly: boolean): string | undefined {
    const row = [...this.#rows.values()].find((candidate) => candidate.name === name);
    if (row === undefined) return `the server has no database ${name}`;
    if (row.model === 'standalone') return undefined;
    if (!row.connected) return `the server is cut off from the cluster of ${name}`;
    if (row.model === 'clustered' && leaderOnly && !row.leader) return `the server does not lead ${name}`;
    return undefined;
  }
}

function readRow({ name, model, connected, leader }: JsonObject): ServerDatabase {
  return {
    name: typeof name === 'string' ? name : '',
    model: typeof model === 'string' ? model : isJsonArray(model) ? 'unknown' : 'standalone',
    connected: connected === true,
    leader: leader === true,
  };
}
