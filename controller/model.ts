import type { Mac, Uuid } from '../common/addresses.js';
import type { RowChange } from '../ovsdb/database.js';
import type { LogicalSwitchPort, NorthboundContents, NorthboundUpdate } from './northbound.js';
import { RowIndex } from './row-index.js';
import {
  agentIdKey,
  type Chassis,
  type Encap,
  type FdbRow,
  logicalSwitchOf,
  parentOf,
  type PortBinding,
  type SouthboundContents,
  type SouthboundUpdate,
} from './southbound.js';

/** What a change of rows may have changed further on. */
export interface Dirty {
  /** Datapath_Binding uuids whose resources must be computed again. */
  readonly datapaths: Set<Uuid>;
  /** Port_Binding.logical_port whose claim must be decided again. */
  readonly ports: Set<string>;
  /** Chassis.name whose rows (Chassis, Chassis_Private, Encap) changed. */
  readonly chassis: Set<string>;
  /** Datapath_Binding.tunnel_key of datapaths whose learnt MACs changed. */
  readonly fdb: Set<number>;
  /** Chassis.name to which a changed port was or is bound. */
  readonly holders: Set<string>;
  /** Northbound or southbound content changed that only the list of what is not done depends on. */
  unsupported: boolean;
  /** NB_Global or SB_Global changed. */
  nbCfg: boolean;
}

export function nothingDirty(): Dirty {
  return {
    datapaths: new Set(),
    ports: new Set(),
    chassis: new Set(),
    fdb: new Set(),
    holders: new Set(),
    unsupported: false,
    nbCfg: false,
  };
}

/**
 * The contents of both databases with the look-ups that intent and claims need, and the answer to which datapaths,
 * ports and chassis a change concerns. After any sequence of `apply` the indexes are those of a new model.
 */
export class Model {
  readonly nb: NorthboundContents;
  readonly sb: SouthboundContents;
  readonly #switchPortByName: RowIndex<LogicalSwitchPort>;
  readonly #switchPortByRouterPort: RowIndex<LogicalSwitchPort>;
  readonly #routerPortByName;
  readonly #datapathBySwitch;
  readonly #datapathByKey;
  readonly #fdbByDatapath: RowIndex<FdbRow>;
  readonly #fdbByMac: RowIndex<FdbRow>;
  readonly #bindingByName: RowIndex<PortBinding>;
  readonly #bindingByDatapath: RowIndex<PortBinding>;
  readonly #bindingByChassis: RowIndex<PortBinding>;
  readonly #bindingByParent: RowIndex<PortBinding>;
  readonly #groupByDatapath;
  readonly #chassisByName: RowIndex<Chassis>;
  readonly #chassisByAgent: RowIndex<Chassis>;
  readonly #chassisPrivateByName;
  readonly #encapByAddress;

