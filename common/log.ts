import { pino } from 'pino';

/** A fixed message with its data in fields; the level says who must act. */
export type Fields = Record<string, unknown>;

export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  child(fields: Fields): Logger;
}

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** A daemon's log, whose level (that of its children, too) can be changed while it runs. */
export interface AdjustableLogger extends Logger {
  level: LogLevel;
}

/** Shared by a logger and its children: pino's own children keep the level that they were made with. */
interface Threshold {
  level: LogLevel;
}

function wrap(sink: pino.Logger, threshold: Threshold): Logger {
  const write =
    (level: LogLevel) =>
    (message: string, fields?: Fields): void => {
      if (logLevels.indexOf(level) >= logLevels.indexOf(threshold.level)) sink[level](fields ?? {}, message);
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => wrap(sink.child(fields), threshold),
  };
}

/** Structured log on standard error, one JSON object a line, for the daemon `name`. */
export function createLogger(name: string, level: LogLevel): AdjustableLogger {
  const options: pino.LoggerOptions = {
    name,
    level: logLevels[0],
    base: { name },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  const threshold: Threshold = { level };
  const logger = wrap(pino(options, pino.destination({ fd: 2, sync: true })), threshold);
  return {
    ...logger,
    get level() {
      return threshold.level;
    },
    set level(wanted) {
      threshold.level = wanted;
    },
  };
}

/** Discards everything; for tests and for library use. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
