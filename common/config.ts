import { readFileSync } from 'node:fs';

import { Command, Option as CommanderOption } from 'commander';
import { parse as parseYaml } from 'yaml';

import { ConfigError, errorMessage } from './errors.js';
import { type LogLevel, logLevels } from './log.js';
import { packageVersion } from './package-root.js';

/** A setting that can come from a flag, the environment or the configuration file. */
export interface Option<T> {
  /** With its dashes, `--nb`. */
  readonly flag: `--${string}`;
  /** What the help calls the value; a flag without one is a boolean. */
  readonly argument?: string;
  readonly description: string;
  /** Throws any Error whose message says what would be right. */
  readonly parse: (text: string) => T;
  readonly default: T;
  /** What `--no-…` does, where the setting can be turned off; its value is `false` then. */
  readonly negation?: string;
  /** Another environment variable that is read when IOVN_… is not set, such as OVN_NB_DB. */
  readonly env?: string;
}

type OptionParts<T> = Omit<Option<T>, 'default' | 'negation'> & {
  readonly argument: string;
  readonly negation?: never;
};

/** An option with a default. */
export function option<T>(parts: OptionParts<T> & { readonly default: T }): Option<T>;
/** An option that may be absent. */
export function option<T>(parts: OptionParts<T>): Option<T | undefined>;
/** An option that may be absent or turned off: `--no-…`, or false instead of the value. */
export function option<T>(
  parts: Omit<OptionParts<T>, 'negation'> & { readonly negation: string },
): Option<T | false | undefined>;
/** A boolean flag, false by default. */
export function option(parts: Omit<Option<boolean>, 'default' | 'parse' | 'argument'>): Option<boolean>;
export function option(parts: Omit<Option<unknown>, 'default' | 'parse'>): Option<unknown> {
  const isBoolean = parts.argument === undefined;
  const fallback = isBoolean
    ? { parse: parseBoolean, default: false }
    : { parse: parseText, default: undefined };
  return { ...fallback, ...parts };
}

export type Options = Readonly<Record<string, Option<unknown>>>;
export type Settings<O extends Options> = {
  readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never;
};

export interface Program {
  /** The executable, `iovn-agent`. Its default configuration file is `/etc/iovn/agent.yaml`. */
  readonly name: string;
  readonly description: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** A value as text, and how to name the place that it came from. */
interface Source {
  readonly text: string;
  readonly origin: string;
}

/**
 * The settings of a daemon: flag over environment over configuration file over default. Prints and exits for
 * --help and --version. Throws ConfigError, its message one line that names the flag, variable or file.
 */
export function readSettings<O extends Options>(
  program: Program,
  options: O,
  argv: readonly string[] = process.argv,
  env: Environment = process.env,
): Settings<O> {
  const command = new Command(program.name).description(program.description).version(packageVersion);
  command.allowExcessArguments(true);
  addOptions(command, options);
  throwUsageErrors(command);
  command.parse(argv);
  const unexpected = command.args[0];
  if (unexpected !== undefined) throw new ConfigError(`unexpected argument '${unexpected}'`);
  return resolveSettings(program.name, options, command.opts(), env);
}

/** Puts `options` and --config on a command. Their values are read with `resolveSettings`. */
export function addOptions(command: Command, options: Options): void {
  for (const each of Object.values(options)) {
    command.addOption(new CommanderOption(flagText(each), helpText(each)));
    if (each.negation !== undefined)
      command.addOption(new CommanderOption(`--no-${keyOf(each)}`, each.negation));
  }
  command.option('--config <FILE>', 'YAML file with the same keys as the flags, without dashes in front');
}

/** Makes a command (before its subcommands are added) throw ConfigError where commander would print and exit. */
export function throwUsageErrors(command: Command): void {
  command.configureOutput({ outputError: () => undefined });
  command.exitOverride((error) => {
    if (error.exitCode === 0) process.exit(0);
    // Commander has printed the help, because a subcommand is missing.
    if (error.code === 'commander.help') process.exit(2);
    throw new ConfigError(error.message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' '));
  });
}

/** What `readSettings` does after the command line has been parsed into `flags` (commander's `opts()`). */
export function resolveSettings<O extends Options>(
  name: string,
  options: O,
  flags: Readonly<Record<string, unknown>>,
  env: Environment = process.env,
): Settings<O> {
  const file = readConfigFile(name, flags['config'], env);
  rejectUnknownKeys(file, options);
  const settings = Object.fromEntries(
    Object.entries(options).map(([key, each]) => {
      const source = fromFlags(each, flags) ?? fromEnvironment(each, env) ?? fromFile(each, file);
      return [key, source === undefined ? each.default : parseSource(each, source)];
    }),
  );
  return settings as Settings<O>;
}

function parseSource(each: Option<unknown>, { text, origin }: Source): unknown {
  if (each.negation !== undefined && falseWords.includes(text.toLowerCase())) return false;
  try {
    return each.parse(text);
  } catch (error) {
    throw new ConfigError(`${origin} '${text}': ${errorMessage(error)}`, { flag: each.flag, value: text });
  }
}

