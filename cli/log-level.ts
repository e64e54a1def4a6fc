import { logLevels } from '../common/log.js';
import { ConfigError, IovnError } from '../common/errors.js';
import type { CommandOutput } from './commands.js';
import type { InspectClient } from './inspect-client.js';
import { formatJson } from './json.js';
import type { NodeClient } from './node-client.js';
import { askNodes } from './node-commands.js';
import { formatTable } from './table.js';

export interface LogLevelTargets {
  /** Undefined when only an agent is asked, or one node. */
  readonly controller: InspectClient | undefined;
  /** Undefined when only the controller is asked. */
  readonly nodes: NodeClient | undefined;
  readonly node: string | undefined;
}

/** `iovn log-level`: shows or sets it; '' shows. Throws ConfigError when there is no such level. */
export async function logLevel(targets: LogLevelTargets, level: string): Promise<CommandOutput> {
  if (level !== '' && !(logLevels as readonly string[]).includes(level))
    throw new ConfigError(`there is no level '${level}': expected one of ${logLevels.join(', ')}`);
  const own = targets.controller && (await targets.controller.logLevel(level)).level;
  const asked = targets.nodes && (await ofNodes(targets.nodes, targets.node, level, own !== undefined));
  const controllers = own === undefined ? [] : [{ daemon: 'controller', level: own }];
  const agents = (asked?.nodes ?? []).map(([node, { level: its }]) => ({
    daemon: 'agent',
    node,
    level: its,
  }));
  const silent = Array.from(asked?.errors ?? [], ([node, error]) => ({ daemon: 'agent', node, error }));
  const lines = formatTable(
    ['DAEMON', 'NODE', 'LEVEL'],
    [
      ...controllers.map((each) => [each.daemon, '', each.level]),
      ...agents.map((each) => [each.daemon, each.node, each.level]),
    ],
  );
  const output = asked?.output(lines) ?? { lines, json: '' };
  return { ...output, json: formatJson([...controllers, ...agents, ...silent]) };
}

/** A fleet without nodes is no error where the controller has answered. */
async function ofNodes(client: NodeClient, node: string | undefined, level: string, mayBeNone: boolean) {
  try {
    return await askNodes(client, node, { log_level: { level } }, 'LogLevel', (reply) => reply.log_level);
  } catch (error) {
    if (mayBeNone && error instanceof IovnError && error.code === 'not_found') return undefined;
    throw error;
  }
}