  constructor(nb: NorthboundContents, sb: SouthboundContents) {
    this.nb = nb;
    this.sb = sb;
    this.#switchPortByName = new RowIndex((row) => [row.name], nb.logicalSwitchPort);
    this.#switchPortByRouterPort = new RowIndex((row) => {
      const peer = row.options.get('router-port');
      return peer === undefined ? [] : [peer];
    }, nb.logicalSwitchPort);
    this.#routerPortByName = new RowIndex((row) => [row.name], nb.logicalRouterPort);
    this.#datapathBySwitch = new RowIndex((row) => {
      const uuid = logicalSwitchOf(row);
      return uuid === undefined ? [] : [uuid];
    }, sb.datapathBinding);
    this.#datapathByKey = new RowIndex((row) => [String(row.tunnel_key)], sb.datapathBinding);
    this.#fdbByDatapath = new RowIndex((row) => [String(row.dp_key)], sb.fdb);
    this.#fdbByMac = new RowIndex((row) => [fdbKey(row.dp_key, row.mac)], sb.fdb);
    this.#bindingByName = new RowIndex((row) => [row.logical_port], sb.portBinding);
    this.#bindingByDatapath = new RowIndex((row) => [row.datapath], sb.portBinding);
    this.#bindingByChassis = new RowIndex(chassisOf, sb.portBinding);
    this.#bindingByParent = new RowIndex((row) => {
      const parent = parentOf(row);
      return parent === undefined ? [] : [parent];
    }, sb.portBinding);
    this.#groupByDatapath = new RowIndex((row) => [row.datapath], sb.multicastGroup);
    this.#chassisByName = new RowIndex((row) => [row.name], sb.chassis);
    this.#chassisByAgent = new RowIndex((row) => {
      const agent = row.external_ids.get(agentIdKey);
      return agent === undefined ? [] : [agent];
    }, sb.chassis);
    this.#chassisPrivateByName = new RowIndex((row) => [row.name], sb.chassisPrivate);
    this.#encapByAddress = new RowIndex((row) => [encapKey(row.type, row.ip)], sb.encap);
  }

  switchPort(name: string): LogicalSwitchPort | undefined {
    return this.#switchPortByName.one(name);
  }

  routerPort(name: string) {
    return this.#routerPortByName.one(name);
  }

  datapathOfSwitch(logicalSwitch: string) {
    return this.#datapathBySwitch.one(logicalSwitch);
  }

  /** The datapath with this Datapath_Binding.tunnel_key. */
  datapathWithKey(datapathKey: number) {
    return this.#datapathByKey.one(String(datapathKey));
  }

  /** What was learnt on the datapath with this tunnel key. */
  fdbOn(datapathKey: number): Iterable<FdbRow> {
    return this.#fdbByDatapath.all(String(datapathKey));
  }

  fdbCount(datapathKey: number): number {
    return this.#fdbByDatapath.count(String(datapathKey));
  }

  fdb(datapathKey: number, mac: Mac): FdbRow | undefined {
    return this.#fdbByMac.one(fdbKey(datapathKey, mac));
  }

  binding(logicalPort: string): PortBinding | undefined {
    return this.#bindingByName.one(logicalPort);
  }

  bindingsOn(datapath: Uuid): Iterable<PortBinding> {
    return this.#bindingByDatapath.all(datapath);
  }

  /** Ports bound to the chassis, as main or additional. */
  bindingsAt(chassis: Uuid): Iterable<PortBinding> {
    return this.#bindingByChassis.all(chassis);
  }

  /** The ports nested in the named one. */
  nestedIn(logicalPort: string): Iterable<PortBinding> {
    return this.#bindingByParent.all(logicalPort);
  }

  multicastGroups(datapath: Uuid) {
    return this.#groupByDatapath.all(datapath);
  }

  chassis(name: string): Chassis | undefined {
    return this.#chassisByName.one(name);
  }

  /** The chassis whose agent has this id, under whatever name. */
  chassisOfAgent(agentId: string): Iterable<Chassis> {
    return this.#chassisByAgent.all(agentId);
  }

  chassisName(chassis: Uuid | undefined): string | undefined {
    return chassis === undefined ? undefined : this.sb.chassis.get(chassis)?.name;
  }

  /** Of the chassis to which the port is bound in addition, sorted. */
  additionalChassisNames({ additional_chassis: additional }: PortBinding): readonly string[] {
    return additional.flatMap((uuid) => this.chassisName(uuid) ?? []).sort();
  }

  chassisPrivate(name: string) {
    return this.#chassisPrivateByName.one(name);
  }

  /** The row that has this type and address, whichever chassis owns it (the database allows one). */
  encap(type: string, ip: string) {
    return this.#encapByAddress.one(encapKey(type, ip));
  }

  nbCfg(): { readonly northbound: number; readonly southbound: number } {
    return { northbound: firstNbCfg(this.nb.nbGlobal), southbound: firstNbCfg(this.sb.sbGlobal) };
  }

  applyNorthbound(update: NorthboundUpdate, dirty: Dirty): void {
    const { changes } = update;
    for (const change of changes.logicalSwitchPort ?? []) {
      this.#switchPortByName.apply(change);
      this.#switchPortByRouterPort.apply(change);
    }
    for (const change of changes.logicalRouterPort ?? []) this.#routerPortByName.apply(change);
    for (const row of bothSides(changes.logicalSwitchPort)) this.#dirtyPort(row.name, dirty);
    for (const row of bothSides(changes.logicalRouterPort)) {
      for (const port of this.#switchPortByRouterPort.all(row.name)) this.#dirtyPort(port.name, dirty);
    }
    for (const row of bothSides(changes.logicalSwitch)) {
      for (const datapath of this.#datapathBySwitch.all(row._uuid)) dirty.datapaths.add(datapath._uuid);
    }
    if (changes.nbGlobal !== undefined) dirty.nbCfg = true;
    if (Object.keys(changes).some((name) => name !== 'nbGlobal')) dirty.unsupported = true;
  }

  applySouthbound(update: SouthboundUpdate, dirty: Dirty): void {
    const { changes } = update;
    for (const change of changes.datapathBinding ?? []) {
      this.#datapathBySwitch.apply(change);
      this.#datapathByKey.apply(change);
    }
    for (const change of changes.fdb ?? []) {
      this.#fdbByDatapath.apply(change);
      this.#fdbByMac.apply(change);
    }
    for (const change of changes.portBinding ?? []) {
      this.#bindingByName.apply(change);
      this.#bindingByDatapath.apply(change);
      this.#bindingByChassis.apply(change);
      this.#bindingByParent.apply(change);
    }
    for (const change of changes.multicastGroup ?? []) this.#groupByDatapath.apply(change);
    for (const change of changes.chassis ?? []) {
      this.#chassisByName.apply(change);
      this.#chassisByAgent.apply(change);
    }
    for (const change of changes.chassisPrivate ?? []) this.#chassisPrivateByName.apply(change);
    for (const change of changes.encap ?? []) this.#encapByAddress.apply(change);
    this.#dirtySouthbound(update, dirty);
  }

  #dirtySouthbound({ changes }: SouthboundUpdate, dirty: Dirty): void {
    for (const row of bothSides(changes.datapathBinding)) {
      dirty.datapaths.add(row._uuid);
      dirty.fdb.add(row.tunnel_key);
    }
    for (const { before, after } of changes.fdb ?? []) {
      const isTouch = before?.mac === after?.mac && before?.port_key === after?.port_key;
      if (isTouch && before?.dp_key === after?.dp_key) continue;
      for (const row of [before, after]) if (row !== undefined) dirty.fdb.add(row.dp_key);
    }
    for (const row of bothSides(changes.multicastGroup)) dirty.datapaths.add(row.datapath);
    for (const row of bothSides(changes.portBinding)) {
      dirty.datapaths.add(row.datapath);
      dirty.ports.add(row.logical_port);
      for (const chassis of [row.chassis, ...row.additional_chassis]) {
        const name = this.chassisName(chassis);
        if (name !== undefined) dirty.holders.add(name);
      }
      dirty.unsupported = true;
    }
    for (const row of bothSides(changes.chassis)) {
      dirty.chassis.add(row.name);
      for (const binding of this.#bindingByChassis.all(row._uuid)) {
        dirty.datapaths.add(binding.datapath);
        dirty.ports.add(binding.logical_port);
      }
    }
    for (const row of bothSides(changes.chassisPrivate)) dirty.chassis.add(row.name);
    for (const row of bothSides(changes.encap)) this.#dirtyEncap(row, dirty);
    if (changes.sbGlobal !== undefined) dirty.nbCfg = true;
  }

  #dirtyEncap({ _uuid, chassis_name: name }: Encap, dirty: Dirty): void {
    dirty.chassis.add(name);
    const chassis = this.#chassisByName.one(name);
    for (const binding of chassis === undefined ? [] : this.#bindingByChassis.all(chassis._uuid)) {
      if (binding.encap === _uuid || binding.additional_encap.includes(_uuid))
        dirty.datapaths.add(binding.datapath);
    }
  }

  #dirtyPort(name: string, dirty: Dirty): void {
    for (const binding of this.#bindingByName.all(name)) dirty.datapaths.add(binding.datapath);
  }
}

function chassisOf(row: PortBinding): readonly string[] {
  return row.chassis === undefined ? row.additional_chassis : [row.chassis, ...row.additional_chassis];
}

/** An FDB row by its index (ovn-sb(5)), whatever the case of its MAC. */
function fdbKey(datapathKey: number, mac: string): string {
  return `${datapathKey} ${mac.toLowerCase()}`;
}

function encapKey(type: string, ip: string): string {
  return `${type} ${ip}`;
}

function firstNbCfg(rows: Iterable<{ readonly nb_cfg: number }>): number {
  for (const row of rows) return row.nb_cfg;
  return 0;
}

function* bothSides<R>(changes: readonly RowChange<R>[] | undefined): Iterable<R> {
  for (const { before, after } of changes ?? []) {
    if (before !== undefined) yield before;
    if (after !== undefined) yield after;
  }
}