function fromFlags(each: Option<unknown>, flags: Readonly<Record<string, unknown>>): Source | undefined {
  const value = flags[new CommanderOption(flagText(each)).attributeName()];
  if (typeof value !== 'string' && typeof value !== 'boolean') return undefined;
  return { text: String(value), origin: each.flag };
}

function fromEnvironment(each: Option<unknown>, env: Environment): Source | undefined {
  for (const name of environmentNames(each)) {
    const text = env[name];
    if (text !== undefined && text !== '') return { text, origin: name };
  }
  return undefined;
}

interface ConfigFile {
  readonly path: string;
  readonly values: ReadonlyMap<string, unknown>;
}

function fromFile(each: Option<unknown>, file: ConfigFile | undefined): Source | undefined {
  const key = keyOf(each);
  const value = file?.values.get(key);
  if (file === undefined || value === undefined || value === null) return undefined;
  const origin = `${file.path}: ${key}`;
  const parts: unknown[] = Array.isArray(value) ? value : [value];
  const texts = parts.map((part) => {
    if (typeof part === 'string' || typeof part === 'number' || typeof part === 'boolean')
      return String(part);
    throw new ConfigError(`${origin}: expected a text or a list of texts`, { flag: each.flag });
  });
  return { text: texts.join(','), origin };
}

function rejectUnknownKeys(file: ConfigFile | undefined, options: Options): void {
  const known = new Set(Object.values(options).map(keyOf));
  for (const key of file?.values.keys() ?? []) {
    if (!known.has(key)) throw new ConfigError(`${file?.path ?? ''}: unknown key '${key}'`, { key });
  }
}

function readConfigFile(name: string, flag: unknown, env: Environment): ConfigFile | undefined {
  const fromEnv = env['IOVN_CONFIG'];
  const chosen = typeof flag === 'string' ? { file: flag, origin: '--config' } : undefined;
  const named =
    chosen ??
    (fromEnv === undefined || fromEnv === '' ? undefined : { file: fromEnv, origin: 'IOVN_CONFIG' });
  const file = named?.file ?? `/etc/iovn/${name.replace(/^iovn-/, '')}.yaml`;
  const text = readText(file, named?.origin);
  return text === undefined ? undefined : { path: file, values: parseConfig(file, text) };
}

/** The default file may be missing; one that was asked for may not. */
function readText(file: string, origin: string | undefined): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (origin === undefined && error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return undefined;
    throw new ConfigError(`${origin ?? 'configuration file'} '${file}': ${errorMessage(error)}`, { file });
  }
}

function parseConfig(file: string, text: string): ReadonlyMap<string, unknown> {
  let content: unknown;
  try {
    content = parseYaml(text);
  } catch (error) {
    const [firstLine = ''] = errorMessage(error).split('\n');
    throw new ConfigError(`${file}: not YAML: ${firstLine.replace(/:$/, '')}`, { file });
  }
  if (content === null) return new Map();
  if (typeof content !== 'object' || Array.isArray(content)) {
    throw new ConfigError(`${file}: expected one 'key: value' a line`, { file });
  }
  return new Map(Object.entries(content));
}

function keyOf(each: Option<unknown>): string {
  return each.flag.slice(2);
}

function environmentNames(each: Option<unknown>): readonly string[] {
  const own = `IOVN_${keyOf(each).replaceAll('-', '_').toUpperCase()}`;
  return each.env === undefined ? [own] : [own, each.env];
}

function flagText(each: Option<unknown>): string {
  return each.argument === undefined ? each.flag : `${each.flag} <${each.argument}>`;
}

function helpText(each: Option<unknown>): string {
  const shown = typeof each.default === 'string' || typeof each.default === 'number';
  const fallback = shown ? `; default: ${String(each.default)}` : '';
  return `${each.description} (env: ${environmentNames(each).join(', ')}${fallback})`;
}

function parseText(text: string): string {
  return text;
}

const falseWords: readonly string[] = ['false', 'no', 'off', '0'];

/** Reads true/false, yes/no, on/off, 1/0. Throws ConfigError. */
export function parseBoolean(text: string): boolean {
  const lower = text.toLowerCase();
  if (['true', 'yes', 'on', '1'].includes(lower)) return true;
  if (falseWords.includes(lower)) return false;
  throw new ConfigError('expected true or false');
}

/** Reads one of `logLevels`. Throws ConfigError. */
export function parseLogLevel(text: string): LogLevel {
  const level = logLevels.find((each) => each === text);
  if (level === undefined) throw new ConfigError(`expected one of ${logLevels.join(', ')}`);
  return level;
}

/** --log-level, the same for every daemon. */
export const logLevelOption = option<LogLevel>({
  flag: '--log-level',
  argument: 'LEVEL',
  description: `one of ${logLevels.join(', ')}`,
  parse: parseLogLevel,
  default: 'info',
});
