import type { Intent, PortIntent } from './intent.js';
import type { Link } from './links.js';
import type { VifInterface } from './vswitch/interfaces.js';

/** Names a port within the data plane: `DATAPATH_KEY/PORT_KEY`. */
export type SlotKey = `${number}/${number}`;

export function slotKey(datapathKey: number, portKey: number): SlotKey {
  return `${datapathKey}/${portKey}`;
}

/** A logical port that is bound to this chassis and whose interface is here. */
export interface LocalPort {
  readonly port: PortIntent;
  readonly datapathKey: number;
  readonly key: SlotKey;
  /** Interface.name */
  readonly interfaceName: string;
  readonly device: Link;
}

/** The ports to program on this node, by name; bound here and with a usable interface. */
export function findLocalPorts(
  intent: Intent,
  interfaces: readonly VifInterface[],
  chassisName: string,
): readonly LocalPort[] {
  const taken = new Set<SlotKey>();
  const byName = [...interfaces].sort((a, b) => (a.ifaceId < b.ifaceId ? -1 : Number(a.ifaceId > b.ifaceId)));
  return byName.flatMap(({ ifaceId, name, device, error }) => {
    const port = intent.ports.get(ifaceId);
    const owner = port && intent.switches.get(port.switchId);
    if (!port || !owner || !device || error !== undefined) return [];
    if (port.chassis !== chassisName || port.type !== '') return [];
    const key = slotKey(owner.datapathKey, port.portKey);
    if (taken.has(key)) return [];
    taken.add(key);
    return [{ port, datapathKey: owner.datapathKey, key, interfaceName: name, device }];
  });
}
