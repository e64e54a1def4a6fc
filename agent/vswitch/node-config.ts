import { formatIp, parseIp } from '../../common/addresses.js';
import { constants } from '../../generated/bpf/layouts.js';
import { type BridgeMappings, parseBridgeMappings } from './bridge-mappings.js';
import { suppliedInterfaceTypes } from './interface-types.js';
import type { OpenVswitchRow } from './tables.js';
import type { Topology } from './topology.js';

export interface EncapConfig {
  readonly type: string;
  readonly ip: string;
  readonly options: Readonly<Record<string, string>>;
}

/** What ovn-controller would have written into its Chassis row (ovn-sb(5) Chassis). */
export interface ChassisConfig {
  readonly name: string;
  readonly hostname: string;
  readonly encaps: readonly EncapConfig[];
  readonly otherConfig: Readonly<Record<string, string>>;
  readonly transportZones: readonly string[];
}

/** The agent's part of Open_vSwitch.external_ids (ovn-controller(8), "CONFIGURATION"). */
export interface NodeConfig {
  readonly integrationBridge: string;
  readonly bridgeMappings: BridgeMappings;
  /** external_ids:iovn-controller */
  readonly controller: string | undefined;
  /** Undefined while something is missing that a chassis can't do without: see `problem`. */
  readonly chassis: ChassisConfig | undefined;
  readonly problem: string | undefined;
  /** Values that were left out because they can't be used. */
  readonly warnings: readonly string[];
}

const defaultBridge = 'br-int';
const encapTypes = new Set(['geneve', 'vxlan', 'stt']);

type Lookup = (key: string) => string | undefined;

/** Reads `KEY-<system-id>` before `KEY`, as ovn-controller does. */
function lookupIn(row: OpenVswitchRow): Lookup {
  const systemId = row.external_ids.get('system-id');
  return (key) =>
    (systemId === undefined ? undefined : row.external_ids.get(`${key}-${systemId}`)) ??
    row.external_ids.get(key);
}

function list(text: string | undefined): readonly string[] {
  const items = (text ?? '').split(',').map((item) => item.trim());
  return [...new Set(items.filter((item) => item !== ''))].sort();
}

/** external_ids:ovn-encap-ip-default, if it is one of them. */
function defaultIp(lookup: Lookup, ips: readonly string[], warnings: string[]): string | undefined {
  const text = lookup('ovn-encap-ip-default');
  if (text === undefined) return undefined;
  const ip = parseIp(text);
  const found = ip && ips.find((each) => each === formatIp(ip));
  if (found === undefined) warnings.push(`ovn-encap-ip-default: ${text} is not one of ovn-encap-ip`);
  return found;
}

function readEncaps(lookup: Lookup, warnings: string[]): readonly EncapConfig[] {
  const types = list(lookup('ovn-encap-type')).filter((type) => {
    if (encapTypes.has(type)) return true;
    warnings.push(`ovn-encap-type: unknown tunnel type ${type}`);
    return false;
  });
  const ips = list(lookup('ovn-encap-ip')).flatMap((text) => {
    const ip = parseIp(text);
    if (ip !== undefined) return [formatIp(ip)];
    warnings.push(`ovn-encap-ip: ${text} is not an IP address`);
    return [];
  });
  if (ips.length > constants.TUNNEL_SOURCES)
    warnings.push(`ovn-encap-ip: ports can send from ${constants.TUNNEL_SOURCES} of these addresses only`);
  const preferred = defaultIp(lookup, ips, warnings);
  const csum = lookup('ovn-encap-csum') ?? 'true';
  return types.flatMap((type) =>
    ips.map((ip) => ({ type, ip, options: { csum, ...(ip === preferred ? { is_default: 'true' } : {}) } })),
  );
}

function otherConfig(
  topology: Topology,
  row: OpenVswitchRow,
  lookup: Lookup,
  bridgeName: string,
): Record<string, string> {
  const bridge = topology.bridges.find(({ bridge }) => bridge.name === bridgeName)?.bridge;
  const types = row.iface_types.length > 0 ? row.iface_types : suppliedInterfaceTypes;
  return {
    'datapath-type': bridge?.datapath_type ?? '',
    'iface-types': [...types].sort().join(','),
    'ovn-bridge-mappings': lookup('ovn-bridge-mappings') ?? '',
    'ovn-cms-options': lookup('ovn-cms-options') ?? '',
    'ovn-chassis-mac-mappings': lookup('ovn-chassis-mac-mappings') ?? '',
    'is-interconn': lookup('ovn-is-interconn') === 'true' ? 'true' : 'false',
  };
}

function missing(systemId: string | undefined, encaps: readonly EncapConfig[]): string | undefined {
  if (systemId === undefined || systemId === '') {
    return 'Open_vSwitch.external_ids:system-id is not set: this hypervisor has no chassis name';
  }
  if (encaps.length > 0) return undefined;
  return 'Open_vSwitch.external_ids:ovn-encap-type and ovn-encap-ip do not name a usable tunnel endpoint';
}

/** The node's configuration from the local database. `osHostname` stands in where external_ids:hostname is not set. */
export function readNodeConfig(topology: Topology, osHostname: string): NodeConfig {
  const row = topology.openVswitch;
  if (row === undefined) {
    const problem = 'the database has no Open_vSwitch row: nobody has initialized it (ovs-vsctl init)';
    return {
      integrationBridge: defaultBridge,
      bridgeMappings: new Map(),
      controller: undefined,
      chassis: undefined,
      problem,
      warnings: [],
    };
  }
  const lookup = lookupIn(row);
  const warnings: string[] = [];
  const integrationBridge = lookup('ovn-bridge') ?? defaultBridge;
  const controller = lookup('iovn-controller');
  const systemId = row.external_ids.get('system-id');
  const bridgeMappings = parseBridgeMappings(lookup('ovn-bridge-mappings') ?? '', warnings);
  const encaps = readEncaps(lookup, warnings);
  const problem = missing(systemId, encaps);
  const chassis =
    systemId === undefined || problem !== undefined
      ? undefined
      : {
          name: systemId,
          hostname: lookup('hostname') ?? osHostname,
          encaps,
          otherConfig: otherConfig(topology, row, lookup, integrationBridge),
          transportZones: list(lookup('ovn-transport-zones')),
        };
  return { integrationBridge, bridgeMappings, controller, chassis, problem, warnings };
}
