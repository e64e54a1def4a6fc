import path from 'node:path';

import { logLevelOption, option, type Settings } from '../common/config.js';
import { tlsOptions } from '../common/credentials.js';
import { ConfigError } from '../common/errors.js';
import { parseListenAddress, parseListenAddresses } from '../common/listen-address.js';
import { constants } from '../generated/bpf/layouts.js';
import { parseRemotes } from '../ovsdb/index.js';
import type { TableName } from './data-plane.js';

/** Who makes and takes apart Geneve packets: a device of the kernel where it has one, else our program; or one of them. */
const geneveModes = ['auto', 'device', 'program'] as const;
export type GeneveMode = (typeof geneveModes)[number];

const attachModes = ['auto', 'tcx', 'clsact'] as const;
/** Slots are an array in the kernel; a node with more VMs than this does not exist. */
const maximumPorts = 1_000_000;

function parseOneOf<T extends string>(modes: readonly T[]): (text: string) => T {
  return (text) => {
    const mode = modes.find((each) => each === text);
    if (mode === undefined) throw new ConfigError(`expected one of ${modes.join(', ')}`);
    return mode;
  };
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

/** Maps whose sizes no other flag gives, and the most entries that make sense; they take memory only for what is in them. */
const sizedMaps = [
  'destinations',
  'neighbours',
  'multicast_members',
  'ports_by_key',
  'remote_members',
  'tunnel_endpoints',
  'allowed_macs',
  'allowed_addresses',
  'allowed_prefixes',
] as const satisfies readonly TableName[];
const mapSizeLimits = { minimum: 2, maximum: 16_777_216 };

export type AgentMapSizes = Readonly<Partial<Record<(typeof sizedMaps)[number], number>>>;

function parseMapSizes(text: string): AgentMapSizes {
  const sizes = text.split(',').map((each) => {
    const [, name, digits] = /^([a-z_]+)=(\d+)$/.exec(each.trim()) ?? [];
    const map = sizedMaps.find((candidate) => candidate === name);
    const size = Number(digits);
    if (map === undefined) {
      throw new ConfigError(`'${each}': expected MAP=ENTRIES, the map one of ${sizedMaps.join(', ')}`);
    }
    if (size < mapSizeLimits.minimum || size > mapSizeLimits.maximum) {
      const { minimum, maximum } = mapSizeLimits;
      throw new ConfigError(`'${each}': expected from ${minimum} to ${maximum} entries`);
    }
    return [map, size] as const;
  });
  const named = new Map(sizes);
  if (named.size < sizes.length) throw new ConfigError('expected each map once');
  return Object.fromEntries(named);
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
    parse: parseOneOf(attachModes),
    default: 'auto',
  }),
  geneve: option<GeneveMode>({
    flag: '--geneve',
    argument: 'MODE',
    description: `what makes Geneve packets, the kernel's device or our own program: ${geneveModes.join(', ')}`,
    parse: parseOneOf(geneveModes),
    default: 'program',
  }),
  maxPorts: option({
    flag: '--max-ports',
    argument: 'N',
    description: 'ports that this node can hold, plus one',
    parse: parseMaxPorts,
    default: constants.DEFAULT_MAX_PORTS,
  }),
  mapSizes: option<AgentMapSizes>({
    flag: '--map-size',
    argument: 'MAP=N[,MAP=N…]',
    description: `entries that maps of the data plane can hold: ${sizedMaps.join(', ')}`,
    parse: parseMapSizes,
    default: {},
  }),
  maxLearned: option({
    flag: '--max-learned',
    argument: 'N',
    description: 'learnt MACs that this node can hold; the oldest go when it is full',
    parse: parseMaxLearned,
    default: 65_536,
  }),
  standalone: option({
    flag: '--standalone',
    argument: 'FILE',
    description: 'work without OVN: the switches, ports and uplinks of a YAML file (docs/standalone.md)',
    parse: (text) => path.resolve(text),
  }),
  decommission: option({
    flag: '--decommission',
    description: 'detach everything, release the ports, remove the rows of this chassis, and end',
  }),
  logLevel: logLevelOption,
  ...tlsOptions,
};

export type AgentSettings = Settings<typeof agentOptions>;
