import { macBytes } from '../common/addresses.js';
import type { NeighbourInput } from '../generated/proto/iovn/v1/Neighbour.js';
import type { PortInput } from '../generated/proto/iovn/v1/Port.js';
import type { InvalidRow } from './invalid-row.js';
import type { MacAndAddresses } from '../common/lsp-addresses.js';
import type { LogicalSwitchPort } from './northbound.js';
import type { PortBinding } from './southbound.js';

const ethtypes: ReadonlyMap<string, number> = new Map([
  ['802.1q', 0x8100],
  ['802.1ad', 0x88a8],
  // OVN's own spelling mistakes, which it accepts.
  ['802.11q', 0x8100],
  ['802.11ad', 0x88a8],
]);
const defaultEthtype = 0x8100;

/** What connects a localnet port with its physical network (ovn-nb(5) Logical_Switch_Port, "Options for localnet ports"). */
export function localnetFields(
  binding: PortBinding,
  port: LogicalSwitchPort,
  invalid: InvalidRow[],
): Pick<PortInput, 'network_name' | 'tag' | 'ethtype'> {
  const report = (option: string, value: string, reason: string): void => {
    const column = `options:${option}`;
    invalid.push({
      table: 'Logical_Switch_Port',
      object: port.name,
      uuid: port._uuid,
      column,
      value,
      reason,
    });
  };
  const network = binding.options.get('network_name') ?? '';
  if (network === '')
    report('network_name', '', 'is not set: the switch is not connected to a physical network');
  const text = binding.options.get('ethtype') ?? '';
  const ethtype = text === '' ? defaultEthtype : ethtypes.get(text.toLowerCase());
  if (ethtype === undefined)
    report('ethtype', text, 'is neither 802.1Q nor 802.1ad: 802.1Q is used, as in OVN');
  return { network_name: network, tag: binding.tag ?? 0, ethtype: ethtype ?? defaultEthtype };
}

/** Of a port on a switch with a localnet port, what ovn-controller's GARP or RARP speaks of; null where it sends none. */
export function announced(
  { type, options }: PortBinding,
  entries: readonly MacAndAddresses[],
): NeighbourInput | null {
  const [first] = entries;
  if (type !== '' || first === undefined || options.get('disable_garp_rarp') === 'true') return null;
  const ip4 = first.addresses.find(({ address }) => address.length === 4);
  return { mac: macBytes(first.mac), address: ip4?.address ?? new Uint8Array() };
}
