import { macBytes } from '../../common/addresses.js';
import { type MacAndAddresses, parseMacAndAddresses } from '../../common/lsp-addresses.js';
import { v1 } from '../../common/proto.js';
import { constants } from '../../generated/bpf/layouts.js';
import type { PortInput } from '../../generated/proto/iovn/v1/Port.js';
import type { Update } from '../../generated/proto/iovn/v1/Update.js';
import type { PortSpec, StandaloneFile } from './file.js';
import { assignKeys } from './keys.js';

const maximumDatapathKey = 2 ** 24 - 1;
const maximumPortKey = 2 ** 15 - 1;
const ethtypes = { '802.1q': 0x8100, '802.1ad': 0x88a8 } as const;

function typeOf({ localnet }: PortSpec): string {
  return localnet === undefined ? '' : 'localnet';
}

function addressesOf({ addresses, localnet }: PortSpec): readonly string[] {
  return addresses ?? (localnet === undefined ? [] : ['unknown']);
}

function parseAll(texts: readonly string[]): readonly MacAndAddresses[] {
  return texts.flatMap((text) => parseMacAndAddresses(text) ?? []);
}

function learnsMacs(port: PortSpec): boolean {
  const mayLearn = port.localnet === undefined || port.localnet.learn_fdb === true;
  return mayLearn && addressesOf(port).includes('unknown') && (port.port_security ?? []).length === 0;
}

/** Whom the switch answers for: as OVN, nobody who also takes unknown MACs. */
function neighboursOf(port: PortSpec, entries: readonly MacAndAddresses[]): PortInput['neighbours'] {
  if (addressesOf(port).includes('unknown')) return [];
  return entries.flatMap(({ mac, addresses }) =>
    addresses.map(({ address }) => ({ address, mac: macBytes(mac) })),
  );
}

function placeOf({ localnet, parent, tag }: PortSpec): Partial<PortInput> {
  if (localnet === undefined) return { parent: parent ?? '', tag: tag ?? 0 };
  const ethtype = ethtypes[localnet.ethtype ?? '802.1q'];
  return { network_name: localnet.interface, tag: localnet.tag ?? 0, ethtype };
}

function portMessage(
  port: PortSpec,
  switchName: string,
  portKey: number,
  chassis: string,
  vlanPassthru: boolean,
): PortInput {
  const entries = parseAll(addressesOf(port));
  const unknown = addressesOf(port).includes('unknown');
  return {
    switch: switchName,
    port_key: portKey,
    type: typeOf(port),
    enabled: port.enabled ?? true,
    macs: [...new Set(entries.map(({ mac }) => mac))].map(macBytes),
    port_security: parseAll(port.port_security ?? []).map(({ mac, addresses }) => ({
      mac: macBytes(mac),
      addresses: addresses.map(({ address, prefixLength }) => ({ address, prefix_length: prefixLength })),
    })),
    multicast_groups: [constants.MULTICAST_FLOOD, ...(unknown ? [constants.MULTICAST_UNKNOWN] : [])],
    learns_macs: learnsMacs(port),
    chassis: port.localnet === undefined ? chassis : '',
    neighbours: vlanPassthru ? [] : (neighboursOf(port, entries) ?? []),
    ...placeOf(port),
  };
}

/** The file as a controller would have sent it: a snapshot. */
export function standaloneUpdate({ switches }: StandaloneFile, chassis: string, generation: number): Update {
  const datapathKeys = assignKeys(
    switches.map(({ name }) => name),
    maximumDatapathKey,
  );
  const changed = switches.flatMap((each) => {
    const { name, ports = [], vlan_passthru: vlanPassthru = false, fdb_age_threshold: threshold = 0 } = each;
    const portKeys = assignKeys(
      ports.map((port) => port.name),
      maximumPortKey,
    );
    const message = {
      name,
      datapath_key: datapathKeys.get(name) ?? 0,
      vlan_passthru: vlanPassthru,
      fdb_age_threshold_seconds: threshold,
    };
    return [
      { id: { kind: 'Switch', name }, body: v1.Switch.serialize(message) },
      ...ports.map((port) => ({
        id: { kind: 'Port', name: port.name },
        body: v1.Port.serialize(portMessage(port, name, portKeys.get(port.name) ?? 0, chassis, vlanPassthru)),
      })),
    ];
  });
  return { generation: String(generation), nb_cfg: '0', snapshot: true, changed, removed: [] };
}
