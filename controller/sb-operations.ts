import { parseIp, type Uuid } from '../common/addresses.js';
import {
  byUuid,
  insert,
  mutate,
  namedUuid,
  type Operation,
  remove,
  update,
  where,
} from '../ovsdb/operations.js';
import type { RowValues } from '../ovsdb/columns.js';
import { activatedKey, activatedWith } from './activation.js';
import type { Decision, Plug } from './claims.js';
import type { Model } from './model.js';
import { agentIdKey, type Chassis, type PortBinding, southboundTables as tables } from './southbound.js';

/** What an agent says of its hypervisor, checked (ovn-sb(5) Chassis). */
export interface ChassisConfig {
  readonly name: string;
  readonly hostname: string;
  readonly encaps: readonly {
    readonly type: string;
    readonly ip: string;
    readonly options: ReadonlyMap<string, string>;
  }[];
  readonly otherConfig: ReadonlyMap<string, string>;
  readonly transportZones: readonly string[];
}

/**
 * What ovn-controller says of its abilities (OVN's include/ovn/features.h). One chassis that lacks one keeps northd from relying on
 * it anywhere: without `fdb-timestamp` no learnt MAC ages, and most of the others are about logical flows, which an
 * agent does not read, so that the fleet's ovn-controllers are not held back.
 */
const features: readonly string[] = [
  'port-up-notif',
  'ct-no-masked-label',
  'mac-binding-timestamp',
  'ovn-ct-lb-related',
  'fdb-timestamp',
  'ls-dpg-column',
  'ct-commit-nat-v2',
  'ct-commit-to-zone',
  'ct-next-zone',
  'ovn-sample-with-registers',
];

/** Keys of Chassis.other_config and external_ids that are ours to remove; others there belong to somebody else. */
const ownKeys = new Set([
  ...features,
  agentIdKey,
  'datapath-type',
  'iface-types',
  'is-interconn',
  'ovn-bridge-mappings',
  'ovn-chassis-mac-mappings',
  'ovn-cms-options',
  'ovn-monitor-all',
]);

const encapTypes = new Set(['geneve', 'stt', 'vxlan']);

export interface ChassisPlan {
  readonly operations: readonly Operation[];
  /** Why part of it can't be written, for people. */
  readonly problems: readonly string[];
  /** The chassis' row is somebody else's so far, such as one that a vanilla ovn-controller left. */
  readonly adopted: boolean;
}

export interface ChassisWish {
  readonly config: ChassisConfig;
  readonly agentId: string;
  /** To acknowledge; undefined = leave what is there. */
  readonly nbCfg: number | undefined;
  readonly nowMs: number;
  /** Prefix of the uuid-names, unique within the transaction; an RFC 7047 <id>. */
  readonly prefix: string;
}

/** Whatever the rows Chassis, Encap and Chassis_Private of one chassis lack. Empty when they are right. */
export function chassisOperations(model: Model, wish: ChassisWish): ChassisPlan {
  const { config } = wish;
  const former = formerNames(model, wish);
  const operations = [...former].flatMap((name) => removeChassisOperations(model, name));
  const problems: string[] = [];
  const encaps = encapOperations(model, wish, former, operations, problems);
  const existing = model.chassis(config.name);
  if (encaps.length === 0) {
    problems.push(`chassis ${config.name} has no usable tunnel endpoint (ovn-encap-type, ovn-encap-ip)`);
    if (existing === undefined) return { operations: [], problems, adopted: false };
  }
  let chassis: Uuid;
  if (existing === undefined) {
    chassis = namedUuid(`${wish.prefix}_chassis`);
    operations.push(insertChassis(wish, encaps));
  } else {
    chassis = existing._uuid;
    operations.push(...updateChassis(existing, wish, encaps.length === 0 ? existing.encaps : encaps));
  }
  operations.push(...privateOperations(model, wish, chassis));
  const adopted = existing !== undefined && !existing.external_ids.has(agentIdKey);
  return { operations, problems, adopted };
}

function encapOperations(
  model: Model,
  { config, prefix }: ChassisWish,
  former: ReadonlySet<string>,
  operations: Operation[],
  problems: string[],
): readonly Uuid[] {
  const uuids = new Map<string, Uuid>();
  for (const [position, { type, ip, options }] of config.encaps.entries()) {
    const row = model.encap(type, ip);
    if (uuids.has(`${type} ${ip}`)) continue;
    if (!encapTypes.has(type) || parseIp(ip) === undefined) {
      problems.push(`tunnel endpoint ${type} ${ip} is not valid`);
    } else if (row === undefined || former.has(row.chassis_name)) {
      const name = `${prefix}_encap_${position}`;
      operations.push(insert(tables.encap, { type, ip, options, chassis_name: config.name }, name));
      uuids.set(`${type} ${ip}`, namedUuid(name));
    } else if (row.chassis_name !== config.name) {
      problems.push(`tunnel endpoint ${type} ${ip} already belongs to chassis ${row.chassis_name}`);
    } else {
      if (!sameMap(row.options, options))
        operations.push(update(tables.encap, byUuid(row._uuid), { options }));
      uuids.set(`${type} ${ip}`, row._uuid);
    }
  }
  return [...uuids.values()];
}

