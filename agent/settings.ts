import { logLevelOption, option, type Settings } from '../common/config.js';
import { tlsOptions } from '../common/credentials.js';
import { ConfigError } from '../common/errors.js';
import { parseListenAddress, parseListenAddresses } from '../common/listen-address.js';
import { parseRemotes } from '../ovsdb/index.js';

const attachModes = ['auto', 'tcx', 'clsact'] as const;
/** Slots are an array in the kernel; a node with more VMs than this does not exist. */
const maximumPorts = 1_000_000;

function parseAttachMode(text: string): (typeof attachModes)[number] {
  const mode = attachModes.find((each) => each === text);
  if (mode === undefined) throw new ConfigError(`expected one of ${attachModes.join(', ')}`);
  return mode;
}

function parseMaxPorts(text: string): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (count >= 2 && count <= maximumPorts) return count;
  throw new ConfigError(`expected a number from 2 to ${maximumPorts}`);
}

/** Below, the kernel's way of finding the oldest entry gives up what has just come; above, memory (120 bytes each) does not come cheap. */
const learnedLimits = { minimum: 1024, maximum: 4_194_304 };

function parseMaxLearned(text: string): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (count >= learnedLimits.minimum && count <= learnedLimits.maximum) return count;
  throw new ConfigError(`expected a number from ${learnedLimits.minimum} to ${learnedLimits.maximum}`);
}

function parseFolder(text: string): string {
  if (text.startsWith('/')) return text;
  throw new ConfigError('expected an absolute path');
}

/** Throws ConfigError. */
function parseRemote(text: string): string {
  parseRemotes(text);
  return text;
}

export const agentOptions = {
  ovsdb: option({
    flag: '--ovsdb',
    argument: 'REMOTE',
    description: 'the local Open_vSwitch database',
    parse: parseRemote,
    default: 'unix:/var/run/openvswitch/db.sock',
  }),
  controllers: option({
    flag: '--controller',
    argument: 'HOST:PORT[,HOST:PORT…]',
    description: 'the controllers, tried in turn; without it Open_vSwitch.external_ids:iovn-controller',
    parse: parseListenAddresses,
  }),
  metrics: option({
    flag: '--metrics',
    argument: 'HOST:PORT',
    description: 'where to serve /metrics and /healthz',
    parse: parseListenAddress,
  }),
  stateDir: option({
    flag: '--state-dir',
    argument: 'DIR',
    description: 'what is kept over restarts; one agent per folder',
    parse: parseFolder,
    default: '/var/lib/iovn',
  }),
  bpffs: option({
    flag: '--bpffs',
    argument: 'DIR',
    description: 'folder for pinned maps and links on a BPF file system; one agent per folder',
    parse: parseFolder,
    default: '/sys/fs/bpf/iovn',
  }),
  attach: option<(typeof attachModes)[number]>({
    flag: '--attach',
    argument: 'MODE',
    description: `hook of the interfaces: ${attachModes.join(', ')}`,
    parse: parseAttachMode,
    default: 'auto',
  }),
  maxPorts: option({
    flag: '--max-ports',
    argument: 'N',
    description: 'ports that this node can hold, plus one',
    parse: parseMaxPorts,
    default: 4096,
  }),
  maxLearned: option({
    flag: '--max-learned',
    argument: 'N',
    description: 'learnt MACs that this node can hold; the oldest go when it is full',
    parse: parseMaxLearned,
    default: 65_536,
  }),
  decommission: option({
    flag: '--decommission',
    description: 'detach everything, release the ports, remove the rows of this chassis, and end',
  }),
  logLevel: logLevelOption,
  ...tlsOptions,
};

export type AgentSettings = Settings<typeof agentOptions>;
