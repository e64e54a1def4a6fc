import type { Uuid } from '../../../common/addresses.js';
import { northboundTables } from '../../../controller/northbound.js';
import { southboundTables } from '../../../controller/southbound.js';
import { MemoryDatabase, newUuid, type Rules } from './memory-database.js';

const southboundRules: Rules = {
  unique: {
    Chassis: ['name'],
    Chassis_Private: ['name'],
    Encap: ['type', 'ip'],
    Port_Binding: ['logical_port'],
    FDB: ['mac', 'dp_key'],
  },
  weak: {
    'Port_Binding.chassis': 'Chassis',
    'Port_Binding.additional_chassis': 'Chassis',
    'Port_Binding.encap': 'Encap',
    'Chassis_Private.chassis': 'Chassis',
    'Multicast_Group.ports': 'Port_Binding',
  },
  collected: { Encap: { table: 'Chassis', column: 'encaps' } },
};

export interface SwitchIds {
  readonly name: string;
  readonly nb: Uuid;
  readonly datapath: Uuid;
}

export interface PortIds {
  readonly name: string;
  readonly nb: Uuid;
  readonly binding: Uuid;
}

export interface PortWish {
  readonly addresses?: readonly string[];
  readonly portSecurity?: readonly string[];
  readonly type?: string;
  readonly options?: Readonly<Record<string, string>>;
  readonly enabled?: boolean;
  readonly externalIds?: Readonly<Record<string, string>>;
}

/** Both databases in memory, with what ovn-nbctl and ovn-northd would have written. */
export class World {
  readonly nb = new MemoryDatabase('OVN_Northbound', northboundTables);
  readonly sb = new MemoryDatabase('OVN_Southbound', southboundTables, southboundRules);
  readonly #nbGlobal = newUuid();
  readonly #sbGlobal = newUuid();
  #keys = 0;

  constructor() {
    this.setNbCfg(0);
  }

  /** As `ovn-nbctl sync` and northd after it. */
  setNbCfg(nbCfg: number): void {
    this.nb.put('nbGlobal', { nb_cfg: nbCfg }, this.#nbGlobal);
    this.sb.put('sbGlobal', { nb_cfg: nbCfg }, this.#sbGlobal);
  }

  setNorthboundNbCfg(nbCfg: number): void {
    this.nb.put('nbGlobal', { nb_cfg: nbCfg }, this.#nbGlobal);
  }

  setSouthboundNbCfg(nbCfg: number): void {
    this.sb.put('sbGlobal', { nb_cfg: nbCfg }, this.#sbGlobal);
  }

  addSwitch(name: string, externalIds: Readonly<Record<string, string>> = {}): SwitchIds {
    this.#keys += 1;
    const nb = this.nb.put('logicalSwitch', { name, external_ids: new Map(Object.entries(externalIds)) });
    const external_ids = new Map([
      ['logical-switch', nb],
      ['name', name],
    ]);
    const datapath = this.sb.put('datapathBinding', { tunnel_key: this.#keys, external_ids });
    this.sb.put('multicastGroup', { datapath, name: '_MC_flood', tunnel_key: 32_768 });
    return { name, nb, datapath };
  }

  addPort(logicalSwitch: SwitchIds, name: string, wish: PortWish = {}): PortIds {
    const [port] = this.addPorts(logicalSwitch, new Map([[name, wish]]));
    if (port === undefined) throw new Error('no port');
    return port;
  }

  /** Several by name, all in one change of each database. */
  addPorts(logicalSwitch: SwitchIds, wishes: ReadonlyMap<string, PortWish>): readonly PortIds[] {
    const { nb: owner, datapath } = logicalSwitch;
    const ports = Array.from(wishes, ([name, wish]) => {
      this.#keys += 1;
      return { name, wish, key: this.#keys, nb: newUuid(), binding: newUuid() };
    });
    const optionsOf = ({ options = {} }: PortWish) => new Map(Object.entries(options));
    this.nb.change((contents) => {
      for (const { name, wish, nb } of ports) {
        this.nb.set(contents, 'logicalSwitchPort', nb, {
          name,
          type: wish.type ?? '',
          options: optionsOf(wish),
          addresses: wish.addresses ?? [],
          port_security: wish.portSecurity ?? [],
          enabled: wish.enabled,
          external_ids: new Map(Object.entries(wish.externalIds ?? {})),
        });
      }
      const before = this.nb.tables.logicalSwitch.get(owner)?.ports ?? [];
      this.nb.set(contents, 'logicalSwitch', owner, { ports: [...before, ...ports.map(({ nb }) => nb)] });
    });
    this.sb.change((contents) => {
      for (const { name, wish, key, binding } of ports) {
        this.sb.set(contents, 'portBinding', binding, {
          logical_port: name,
          type: wish.type ?? '',
          options: optionsOf(wish),
          datapath,
          tunnel_key: key,
          up: false,
        });
      }
      for (const group of this.sb.tables.multicastGroup) {
        if (group.datapath !== datapath) continue;
        const members = [...group.ports, ...ports.map(({ binding }) => binding)];
        this.sb.set(contents, 'multicastGroup', group._uuid, { ports: members });
      }
    });
    return ports.map(({ name, nb, binding }) => ({ name, nb, binding }));
  }

  removePort(port: PortIds): void {
    for (const row of this.nb.tables.logicalSwitch) {
      const ports = row.ports.filter((uuid) => uuid !== port.nb);
      if (ports.length !== row.ports.length) this.nb.put('logicalSwitch', { ports }, row._uuid);
    }
    this.nb.remove('logicalSwitchPort', port.nb);
    this.sb.remove('portBinding', port.binding);
  }

  /** A chassis with a vanilla ovn-controller. */
  addVanillaChassis(name: string, ip: string): Uuid {
    const encap = newUuid();
    const chassis = newUuid();
    this.sb.change((contents) => {
      this.sb.set(contents, 'encap', encap, { type: 'geneve', ip, chassis_name: name });
      this.sb.set(contents, 'chassis', chassis, { name, hostname: name, encaps: [encap] });
    });
    this.sb.put('chassisPrivate', { name, chassis, nb_cfg: 0 });
    return chassis;
  }

  /** The Port_Binding row. */
  binding(port: PortIds) {
    return this.sb.tables.portBinding.get(port.binding);
  }

  chassis(name: string) {
    return [...this.sb.tables.chassis].find((row) => row.name === name);
  }

  chassisPrivate(name: string) {
    return [...this.sb.tables.chassisPrivate].find((row) => row.name === name);
  }

  chassisOf(port: PortIds): string | undefined {
    const uuid = this.binding(port)?.chassis;
    return uuid === undefined ? undefined : this.sb.tables.chassis.get(uuid)?.name;
  }
}