function insertChassis(wish: ChassisWish, encaps: readonly Uuid[]): Operation {
  const { config, prefix } = wish;
  const values = {
    name: config.name,
    hostname: config.hostname,
    encaps,
    transport_zones: config.transportZones,
    other_config: wantedConfig(config),
    external_ids: wantedExternalIds(wish),
  };
  return insert(tables.chassis, values, `${prefix}_chassis`);
}

function updateChassis(row: Chassis, wish: ChassisWish, encaps: readonly Uuid[]): readonly Operation[] {
  const { config } = wish;
  const operations: Operation[] = [];
  const values: RowValues<typeof tables.chassis> = {
    ...(row.hostname === config.hostname ? {} : { hostname: config.hostname }),
    ...(sameSet(row.encaps, encaps) ? {} : { encaps }),
    ...(sameSet(row.transport_zones, config.transportZones)
      ? {}
      : { transport_zones: config.transportZones }),
  };
  if (Object.keys(values).length > 0) operations.push(update(tables.chassis, byUuid(row._uuid), values));
  const otherConfig = wantedConfig(config);
  const externalIds = wantedExternalIds(wish);
  operations.push(
    ...mapOperations(row, 'other_config', otherConfig),
    ...mapOperations(row, 'external_ids', externalIds),
  );
  return operations;
}

/** Sets the wanted pairs and removes the others, except those whose keys are somebody else's. */
function mapOperations(
  row: Chassis,
  column: 'other_config' | 'external_ids',
  wanted: ReadonlyMap<string, string>,
): readonly Operation[] {
  const present = row[column];
  const set = new Map([...wanted].filter(([key, value]) => present.get(key) !== value));
  const gone = [...present.keys()].filter((key) => set.has(key) || (!wanted.has(key) && ownKeys.has(key)));
  if (set.size === 0 && gone.length === 0) return [];
  return [
    mutate(tables.chassis, byUuid(row._uuid), [
      { column, mutator: 'delete', value: gone },
      { column, mutator: 'insert', value: set },
    ]),
  ];
}

function wantedConfig(config: ChassisConfig): ReadonlyMap<string, string> {
  const wanted = new Map(config.otherConfig);
  for (const feature of features) wanted.set(feature, 'true');
  return wanted;
}

function wantedExternalIds({ config, agentId }: ChassisWish): ReadonlyMap<string, string> {
  return new Map([...wantedConfig(config), [agentIdKey, agentId]]);
}

function privateOperations(model: Model, wish: ChassisWish, chassis: Uuid): readonly Operation[] {
  const { name } = wish.config;
  const row = model.chassisPrivate(name);
  const acknowledge =
    wish.nbCfg !== undefined && wish.nbCfg !== row?.nb_cfg
      ? { nb_cfg: wish.nbCfg, nb_cfg_timestamp: wish.nowMs }
      : {};
  if (row === undefined) {
    return [insert(tables.chassisPrivate, { name, chassis, nb_cfg_timestamp: wish.nowMs, ...acknowledge })];
  }
  const values = { ...(row.chassis === chassis ? {} : { chassis }), ...acknowledge };
  if (Object.keys(values).length === 0) return [];
  return [update(tables.chassisPrivate, byUuid(row._uuid), values)];
}

/** Chassis of the same agent under other names: they hold the tunnel endpoints that it needs now. */
function formerNames(model: Model, { config, agentId }: ChassisWish): ReadonlySet<string> {
  const names = new Set([...model.chassisOfAgent(agentId)].map((chassis) => chassis.name));
  names.delete(config.name);
  return names;
}

/** Removes a chassis and releases its ports. Its Encap rows go with it: nothing else refers to them. */
export function removeChassisOperations(model: Model, name: string): readonly Operation[] {
  const operations: Operation[] = [];
  const chassis = model.chassis(name);
  if (chassis !== undefined) {
    for (const binding of model.bindingsAt(chassis._uuid)) operations.push(...leave(model, binding, chassis));
    operations.push(remove(tables.chassis, byUuid(chassis._uuid)));
  }
  const row = model.chassisPrivate(name);
  if (row !== undefined) operations.push(remove(tables.chassisPrivate, byUuid(row._uuid)));
  return operations;
}

function leave(model: Model, binding: PortBinding, chassis: Chassis): readonly Operation[] {
  if (binding.chassis === chassis._uuid) return releaseOperations(binding);
  const isTheirs = (uuid: Uuid) => model.sb.encap.get(uuid)?.chassis_name === chassis.name;
  return mutateAdditional(binding, {
    remove: [chassis._uuid],
    removeEncaps: binding.additional_encap.filter(isTheirs),
  });
}

