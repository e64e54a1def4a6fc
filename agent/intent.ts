import { type IpPrefix, type Mac, macFromBytes, parseIp } from '../common/addresses.js';
import { errorMessage } from '../common/errors.js';
import { v1 } from '../common/proto.js';
import type { Neighbour } from '../generated/proto/iovn/v1/Neighbour.js';
import type { FdbEntry } from '../generated/proto/iovn/v1/FdbEntry.js';
import type { Port } from '../generated/proto/iovn/v1/Port.js';
import type { PortSecurity } from '../generated/proto/iovn/v1/PortSecurity.js';
import type { RemoteChassis } from '../generated/proto/iovn/v1/RemoteChassis.js';
import type { Switch } from '../generated/proto/iovn/v1/Switch.js';
import type { Update, UpdateInput } from '../generated/proto/iovn/v1/Update.js';
import { type ResourceProblem, type ResourceRef, resourceKey } from './resources.js';

export interface SwitchIntent {
  /** ResourceId.name, to which ports refer. */
  readonly id: string;
  /** Logical_Switch.name */
  readonly name: string;
  readonly datapathKey: number;
  /** How long a learnt MAC may be unused, 0 = for ever. */
  readonly fdbAgeThresholdSeconds: number;
  /** Its ports may send frames with VLAN tags. */
  readonly vlanPassthru: boolean;
  /** Uuid of the Logical_Switch row. */
  readonly nbUuid: string;
}

/** One entry of Logical_Switch_Port.port_security. */
export interface PortSecurityEntry {
  readonly mac: Mac;
  readonly addresses: readonly IpPrefix[];
}

/** An address that the switch answers ARP requests or neighbour solicitations for. */
export interface NeighbourIntent {
  /** 4 or 16 bytes, network order. */
  readonly address: Uint8Array;
  readonly mac: Mac;
}

/** A learnt MAC (proto/iovn.proto FdbEntry). */
export interface FdbEntryIntent {
  readonly switchId: string;
  readonly mac: Mac;
  readonly portKey: number;
}

export interface PortIntent {
  /** Port_Binding.logical_port */
  readonly name: string;
  readonly switchId: string;
  readonly portKey: number;
  /** Logical_Switch_Port.type; '' is a VIF. */
  readonly type: string;
  readonly enabled: boolean;
  readonly macs: readonly Mac[];
  readonly portSecurity: readonly PortSecurityEntry[];
  readonly multicastGroups: readonly number[];
  /** The source MACs of what it sends are learnt. */
  readonly learnsMacs: boolean;
  readonly neighbours: readonly NeighbourIntent[];
  /** Chassis.name of where it is bound, '' when it is not. */
  readonly chassis: string;
  /** Chassis.names of where it is bound in addition (live migration). */
  readonly additionalChassis: readonly string[];
  /** Those of them where it is blocked until it sends one of `activatedBy`. */
  readonly awaitingChassis: readonly string[];
  readonly activatedBy: readonly string[];
  /** The port's addresses, of which a frame of `activatedBy` speaks; empty for a port without a strategy. */
  readonly activating: readonly NeighbourIntent[];
  /** Addresses of its chassis that its tunnel packets go to and come from, 4 or 16 bytes; any where there is none. */
  readonly encapIps: readonly Uint8Array[];
  /** Uuid of the Port_Binding row. */
  readonly binding: string;
  /** Uuid of the Logical_Switch_Port row. */
  readonly nbUuid: string;
  /** Name of the port in which it is nested, '' when it has an interface of its own. */
  readonly parent: string;
  /** Its VLAN on the parent's interface, or of a localnet port on its uplink; 0 when it has none. */
  readonly tag: number;
  /** The physical network of a localnet port. */
  readonly networkName: string;
  /** The type of a localnet port's tag. */
  readonly ethtype: number;
  /** What a physical network is told of the port; without an IPv4 address `address` is empty. */
  readonly announced: NeighbourIntent | undefined;
}

/** A tunnel endpoint of a chassis (ovn-sb(5) Encap). */
export interface EncapIntent {
  /** "geneve", "vxlan" ... */
  readonly type: string;
  /** 4 or 16 bytes, network order. */
  readonly ip: Uint8Array;
  /** Encap.options:csum: it wants an outer UDP checksum on what it is sent. */
  readonly checksum: boolean;
  /** Encap.options:is_default: of several addresses the one to use where nothing else is said. */
  readonly isDefault: boolean;
}

/** Another chassis that hosts ports of this node's switches. */
export interface ChassisIntent {
  /** Chassis.name */
  readonly name: string;
  /** Sorted as the controller sends them: by type, then address. */
  readonly encaps: readonly EncapIntent[];
}

