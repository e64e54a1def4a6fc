import { pino } from 'pino';

import { IovnError } from './errors.js';
import { LineLimiter, type LineLimits } from './line-limiter.js';

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

/** What of a log can be changed and looked at while its daemon runs. */
export interface LogControl {
  /** Of its children, too. */
  level: LogLevel;
  /** The last lines that were written, the oldest first, without their line ends. */
  recent(): readonly string[];
}

export type AdjustableLogger = Logger & LogControl;

/** Sets the level where one is given, and says which it is. Throws IovnError 'unknown_level', which names those that there are. */
export function changeLevel(log: LogControl, wanted: string): LogLevel {
  if (wanted === '') return log.level;
  const level = logLevels.find((each) => each === wanted);
  if (level === undefined)
    throw new IovnError('unknown_level', `'${wanted}' is none of ${logLevels.join(', ')}`);
  log.level = level;
  return level;
}

export interface LoggerOptions {
  /** Takes a line with its line end; standard error by default. */
  readonly write?: (line: string) => void;
  readonly limits?: LineLimits;
  /** How often it is said what was left out. */
  readonly reportMs?: number;
}

const defaultReportMs = 10_000;
const recentLines = 500;
/** What others say may be of any length. */
const maximumFieldLength = 2000;

/** Shared by a logger and its children: pino's own children keep the level that they were made with. */
interface Gate {
  level: LogLevel;
  /** Whether a line with this message may be written. */
  admits(level: LogLevel, message: string): boolean;
}

function wrap(sink: pino.Logger, gate: Gate): Logger {
  const write =
    (level: LogLevel) =>
    (message: string, fields: Fields = {}): void => {
      if (logLevels.indexOf(level) < logLevels.indexOf(gate.level)) return;
      if (gate.admits(level, message)) sink[level](shortened(fields), message);
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => wrap(sink.child(fields), gate),
  };
}

function shortened(fields: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      const isLong = typeof value === 'string' && value.length > maximumFieldLength;
      return [name, isLong ? `${value.slice(0, maximumFieldLength)}…` : value];
    }),
  );
}

/**
 * Structured log, one JSON object a line, for the daemon `name`. Of one message only so many lines are written in a
 * short time (`LineLimits`); how many were left out is said afterwards. Level debug, which somebody asks for, is not limited.
 */
export function createLogger(name: string, level: LogLevel, options: LoggerOptions = {}): AdjustableLogger {
  const pinoOptions: pino.LoggerOptions = {
    name,
    level: logLevels[0],
    base: { name },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  const recent: string[] = [];
  const standardError = options.write === undefined ? pino.destination({ fd: 2, sync: true }) : undefined;
  const write = options.write ?? ((line: string): void => void standardError?.write(line));
  const sink = pino(pinoOptions, {
    write: (line) => {
      recent.push(line.trimEnd());
      if (recent.length > recentLines) recent.shift();
      write(line);
    },
  });
  const limited = ['info', 'warn', 'error'] as const;
  const limiters = new Map<LogLevel, LineLimiter>(
    limited.map((each) => [each, new LineLimiter(options.limits)]),
  );
  let reporting: NodeJS.Timeout | undefined;
  const report = (): void => {
    reporting = undefined;
    for (const [of, limiter] of limiters) {
      for (const [message, suppressed] of limiter.takeSuppressed())
        sink[of]({ suppressed }, `${message}: more suppressed`);
    }
  };
  const gate: Gate = {
    level,
    admits: (of, message) => {
      if (limiters.get(of)?.admit(message, performance.now()) ?? true) return true;
      reporting ??= setTimeout(report, options.reportMs ?? defaultReportMs).unref();
      return false;
    },
  };
  return {
    ...wrap(sink, gate),
    get level() {
      return gate.level;
    },
    set level(wanted) {
      gate.level = wanted;
    },
    recent: () => [...recent],
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
