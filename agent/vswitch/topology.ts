import { byName } from '../../common/compare.js';
import type { Uuid } from '../../common/addresses.js';
import type { BridgeRow, InterfaceRow, OpenVswitchRow, PortRow } from './tables.js';

interface Rows<R> extends Iterable<R> {
  get(uuid: Uuid): R | undefined;
}

/** The contents of the local database, whoever holds them. */
export interface VswitchRows {
  readonly openVswitch: Iterable<OpenVswitchRow>;
  readonly bridge: Iterable<BridgeRow>;
  readonly port: Rows<PortRow>;
  readonly interface: Rows<InterfaceRow>;
}

export interface BridgeInterfaces {
  readonly bridge: BridgeRow;
  /** Of all its ports, by name. */
  readonly interfaces: readonly InterfaceRow[];
}

/** Rows joined the way they refer to each other; what no bridge refers to is left out. */
export interface Topology {
  /** The one row of table Open_vSwitch; undefined in a database that nobody has initialized. */
  readonly openVswitch: OpenVswitchRow | undefined;
  /** By name. */
  readonly bridges: readonly BridgeInterfaces[];
}

export function readTopology(rows: VswitchRows): Topology {
  const bridges = [...rows.bridge].sort(byName).map((bridge) => {
    const interfaces = bridge.ports
      .flatMap((port) => rows.port.get(port)?.interfaces ?? [])
      .map((uuid) => rows.interface.get(uuid))
      .filter((row) => row !== undefined);
    return { bridge, interfaces: interfaces.sort(byName) };
  });
  const [openVswitch] = rows.openVswitch;
  return { openVswitch, bridges };
}

/** Whether this is the interface that OVS gives every bridge: of the bridge's own name, port 65534. */
export function isLocalInterface(bridge: BridgeRow, row: InterfaceRow): boolean {
  return row.name === bridge.name;
}