interface RawResource extends ResourceRef {
  readonly body: Uint8Array;
}

/** What the controller wants of this node. Immutable: `applyUpdate` makes the next one. */
export interface Intent {
  /** Update.generation, decimal. */
  readonly generation: string;
  /** NB_Global.nb_cfg, decimal. */
  readonly nbCfg: string;
  readonly switches: ReadonlyMap<string, SwitchIntent>;
  readonly ports: ReadonlyMap<string, PortIntent>;
  /** By Chassis.name; never this node's own. */
  readonly chassis: ReadonlyMap<string, ChassisIntent>;
  /** Learnt MACs by ResourceId.name. The same object as long as nothing of it changes. */
  readonly fdb: ReadonlyMap<string, FdbEntryIntent>;
  /** Resources that are left out, by `resourceKey`. */
  readonly problems: ReadonlyMap<string, ResourceProblem>;
  /** Every resource as it came, by `resourceKey`: for the cache. */
  readonly raw: ReadonlyMap<string, RawResource>;
}

const maximumDatapathKey = 2 ** 24 - 1;
const maximumPortKey = 2 ** 15 - 1;
const maximumGroupKey = 2 ** 16 - 1;
const maximumTag = 4095;

export const emptyIntent: Intent = {
  generation: '0',
  nbCfg: '0',
  switches: new Map(),
  ports: new Map(),
  chassis: new Map(),
  fdb: new Map(),
  problems: new Map(),
  raw: new Map(),
};

class InvalidResource extends Error {}

function requireKey(what: string, value: number, maximum: number): number {
  if (value >= 1 && value <= maximum) return value;
  throw new InvalidResource(`${what} ${value} is not in 1..${maximum}`);
}

function readMac(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new InvalidResource(`a MAC address of ${bytes.length} bytes`);
  return macFromBytes(bytes);
}

function readPortSecurity({ mac, addresses }: PortSecurity): PortSecurityEntry {
  const prefixes = addresses.map(({ address, prefix_length: prefixLength }) => {
    const usable = address.length === 4 || address.length === 16;
    if (!usable || prefixLength > address.length * 8) {
      throw new InvalidResource(`an IP prefix of ${address.length} bytes and length ${prefixLength}`);
    }
    return { address: Uint8Array.from(address), prefixLength };
  });
  return { mac: readMac(mac), addresses: prefixes };
}

function readNeighbour({ address, mac }: Neighbour): NeighbourIntent {
  if (address.length !== 4 && address.length !== 16) {
    throw new InvalidResource(`an IP address of ${address.length} bytes`);
  }
  return { address: Uint8Array.from(address), mac: readMac(mac) };
}

function readAnnounced({ address, mac }: Neighbour): NeighbourIntent {
  if (address.length !== 4 && address.length !== 0) {
    throw new InvalidResource(`an IPv4 address of ${address.length} bytes`);
  }
  return { address: Uint8Array.from(address), mac: readMac(mac) };
}

function readSwitch(id: string, body: Switch): SwitchIntent {
  return {
    id,
    name: body.name,
    datapathKey: requireKey('datapath key', body.datapath_key, maximumDatapathKey),
    fdbAgeThresholdSeconds: body.fdb_age_threshold_seconds,
    vlanPassthru: body.vlan_passthru,
    nbUuid: body.nb_uuid,
  };
}

function readPort(name: string, body: Port): PortIntent {
  return {
    name,
    switchId: body.switch,
    portKey: requireKey('port key', body.port_key, maximumPortKey),
    type: body.type,
    enabled: body.enabled,
    macs: [...new Set(body.macs.map(readMac))],
    portSecurity: body.port_security.map(readPortSecurity),
    multicastGroups: [
      ...new Set(body.multicast_groups.map((key) => requireKey('group key', key, maximumGroupKey))),
    ],
    neighbours: body.neighbours.map(readNeighbour),
    learnsMacs: body.learns_macs,
    chassis: body.chassis,
    additionalChassis: body.additional_chassis,
    awaitingChassis: body.awaiting_chassis,
    activatedBy: body.activated_by,
    activating: body.activating.map(readNeighbour),
    encapIps: body.encap_ips.flatMap((text) => parseIp(text) ?? []),
    binding: body.binding,
    nbUuid: body.nb_uuid,
    parent: body.parent,
    tag: body.tag === 0 ? 0 : requireKey('tag', body.tag, maximumTag),
    networkName: body.network_name,
    ethtype: body.ethtype,
    announced: body.announced === null ? undefined : readAnnounced(body.announced),
  };
}

