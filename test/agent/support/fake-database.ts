import type { Uuid } from '../../../common/addresses.js';
import type { TableSpec } from '../../../ovsdb/columns.js';
import type { DatabaseStatus, DatabaseUpdate, Table } from '../../../ovsdb/database.js';
import { NotConnectedError, TransactionError } from '../../../ovsdb/errors.js';
import type { Json } from '../../../ovsdb/json.js';
import type { Lock } from '../../../ovsdb/lock.js';
import type { Operation, OperationResult } from '../../../ovsdb/operations.js';
import { columnOf, decodeValue } from '../../../ovsdb/values.js';
import {
  type BridgeRow,
  type InterfaceRow,
  type OpenVswitchRow,
  type PortRow,
  type VswitchDatabase,
  type VswitchTables,
  vswitchTables,
} from '../../../agent/vswitch/tables.js';

type AnyRow = Readonly<Record<string, unknown>> & { readonly _uuid: Uuid };

class FakeTable<R extends AnyRow> implements Table<R> {
  readonly rows = new Map<Uuid, R>();

  get size(): number {
    return this.rows.size;
  }

  get(uuid: Uuid): R | undefined {
    return this.rows.get(uuid);
  }

  has(uuid: Uuid): boolean {
    return this.rows.has(uuid);
  }

  [Symbol.iterator](): Iterator<R> {
    return this.rows.values();
  }
}

class FakeLock implements Lock {
  readonly name = 'ovs_vswitchd';
  readonly #listeners = new Set<(held: boolean) => void>();
  #held = true;

  get held(): boolean {
    return this.#held;
  }

