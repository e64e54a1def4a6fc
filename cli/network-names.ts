import { Command } from 'commander';

import { addOptions, resolveSettings } from '../common/config.js';
import type { NameKind } from './completion.js';
import { Connection, connectionOptions } from './connection.js';
import { collect } from '../inspect/node-answers.js';
import type { NodeClient } from './node-client.js';

/** Nobody waits longer for a proposal. */
const defaultPatienceMs = 1500;

/** The names that there are, of whoever the options among `words` say is to be asked. None when nobody answers in time. */
export async function networkNames(
  words: readonly string[],
  kind: NameKind,
  patienceMs = defaultPatienceMs,
): Promise<readonly string[]> {
  const options = new Command().exitOverride().configureOutput({ outputError: () => undefined });
  addOptions(options, connectionOptions);
  try {
    options.parseOptions([...words]);
    const connection = new Connection(resolveSettings('iovn', connectionOptions, options.opts()));
    const late = new Promise<readonly string[]>((resolve) =>
      setTimeout(() => resolve([]), patienceMs).unref(),
    );
    return await Promise.race([ask(connection, kind), late]);
  } catch {
    /* A shell has no place to show an error, and the command itself will. */
    return [];
  }
}

async function ask(connection: Connection, kind: NameKind): Promise<readonly string[]> {
  if (kind === 'MAP') return mapNames(connection.nodes());
  if (connection.isLocal) return kind === 'PORT' ? portNames(connection.nodes()) : [];
  const controller = connection.controller();
  switch (kind) {
    case 'NODE':
      return (await controller.listNodes()).nodes.flatMap(({ chassis }) => chassis?.name ?? []);
    case 'SWITCH':
      return (await controller.listSwitches()).switches.map(({ name }) => name);
    case 'PORT':
      return (await controller.listPorts()).ports.map(({ name }) => name);
  }
}

async function mapNames(client: NodeClient): Promise<readonly string[]> {
  const { answers } = await collect(client.ask({ modules: {} }), ({ modules }) => modules);
  return [...answers.values()].flat().flatMap(({ maps }) => maps.map(({ name }) => name));
}

async function portNames(client: NodeClient): Promise<readonly string[]> {
  const { answers } = await collect(client.ask({ ports: { port: '' } }), ({ ports }) => ports);
  return [...answers.values()].flat().flatMap(({ ports }) => ports.map(({ name }) => name));
}
