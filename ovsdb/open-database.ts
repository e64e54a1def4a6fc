import { Client } from './client.js';
import type { TableSpec } from './columns.js';
import type { Database, DatabaseOptions } from './database.js';

/** Starts connecting at once; never throws for network trouble; throws ConfigError for a malformed remote. */
export function openDatabase<T extends Record<string, TableSpec>>(options: DatabaseOptions<T>): Database<T> {
  return new Client(options);
}
