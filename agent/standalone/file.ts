import { readFileSync } from 'node:fs';
import path from 'node:path';

import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import { type Document, isNode, LineCounter, parseDocument } from 'yaml';

import { ConfigError, errorMessage } from '../../common/errors.js';
import { packageRoot } from '../../common/package-root.js';
import { parseMacAndAddresses } from '../../common/lsp-addresses.js';

export interface LocalnetSpec {
  readonly interface: string;
  readonly tag?: number;
  readonly ethtype?: '802.1q' | '802.1ad';
  readonly learn_fdb?: boolean;
}

export interface PortSpec {
  readonly name: string;
  readonly interface?: string;
  readonly parent?: string;
  readonly tag?: number;
  readonly localnet?: LocalnetSpec;
  readonly enabled?: boolean;
  readonly addresses?: readonly string[];
  readonly port_security?: readonly string[];
}

export interface SwitchSpec {
  readonly name: string;
  readonly vlan_passthru?: boolean;
  readonly fdb_age_threshold?: number;
  readonly ports?: readonly PortSpec[];
}

/** The network of a standalone agent, as docs/standalone.schema.json describes it. */
export interface StandaloneFile {
  readonly switches: readonly SwitchSpec[];
}

type Path = readonly (string | number)[];

interface Fault {
  readonly at: Path;
  readonly message: string;
}

const schemaFile = path.join(packageRoot, 'docs', 'standalone.schema.json');

function compileSchema() {
  const schema = JSON.parse(readFileSync(schemaFile, 'utf8')) as object;
  return new Ajv2020({ allErrors: true }).compile<StandaloneFile>(schema);
}

let compiled: ReturnType<typeof compileSchema> | undefined;

/** `/switches/0/ports/1` as a path; numbers are positions. */
function pathOf({ instancePath }: ErrorObject): Path {
  const parts = instancePath.split('/').slice(1);
  return parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

function wordingOf(error: ErrorObject): string {
  const { keyword, params, message = 'is not valid' } = error;
  if (keyword === 'additionalProperties') return `unknown key '${String(params['additionalProperty'])}'`;
  if (keyword === 'enum')
    return `must be one of ${(params['allowedValues'] as readonly string[]).join(', ')}`;
  if (keyword === 'oneOf') return "must have one of 'interface', 'parent' with 'tag', and 'localnet'";
  return message;
}

/** What `oneOf` is made of fails, too: the whole is what people can read, and comes last, as it may fail for what else is wrong. */
function schemaFaults(errors: readonly ErrorObject[]): readonly Fault[] {
  const isWhole = ({ keyword }: ErrorObject): number => Number(keyword === 'oneOf');
  const readable = errors
    .filter(({ schemaPath }) => !schemaPath.includes('/oneOf/'))
    .sort((a, b) => isWhole(a) - isWhole(b));
  return readable.map((error) => ({ at: pathOf(error), message: wordingOf(error) }));
}

function addressFault(text: string): string | undefined {
  const parsed = parseMacAndAddresses(text);
  if (parsed === undefined) return `'${text}' does not start with a MAC address`;
  return parsed.rest === '' ? undefined : `'${parsed.rest}' is not an IP address`;
}

function addressFaults({ addresses = [], port_security: security = [] }: PortSpec, at: Path): Fault[] {
  const inColumn = (column: string, texts: readonly string[], fine: string | undefined): Fault[] =>
    texts.flatMap((text, index) => {
      const message = text === fine ? undefined : addressFault(text);
      return message === undefined ? [] : [{ at: [...at, column, index], message }];
    });
  return [...inColumn('addresses', addresses, 'unknown'), ...inColumn('port_security', security, undefined)];
}

/** Names that must be there once, or must be there. */
class Names {
  readonly #taken = new Set<string>();

  /** Takes a name; the fault when it is taken already. */
  take(what: string, name: string | undefined, at: Path): readonly Fault[] {
    if (name === undefined) return [];
    const id = `${what} ${name}`;
    if (this.#taken.has(id)) return [{ at, message: `the ${what} ${name} is there already` }];
    this.#taken.add(id);
    return [];
  }
}

function contentFaults({ switches }: StandaloneFile): readonly Fault[] {
  const names = new Names();
  const parents = new Map(
    switches.flatMap(({ ports = [] }) => ports.map((port) => [port.name, port] as const)),
  );
  return switches.flatMap((each, index) => [
    ...names.take('switch', each.name, ['switches', index, 'name']),
    ...(each.ports ?? []).flatMap((port, position) => {
      const at = ['switches', index, 'ports', position];
      const parent = port.parent === undefined ? undefined : parents.get(port.parent);
      const orphan = port.parent !== undefined && parent?.interface === undefined;
      const message = `no port with an interface is named ${port.parent ?? ''}`;
      return [
        ...names.take('port', port.name, [...at, 'name']),
        ...names.take('interface', port.interface, [...at, 'interface']),
        ...(orphan ? [{ at: [...at, 'parent'], message }] : []),
        ...addressFaults(port, at),
      ];
    }),
  ]);
}

/** Where in the text a path leads, or the nearest part of it that is there. */
function lineOf(document: Document, lines: LineCounter, at: Path): number {
  for (let length = at.length; length >= 0; length -= 1) {
    const node = document.getIn(at.slice(0, length), true);
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}

function describePath(at: Path): string {
  return at
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
    .join('')
    .slice(1);
}

/** Throws ConfigError that names the first fault by `file`, line and path. */
export function parseStandaloneFile(file: string, text: string): StandaloneFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [broken] = document.errors;
  if (broken !== undefined) {
    const [firstLine = ''] = broken.message.split('\n');
    throw new ConfigError(`${file}: not YAML: ${firstLine.replace(/:$/, '')}`, { file });
  }
  const content: unknown = document.toJS();
  compiled ??= compileSchema();
  const faults = compiled(content) ? contentFaults(content) : schemaFaults(compiled.errors ?? []);
  const [first] = faults;
  if (first !== undefined) {
    const where = describePath(first.at);
    const subject = where === '' ? '' : ` ${where}:`;
    throw new ConfigError(`${file}:${lineOf(document, lines, first.at)}:${subject} ${first.message}`, {
      file,
    });
  }
  return content as StandaloneFile;
}

/** Throws ConfigError. */
export function readStandaloneFile(file: string): StandaloneFile {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`${file}: ${errorMessage(error)}`, { file });
  }
  return parseStandaloneFile(file, text);
}