  set(held: boolean): void {
    this.#held = held;
    for (const listener of this.#listeners) listener(held);
  }

  onChange(listener: (held: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  release(): void {
    this.set(false);
  }
}

const identity = (text: string): string => text;

/** The local Open_vSwitch database in memory, with what `ovs-vsctl` does to it; it carries out transactions. */
export class FakeDatabase implements VswitchDatabase {
  readonly name = 'Open_vSwitch';
  readonly tables = {
    openVswitch: new FakeTable<OpenVswitchRow>(),
    bridge: new FakeTable<BridgeRow>(),
    port: new FakeTable<PortRow>(),
    interface: new FakeTable<InterfaceRow>(),
  };
  readonly vswitchdLock = new FakeLock();
  readonly transactions: (readonly Operation[])[] = [];
  /** Operations that were carried out, as `Interface.ofport` and the like. */
  readonly writes: string[] = [];
  connected = true;
  readonly #updateListeners = new Set<(update: DatabaseUpdate<VswitchTables>) => void>();
  readonly #statusListeners = new Set<(status: DatabaseStatus) => void>();
  #nextUuid = 1;

  get status(): DatabaseStatus {
    return {
      state: this.connected ? 'connected' : 'backoff',
      remote: 'unix:/fake',
      sinceMs: 0,
      populated: true,
      reconnects: 0,
    };
  }

  hasColumn(): boolean {
    return true;
  }

  onUpdate(listener: (update: DatabaseUpdate<VswitchTables>) => void): () => void {
    this.#updateListeners.add(listener);
    return () => void this.#updateListeners.delete(listener);
  }

  onStatus(listener: (status: DatabaseStatus) => void): () => void {
    this.#statusListeners.add(listener);
    return () => void this.#statusListeners.delete(listener);
  }

  populated(): Promise<void> {
    return Promise.resolve();
  }

  lock(): Lock {
    return this.vswitchdLock;
  }

  setConnected(connected: boolean): void {
    this.connected = connected;
    for (const listener of this.#statusListeners) listener(this.status);
  }

  transact(operations: readonly Operation[]): Promise<readonly OperationResult[]> {
    if (!this.connected) return Promise.reject(new NotConnectedError('no session', { sent: false }));
    if (operations.some(({ op }) => op === 'assert') && !this.vswitchdLock.held) {
      return Promise.reject(new TransactionError('not owner', undefined, 0));
    }
    this.transactions.push(operations);
    const names = new Map<string, Uuid>();
    for (const operation of operations) {
      if (operation.op === 'insert' && operation['uuid-name'] !== undefined) {
        names.set(operation['uuid-name'], this.#uuid());
      }
    }
    for (const operation of operations) this.#carryOut(operation, names);
    this.notify();
    return Promise.resolve(operations.map(() => ({})));
  }

  /** ovs-vsctl init with the given external_ids. */
  init(externalIds: Readonly<Record<string, string>>): void {
    const _uuid = this.#uuid();
    this.tables.openVswitch.rows.set(_uuid, {
      _uuid,
      bridges: [],
      external_ids: new Map(Object.entries(externalIds)),
      next_cfg: 0,
      cur_cfg: 0,
      ovs_version: undefined,
      datapath_types: [],
      iface_types: [],
    });
    this.notify();
  }

  get root(): OpenVswitchRow {
    const [row] = this.tables.openVswitch;
    if (row === undefined) throw new Error('init() comes first');
    return row;
  }

  setRoot(values: Partial<OpenVswitchRow>): void {
    this.tables.openVswitch.rows.set(this.root._uuid, { ...this.root, ...values });
    this.notify();
  }

  setExternalIds(externalIds: Readonly<Record<string, string>>): void {
    this.setRoot({ external_ids: new Map(Object.entries(externalIds)) });
  }

  addBridge(name: string, otherConfig: Readonly<Record<string, string>> = {}): void {
    const _uuid = this.#uuid();
    this.tables.bridge.rows.set(_uuid, {
      _uuid,
      name,
      datapath_type: '',
      ports: [],
      fail_mode: undefined,
      other_config: new Map(Object.entries(otherConfig)),
      external_ids: new Map(),
    });
    this.setRoot({ bridges: [...this.root.bridges, _uuid] });
    this.addPort(name, name, { type: 'internal' });
  }

  /** ovs-vsctl add-port with the given columns of the Interface; next_cfg goes up. */
  addPort(bridgeName: string, name: string, values: Partial<InterfaceRow> = {}): void {
    const bridge = [...this.tables.bridge].find((row) => row.name === bridgeName);
    if (bridge === undefined) throw new Error(`no bridge ${bridgeName}`);
    const interfaceUuid = this.#uuid();
    const portUuid = this.#uuid();
    this.tables.interface.rows.set(interfaceUuid, { ...this.#newInterface(interfaceUuid, name), ...values });
    this.tables.port.rows.set(portUuid, { _uuid: portUuid, name, interfaces: [interfaceUuid] });
    this.tables.bridge.rows.set(bridge._uuid, { ...bridge, ports: [...bridge.ports, portUuid] });
    this.setRoot({ next_cfg: this.root.next_cfg + 1 });
  }

  plug(name: string, ifaceId: string, values: Partial<InterfaceRow> = {}): void {
    this.addPort('br-int', name, { ...values, external_ids: new Map([['iface-id', ifaceId]]) });
  }

  delPort(name: string): void {
    const port = [...this.tables.port].find((row) => row.name === name);
    if (port === undefined) return;
    for (const uuid of port.interfaces) this.tables.interface.rows.delete(uuid);
    this.tables.port.rows.delete(port._uuid);
    for (const bridge of [...this.tables.bridge]) {
      const ports = bridge.ports.filter((uuid) => uuid !== port._uuid);
      this.tables.bridge.rows.set(bridge._uuid, { ...bridge, ports });
    }
    this.setRoot({ next_cfg: this.root.next_cfg + 1 });
  }

  interface(name: string): InterfaceRow {
    const row = [...this.tables.interface].find((each) => each.name === name);
    if (row === undefined) throw new Error(`no interface ${name}`);
    return row;
  }

  setInterface(name: string, values: Partial<InterfaceRow>): void {
    const row = this.interface(name);
    this.tables.interface.rows.set(row._uuid, { ...row, ...values });
    this.notify();
  }

  notify(): void {
    for (const listener of this.#updateListeners) listener({ changes: {}, initial: false });
  }

  #uuid(): Uuid {
    return `00000000-0000-4000-8000-${String(this.#nextUuid++).padStart(12, '0')}` as Uuid;
  }

  #newInterface(_uuid: Uuid, name: string): InterfaceRow {
    const missing = Object.fromEntries(
      Object.entries(vswitchTables.interface.columns).map(([column, spec]) => [column, spec.missing]),
    );
    return { ...(missing as Omit<InterfaceRow, '_uuid'>), _uuid, name };
  }

  #tableOf(name: string): { readonly spec: TableSpec; readonly table: FakeTable<AnyRow> } {
    for (const key of ['openVswitch', 'bridge', 'port', 'interface'] as const) {
      /* Operations name their columns at run time; what they write is decoded by the table's spec, which keeps the rows' types. */
      const table = this.tables[key] as unknown as FakeTable<AnyRow>;
      if (vswitchTables[key].name === name) return { spec: vswitchTables[key], table };
    }
    throw new Error(`no table ${name}`);
  }

  #carryOut(operation: Operation, names: ReadonlyMap<string, Uuid>): void {
    if (operation.op === 'insert') {
      const { spec, table } = this.#tableOf(operation.table);
      const _uuid = names.get(operation['uuid-name'] ?? '') ?? this.#uuid();
      const missing = Object.fromEntries(
        Object.entries(spec.columns).map(([name, column]) => [name, column.missing]),
      );
      table.rows.set(_uuid, { ...missing, ...this.#decodeRow(spec, operation.row, names), _uuid });
    }
    if (operation.op === 'update') {
      const { spec, table } = this.#tableOf(operation.table);
      const row = table.rows.get(uuidOf(operation.where));
      if (row === undefined) return;
      for (const column of Object.keys(operation.row)) this.writes.push(`${operation.table}.${column}`);
      table.rows.set(row._uuid, { ...row, ...this.#decodeRow(spec, operation.row, names) });
    }
    if (operation.op === 'mutate') this.#mutate(operation, names);
  }

  #mutate(operation: Extract<Operation, { op: 'mutate' }>, names: ReadonlyMap<string, Uuid>): void {
    const { spec, table } = this.#tableOf(operation.table);
    for (const [column, mutator, wire] of operation.mutations) {
      const row = table.rows.get(uuidOf(operation.where));
      if (row === undefined) return;
      this.writes.push(`${operation.table}.${column}`);
      const before = row[column];
      if (before instanceof Map) {
        const after = new Map<unknown, unknown>(before);
        const [kind, elements] = wire as [string, readonly Json[]];
        for (const element of elements) {
          if (mutator === 'delete') after.delete(element);
          else if (kind === 'map' && !after.has((element as [Json, Json])[0]))
            after.set(...(element as [Json, Json]));
        }
        table.rows.set(row._uuid, { ...row, [column]: after });
      } else {
        const added = this.#decode(spec, column, wire, names) as readonly unknown[];
        table.rows.set(row._uuid, { ...row, [column]: [...(before as readonly unknown[]), ...added] });
      }
    }
  }

  #decodeRow(spec: TableSpec, row: Readonly<Record<string, Json>>, names: ReadonlyMap<string, Uuid>): object {
    return Object.fromEntries(
      Object.entries(row).map(([column, wire]) => [column, this.#decode(spec, column, wire, names)]),
    );
  }

  #decode(spec: TableSpec, column: string, wire: Json, names: ReadonlyMap<string, Uuid>): unknown {
    const resolved = JSON.parse(
      JSON.stringify(wire).replace(
        /\["named-uuid","([^"]+)"\]/g,
        (_all, name: string) => `["uuid","${names.get(name) ?? ''}"]`,
      ),
    ) as Json;
    const spelled = columnOf(spec, column);
    const decoded = spelled && decodeValue(spelled, resolved, identity);
    if (decoded === undefined) throw new Error(`${spec.name}.${column} can not hold ${JSON.stringify(wire)}`);
    return decoded.value;
  }
}

function uuidOf(where: readonly Json[]): Uuid {
  const [condition] = where;
  const value: unknown = Array.isArray(condition) ? condition[2] : undefined;
  const uuid: unknown = Array.isArray(value) ? value[1] : undefined;
  if (typeof uuid !== 'string') throw new Error(`not a condition on _uuid: ${JSON.stringify(where)}`);
  return uuid as Uuid;
}
