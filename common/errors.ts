/**
 * The base of every error this project throws. `code` is stable and is what callers compare; the message
 * is for people and may change. `fields` hold the ids a log line or a table needs.
 */
export class IovnError extends Error {
  readonly code: string;
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, fields: Record<string, unknown> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.fields = fields;
  }
}

/** Thrown when a flag, environment variable or configuration file holds a value that can't be used. Exit status 2. */
export class ConfigError extends IovnError {
  constructor(message: string, fields: Record<string, unknown> = {}) {
    super('config', message, fields);
  }
}

/** The one-line text of anything thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
