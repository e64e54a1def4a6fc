import type { Fields, Logger } from '../../common/log.js';

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Fields;
}

/** A logger that keeps what it is told. */
export function recordingLogger(lines: LogLine[]): Logger {
  const at =
    (level: string) =>
    (message: string, fields: Fields = {}): void => {
      lines.push({ level, message, fields });
    };
  const logger: Logger = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  return logger;
}

/** For each time contents were received: whether as a continuation, and how many rows changed. */
export function loads(lines: readonly LogLine[]): readonly Fields[] {
  return lines.filter(({ message }) => message === 'database contents received').map(({ fields }) => fields);
}
