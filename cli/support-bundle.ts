import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { errorMessage, IovnError } from '../common/errors.js';
import { packageVersion } from '../common/package-root.js';
import type { Drops } from '../generated/proto/iovn/v1/Drops.js';
import type { NodeQueryInput } from '../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReply } from '../generated/proto/iovn/v1/NodeReply.js';
import type { SupportPart } from '../generated/proto/iovn/v1/SupportPart.js';
import { type CommandOutput, exitCodes } from './commands.js';
import type { InspectClient } from './inspect-client.js';
import { formatJson, toJson, toPlain } from './json.js';
import { collect } from '../inspect/node-answers.js';
import type { NodeClient } from './node-client.js';
import { askNodes } from './node-commands.js';
import { redact } from './redact.js';

/** Of one map of one node; more would say nothing new. */
const entriesPerTable = 10_000;
/** Of what one daemon gives, in characters. */
const maximumLength = 64 * 1024 * 1024;

export interface BundleOptions {
  /** Undefined = a name with the time, in the current folder. */
  readonly file: string | undefined;
  readonly force: boolean;
  /** Who is asked, for people. */
  readonly target: string;
}

/**
 * `iovn support-bundle`: asks for everything and writes it to one file, with what could not be had in its manifest. Throws
 * IovnError `exists`, or what keeps the file from being written.
 */
export async function supportBundle(
  controller: InspectClient | undefined,
  nodes: NodeClient,
  { file, force, target }: BundleOptions,
): Promise<CommandOutput> {
  const now = new Date();
  const name = `iovn-support-${now.toISOString().replaceAll(/[-:]|\.\d+/g, '')}`;
  const destination = path.resolve(file ?? `${name}.tar.gz`);
  /* Where nobody answers there is nothing to be written. */
  if (controller !== undefined) await controller.getStatus();
  else await collect(nodes.ask({ modules: {} }), ({ modules }) => modules);
  const fd = create(destination, force);
  const temporary = mkdtempSync(path.join(tmpdir(), 'iovn-support-'));
  const removeTemporary = (): void => rmSync(temporary, { recursive: true, force: true });
  const interrupted = (): never => {
    removeTemporary();
    rmSync(destination, { force: true });
    process.exit(exitCodes.failure);
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    const bundle = new Bundle(path.join(temporary, name));
    if (controller !== undefined) await gatherController(bundle, controller);
    await gatherNodes(bundle, nodes);
    const { parts, missing } = bundle;
    const made = { iovn: packageVersion, made: now.toISOString(), asked: target };
    bundle.write('manifest.json', `${formatJson({ ...made, entries_per_table: entriesPerTable, parts })}\n`);
    await pack(temporary, name, fd);
    return {
      json: formatJson({ file: destination, parts }),
      lines: [destination],
      warnings: missing.map(({ file: part, error }) => `${part} could not be had: ${error}`),
      status: missing.length === 0 ? 0 : exitCodes.incomplete,
    };
  } catch (error) {
    rmSync(destination, { force: true });
    throw error;
  } finally {
    closeSync(fd);
    removeTemporary();
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
  }
}

/** Makes the file, which only its owner can read. Throws IovnError 'exists' or 'file'. */
function create(destination: string, force: boolean): number {
  try {
    if (force) rmSync(destination, { force: true });
    return openSync(destination, 'wx', 0o600);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST')
      throw new IovnError('exists', `${destination} is there already: give another name, or --force`);
    throw new IovnError('file', `${destination} can not be written: ${errorMessage(error)}`, {}, error);
  }
}

type Part = { readonly file: string } | { readonly file: string; readonly error: string };