/** One whose address makes no sense is left out: the others may do. */
export function readEncaps(
  encaps: readonly { type: string; ip: string; options: Readonly<Record<string, string>> }[],
): readonly EncapIntent[] {
  return encaps.flatMap(({ type, ip: text, options }) => {
    const ip = parseIp(text);
    const [checksum, isDefault] = [options['csum'] === 'true', options['is_default'] === 'true'];
    return ip === undefined ? [] : [{ type, ip, checksum, isDefault }];
  });
}

function readChassis(name: string, { encaps }: RemoteChassis): ChassisIntent {
  const read = readEncaps(encaps);
  if (read.length < encaps.length && read.length === 0) {
    throw new InvalidResource(`no usable address among ${encaps.map(({ ip }) => ip).join(', ')}`);
  }
  return { name, encaps: read };
}

function readFdbEntry(body: FdbEntry): FdbEntryIntent {
  /* ovn-sb(5) allows more than a port has: then there is no such port. */
  const portKey = requireKey('port key', body.port_key, maximumDatapathKey);
  return { switchId: body.switch, mac: readMac(body.mac), portKey };
}

class Draft {
  readonly switches: Map<string, SwitchIntent>;
  readonly ports: Map<string, PortIntent>;
  readonly chassis: Map<string, ChassisIntent>;
  readonly problems: Map<string, ResourceProblem>;
  readonly raw: Map<string, RawResource>;
  fdb: ReadonlyMap<string, FdbEntryIntent>;
  #ownFdb: Map<string, FdbEntryIntent> | undefined;

  constructor(base: Intent) {
    this.fdb = base.fdb;
    this.switches = new Map(base.switches);
    this.ports = new Map(base.ports);
    this.chassis = new Map(base.chassis);
    this.problems = new Map(base.problems);
    this.raw = new Map(base.raw);
  }

  remove(id: ResourceRef): void {
    if (id.kind === 'Switch') this.switches.delete(id.name);
    if (id.kind === 'Port') this.ports.delete(id.name);
    if (id.kind === 'Chassis') this.chassis.delete(id.name);
    if (id.kind === 'FdbEntry' && this.fdb.has(id.name)) this.#changeFdb().delete(id.name);
    this.problems.delete(resourceKey(id));
    this.raw.delete(resourceKey(id));
  }

  /** A resource that can't be used replaces what was known of it all the same: the old contents are not wanted any more. */
  set(resource: RawResource): void {
    const { kind, name, body } = resource;
    this.remove(resource);
    this.raw.set(resourceKey(resource), resource);
    try {
      if (kind === 'Switch')
        this.switches.set(name, readSwitch(name, v1.Switch.deserialize(Buffer.from(body))));
      else if (kind === 'Port') this.ports.set(name, readPort(name, v1.Port.deserialize(Buffer.from(body))));
      else if (kind === 'Chassis')
        this.chassis.set(name, readChassis(name, v1.RemoteChassis.deserialize(Buffer.from(body))));
      else if (kind === 'FdbEntry')
        this.#changeFdb().set(name, readFdbEntry(v1.FdbEntry.deserialize(Buffer.from(body))));
      else this.#report(resource, 'unsupported_kind', `this agent does not know resources of kind ${kind}`);
    } catch (error) {
      this.#report(resource, 'invalid', errorMessage(error));
    }
  }

  /** Copied at the first change. */
  #changeFdb(): Map<string, FdbEntryIntent> {
    this.#ownFdb ??= new Map(this.fdb);
    this.fdb = this.#ownFdb;
    return this.#ownFdb;
  }

  #report({ kind, name }: ResourceRef, code: ResourceProblem['code'], message: string): void {
    this.problems.set(resourceKey({ kind, name }), { kind, name, code, message });
  }
}

/** The intent after an Update. A resource that can't be decoded or is of an unknown kind is reported in `problems` and left out. */
export function applyUpdate(intent: Intent, update: Update): Intent {
  const draft = new Draft(update.snapshot ? emptyIntent : intent);
  for (const id of update.removed) draft.remove(id);
  for (const { id, body } of update.changed) {
    if (id) draft.set({ kind: id.kind, name: id.name, body: Uint8Array.from(body) });
  }
  const { switches, ports, chassis, fdb, problems, raw } = draft;
  return {
    generation: update.generation,
    nbCfg: update.nb_cfg,
    switches,
    ports,
    chassis,
    fdb,
    problems,
    raw,
  };
}

/** The whole intent as one snapshot: applying it to any intent gives this one. */
export function toSnapshot(intent: Intent): UpdateInput {
  return {
    generation: intent.generation,
    nb_cfg: intent.nbCfg,
    snapshot: true,
    changed: [...intent.raw.values()].map(({ kind, name, body }) => ({ id: { kind, name }, body })),
    removed: [],
  };
}
