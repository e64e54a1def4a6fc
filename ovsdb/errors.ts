import { errorMessage, IovnError } from '../common/errors.js';

/** Thrown when a server speaks something that is not RFC 7047 or not what its schema says. Ends the session. */
export class ProtocolError extends IovnError {
  constructor(message: string, fields: Record<string, unknown> = {}, cause?: unknown) {
    super('protocol', message, fields, cause);
  }
}

/** Thrown when a server answers a request with an error. `fields.error` is the server's short name for it. */
export class RequestError extends IovnError {
  constructor(method: string, error: string, details: string | undefined) {
    const message = details === undefined ? `${method}: ${error}` : `${method}: ${error}: ${details}`;
    super('request_failed', message, { method, error, details });
  }
}

/**
 * Thrown when the server refuses a transaction; nothing of it has been done. `fields.error` and `fields.details` are the
 * server's (RFC 7047 §4.1.3), `fields.operation` is the index of the operation (the number of operations when the
 * commit itself failed), undefined when the request as a whole was refused.
 */
export class TransactionError extends IovnError {
  constructor(error: string, details: string | undefined, operation: number | undefined) {
    const message = details === undefined ? error : `${error}: ${details}`;
    super('transaction_failed', message, { error, details, operation });
  }
}

/** Thrown when there is no session (`fields.sent` false: nothing happened) or it ended before the answer came (true: outcome unknown). */
export class NotConnectedError extends IovnError {
  constructor(message: string, fields: { readonly sent: boolean }) {
    super('not_connected', message, fields);
  }
}

/** Thrown when a server did not answer in time. The outcome of a transaction is unknown then. */
export class RequestTimeoutError extends IovnError {
  constructor(method: string, timeoutMs: number) {
    super('request_timeout', `${method}: no answer within ${timeoutMs} ms`, {
      method,
      timeoutMs,
      sent: true,
    });
  }
}

/** Why a connection attempt or a session ended, where the peer or the network is the reason. */
export class SessionError extends IovnError {
  constructor(code: 'connect_failed' | 'connection_lost' | 'not_usable', message: string, cause?: unknown) {
    super(code, message, {}, cause);
  }
}

/** What was thrown or given as an abort's reason, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(errorMessage(thrown), { cause: thrown });
}