/** A folder that becomes the bundle: what is written there is free of secrets. */
class Bundle {
  readonly #folder: string;
  readonly #parts = new Map<string, Part>();

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder);
  }

  get parts(): readonly Part[] {
    return [...this.#parts.values()].sort((a, b) => (a.file < b.file ? -1 : 1));
  }

  get missing(): readonly { readonly file: string; readonly error: string }[] {
    return this.parts.flatMap((part) => ('error' in part ? [part] : []));
  }

  write(file: string, text: string): void {
    writeFileSync(this.#path(file), redact(text));
    this.#parts.set(file, { file });
  }

  append(file: string, text: string): void {
    appendFileSync(this.#path(file), redact(text));
    this.#parts.set(file, { file });
  }

  fail(file: string, error: string): void {
    this.#parts.set(file, { file, error });
  }

  /** Writes what is asked for, or notes why it can't be had. */
  async add(file: string, ask: () => Promise<string>): Promise<void> {
    try {
      this.write(file, `${await ask()}\n`);
    } catch (error) {
      this.fail(file, errorMessage(error));
    }
  }

  #path(file: string): string {
    const full = path.join(this.#folder, file);
    mkdirSync(path.dirname(full), { recursive: true });
    return full;
  }
}

async function gatherController(bundle: Bundle, controller: InspectClient): Promise<void> {
  await bundle.add('controller/status.json', async () => toJson('Status', await controller.getStatus()));
  await bundle.add('controller/nodes.json', async () => toJson('Nodes', await controller.listNodes()));
  await bundle.add('controller/switches.json', async () =>
    toJson('Switches', await controller.listSwitches()),
  );
  await bundle.add('controller/ports.json', async () => toJson('Ports', await controller.listPorts()));
  await bundle.add('controller/fdb.json', async () => toJson('Fdb', await controller.listFdb()));
  const files = new PartialFiles(bundle, 'controller');
  try {
    for await (const part of controller.support()) files.take(part);
  } catch (error) {
    bundle.fail('controller/about.json', errorMessage(error));
  }
  files.write();
}

async function gatherNodes(bundle: Bundle, nodes: NodeClient): Promise<void> {
  const answers = new Answers(bundle, nodes);
  await answers.add('ports.json', { ports: { port: '' } }, 'NodePorts', ({ ports }) => ports);
  await answers.add(
    'drops.json',
    { drops: { port: '' } },
    'Drops',
    ({ drops }) => drops && withoutPackets(drops),
  );
  await answers.add('verify.json', { verify: {} }, 'Verification', ({ verification }) => verification);
  const modules = await answers.add('modules.json', { modules: {} }, 'Modules', (reply) => reply.modules);
  await addSupportFiles(bundle, nodes);
  const asked = new Set(modules.map(([node]) => node));
  const maps = new Set(modules.flatMap(([, message]) => message.maps.map((map) => map.name)));
  for (const map of [...maps].sort()) await addTable(bundle, nodes, asked, map);
}

/** What tenants send is nobody else's business; of a dropped packet the description in words stays. */
function withoutPackets({ drops }: Drops): Drops {
  return { drops: drops.map((drop) => ({ ...drop, head: Buffer.alloc(0) })) };
}

/** Answers of the nodes, a file for each. */
class Answers {
  readonly #bundle: Bundle;
  readonly #nodes: NodeClient;

  constructor(bundle: Bundle, nodes: NodeClient) {
    this.#bundle = bundle;
    this.#nodes = nodes;
  }

  /** Returns those that came, by node. */
  async add<T extends object>(
    file: string,
    query: NodeQueryInput,
    messageType: string,
    pick: (reply: NodeReply) => T | null | undefined,
  ): Promise<readonly (readonly [node: string, message: T])[]> {
    const bundle = this.#bundle;
    try {
      const { nodes, errors } = await askNodes(this.#nodes, undefined, query, messageType, pick);
      for (const [node, message] of nodes)
        bundle.write(`${folderOf(node)}/${file}`, `${formatJson(toPlain(messageType, message))}\n`);
      for (const [node, error] of errors) bundle.fail(`${folderOf(node)}/${file}`, error);
      return nodes;
    } catch (error) {
      bundle.fail(`nodes/${file}`, errorMessage(error));
      return [];
    }
  }
}

async function addSupportFiles(bundle: Bundle, nodes: NodeClient): Promise<void> {
  const found = new Map<string, PartialFiles>();
  try {
    for await (const { node, outcome } of nodes.ask({ support: {} })) {
      const folder = folderOf(node);
      const files = found.get(folder) ?? new PartialFiles(bundle, folder);
      found.set(folder, files);
      if ('error' in outcome) bundle.fail(`${folder}/about.json`, outcome.error);
      else if (outcome.reply.support) files.take(outcome.reply.support);
    }
  } catch (error) {
    bundle.fail('nodes/about.json', errorMessage(error));
  }
  for (const files of found.values()) files.write();
}

/** The files of one daemon, which come piece by piece. */
class PartialFiles {
  readonly #bundle: Bundle;
  readonly #folder: string;
  readonly #texts = new Map<string, string[]>();
  #length = 0;

  constructor(bundle: Bundle, folder: string) {
    this.#bundle = bundle;
    this.#folder = folder;
  }

  /** A daemon chooses the names, and must not choose places. */
  take({ file, text, error }: SupportPart): void {
    const name = /^[a-z][a-z0-9-]{0,40}\.(json|jsonl|txt)$/.test(file) ? file : 'unnamed';
    this.#length += text.length;
    if (name !== file) this.#bundle.fail(`${this.#folder}/${name}`, 'the name of the file can not be used');
    else if (error !== '') this.#bundle.fail(`${this.#folder}/${file}`, error);
    else if (this.#length > maximumLength) this.#bundle.fail(`${this.#folder}/${file}`, 'it is too long');
    else this.#texts.set(file, [...(this.#texts.get(file) ?? []), text]);
  }

  write(): void {
    for (const [file, texts] of this.#texts) this.#bundle.write(`${this.#folder}/${file}`, texts.join(''));
  }
}

/** A line for each entry. `asked`: the nodes that are there; why others are not is known already. */
async function addTable(
  bundle: Bundle,
  nodes: NodeClient,
  asked: ReadonlySet<string>,
  map: string,
): Promise<void> {
  try {
    for await (const { node, outcome } of nodes.ask({ table: { map, limit: entriesPerTable } })) {
      const file = `${folderOf(node)}/tables/${map}.jsonl`;
      if (!('error' in outcome)) {
        const entries = outcome.reply.table?.entries ?? [];
        bundle.append(file, entries.map(({ key, value }) => `{"key":${key},"value":${value}}\n`).join(''));
      } else if (asked.has(node)) bundle.fail(file, outcome.error);
    }
  } catch (error) {
    bundle.fail(`nodes/tables/${map}.jsonl`, errorMessage(error));
  }
}

/** A chassis name may hold anything; the agent at a socket has none here. */
function folderOf(node: string): string {
  const name = node === '' ? 'this-node' : encodeURIComponent(node).slice(0, 200);
  return `nodes/${name.startsWith('.') ? name.replaceAll('.', '%2E') : name}`;
}

/** Packs `folder/name` into the open file. */
async function pack(folder: string, name: string, fd: number): Promise<void> {
  const owner = ['--owner=0', '--group=0', '--numeric-owner'];
  const tar = spawn('tar', ['-cz', ...owner, '-C', folder, name], { stdio: ['ignore', fd, 'pipe'] });
  const said: Buffer[] = [];
  tar.stderr?.on('data', (chunk: Buffer) => said.push(chunk));
  const [code] = (await once(tar, 'close')) as [number | null];
  if (code === 0) return;
  throw new IovnError(
    'tar',
    `tar ended with ${code ?? 'a signal'}: ${Buffer.concat(said).toString().trim()}`,
  );
}