/** Whatever one Port_Binding lacks to be as decided. */
export function bindingOperations(model: Model, decision: Decision): readonly Operation[] {
  const { binding, main, activated } = decision;
  const operations = [...additionalOperations(model, decision)];
  if (activated.length > 0) operations.push(activateOperation(binding, activated));
  if (main.kind === 'plug') operations.push(...claimOperations(binding, main.plug));
  if (main.kind === 'release') operations.push(...releaseOperations(binding));
  return operations;
}

/** Claims the port, or brings `up` and `encap` in line where it is claimed already. */
function claimOperations(binding: PortBinding, plug: Plug): readonly Operation[] {
  const { chassis } = plug;
  const claimed = binding.chassis === chassis;
  // A chassis that was an additional one has the port in place: it need not go down in between.
  const wasHere = claimed || (chassis !== undefined && binding.additional_chassis.includes(chassis));
  const up = wasHere && plug.installedBinding === binding._uuid;
  const values: RowValues<typeof tables.portBinding> = {
    ...(claimed ? {} : { chassis }),
    ...(binding.up === undefined || binding.up === up ? {} : { up }),
    ...(encapManagedByNorthd(binding) || binding.encap === plug.encap ? {} : { encap: plug.encap }),
  };
  return Object.keys(values).length === 0 ? [] : [update(tables.portBinding, asSeen(binding), values)];
}

function releaseOperations(binding: PortBinding): readonly Operation[] {
  const values: RowValues<typeof tables.portBinding> = {
    chassis: undefined,
    ...(binding.up === true ? { up: false } : {}),
    ...(encapManagedByNorthd(binding) || binding.encap === undefined ? {} : { encap: undefined }),
  };
  return [update(tables.portBinding, asSeen(binding), values)];
}

/** Only what concerns our chassis is changed, value by value: others may be a vanilla ovn-controller's. */
function additionalOperations(
  model: Model,
  { binding, additional, removeAdditional }: Decision,
): readonly Operation[] {
  const chassis = additional.flatMap((plug) => plug.chassis ?? []);
  const encaps = additional.flatMap((plug) => plug.encap ?? []);
  const names = new Set([...chassis, ...removeAdditional].map((uuid) => model.chassisName(uuid)));
  const isOld = (uuid: Uuid) => names.has(model.sb.encap.get(uuid)?.chassis_name) && !encaps.includes(uuid);
  return mutateAdditional(binding, {
    remove: removeAdditional,
    removeEncaps: binding.additional_encap.filter(isOld),
    add: chassis.filter((uuid) => !binding.additional_chassis.includes(uuid)),
    addEncaps: encaps.filter((uuid) => !binding.additional_encap.includes(uuid)),
  });
}

interface AdditionalChange {
  readonly remove?: readonly Uuid[];
  readonly removeEncaps?: readonly Uuid[];
  readonly add?: readonly Uuid[];
  readonly addEncaps?: readonly Uuid[];
}

function mutateAdditional(
  { _uuid }: PortBinding,
  { remove: gone = [], removeEncaps = [], add = [], addEncaps = [] }: AdditionalChange,
): readonly Operation[] {
  const mutations = (
    [
      ['additional_chassis', 'delete', gone],
      ['additional_encap', 'delete', removeEncaps],
      ['additional_chassis', 'insert', add],
      ['additional_encap', 'insert', addEncaps],
    ] as const
  ).flatMap(([column, mutator, value]) => (value.length === 0 ? [] : [{ column, mutator, value }]));
  return mutations.length === 0 ? [] : [mutate(tables.portBinding, byUuid(_uuid), mutations)];
}

/** Only while the options are as we know them: an ovn-controller may have activated the port elsewhere, and is not undone. */
function activateOperation(binding: PortBinding, names: readonly string[]): Operation {
  const asKnown = where(tables.portBinding, 'options', '==', binding.options);
  return mutate(
    tables.portBinding,
    [...byUuid(binding._uuid), asKnown],
    [
      { column: 'options', mutator: 'delete', value: [activatedKey] },
      {
        column: 'options',
        mutator: 'insert',
        value: new Map([[activatedKey, activatedWith(binding, names)]]),
      },
    ],
  );
}

/** Only while the port is bound as we believe: whoever else wrote in the meantime is not overwritten unseen. */
function asSeen(binding: PortBinding) {
  return [...byUuid(binding._uuid), where(tables.portBinding, 'chassis', '==', binding.chassis)];
}

/** options:requested-encap-ip makes northd write `encap`. */
function encapManagedByNorthd(binding: PortBinding): boolean {
  return (binding.options.get('requested-encap-ip') ?? '') !== '';
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  const wanted = new Set(b);
  return wanted.size === new Set(a).size && a.every((value) => wanted.has(value));
}

function sameMap(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}
