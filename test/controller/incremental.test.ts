import test from 'ava';
import fc from 'fast-check';

import type { Uuid } from '../../common/addresses.js';
import { ChassisStore } from '../../controller/chassis-store.js';
import { datapathIntent } from '../../controller/intent.js';
import { IntentStore } from '../../controller/intent-store.js';
import { Model, nothingDirty } from '../../controller/model.js';
import { NodeSession } from '../../controller/node-session.js';
import type { ResourceSet } from '../../controller/resource.js';
import { planUpdate } from '../../controller/update-plan.js';
import type { Update } from '../../generated/proto/iovn/v1/Update.js';
import { type PortIds, type SwitchIds, World } from './support/world.js';

const small = fc.nat({ max: 3 });
const addresses = fc.constantFrom(
  [],
  ['00:00:00:00:00:01'],
  ['00:00:00:00:00:02 10.0.0.2', 'unknown'],
  ['router'],
  ['dynamic'],
  ['nonsense'],
);
const steps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('addPort' as const), at: small, name: small, addresses }),
    fc.record({ kind: fc.constant('removePort' as const), at: small }),
    fc.record({ kind: fc.constant('movePort' as const), at: small, to: small }),
    fc.record({ kind: fc.constant('setAddresses' as const), at: small, addresses }),
    fc.record({ kind: fc.constant('toggle' as const), at: small }),
    fc.record({ kind: fc.constant('bind' as const), at: small, to: small }),
    fc.record({ kind: fc.constant('migrate' as const), at: small, to: small, activated: fc.boolean() }),
    fc.record({ kind: fc.constant('renameSwitch' as const), at: small, name: fc.string() }),
    fc.record({ kind: fc.constant('removeDatapath' as const), at: small }),
    fc.record({ kind: fc.constant('chassis' as const), at: small }),
    fc.record({ kind: fc.constant('encap' as const), at: small, to: small }),
    fc.record({ kind: fc.constant('zones' as const), at: small, to: small }),
    fc.record({ kind: fc.constant('routerMac' as const), at: small }),
    fc.record({ kind: fc.constant('groups' as const), at: small, key: small }),
    fc.record({ kind: fc.constant('send' as const), at: small }),
  ),
  { minLength: 10, maxLength: 60, size: 'max' },
);
type Step = (typeof steps extends fc.Arbitrary<infer T> ? T : never)[number];

/** A world that takes any step, sensible or not. */
class Scene {
  readonly world = new World();
  readonly switches: SwitchIds[] = [];
  readonly ports: PortIds[] = [];
  readonly chassis: Uuid[] = [];
  #names = 0;

  constructor() {
    for (const name of ['sw0', 'sw1', 'sw2']) this.switches.push(this.world.addSwitch(name));
    this.world.nb.put('logicalRouterPort', { name: 'lrp0', mac: '00:00:00:00:ff:00' });
  }

  do(step: Step): void {
    const { nb, sb } = this.world;
    const port = at(this.ports, step.at);
    const sw = at(this.switches, step.at);
    switch (step.kind) {
      case 'addPort': {
        const name = `lp${step.name}`;
        if (sw === undefined || this.ports.some((each) => each.name === name)) return;
        const options = { 'router-port': 'lrp0' };
        this.ports.push(this.world.addPort(sw, name, { addresses: step.addresses, options }));
        return;
      }
      case 'removePort':
        if (port === undefined) return;
        this.ports.splice(this.ports.indexOf(port), 1);
        this.world.removePort(port);
        return;
      case 'movePort': {
        const target = at(this.switches, step.to);
        if (port !== undefined && target) sb.put('portBinding', { datapath: target.datapath }, port.binding);
        return;
      }
      case 'setAddresses':
        if (port !== undefined) nb.put('logicalSwitchPort', { addresses: step.addresses }, port.nb);
        return;
      case 'toggle': {
        const enabled = nb.tables.logicalSwitchPort.get(port?.nb ?? ('' as Uuid))?.enabled;
        if (port !== undefined) nb.put('logicalSwitchPort', { enabled: enabled === false }, port.nb);
        return;
      }
      case 'bind':
        if (port !== undefined) sb.put('portBinding', { chassis: at(this.chassis, step.to) }, port.binding);
        return;
      case 'renameSwitch':
        if (sw !== undefined && nb.tables.logicalSwitch.has(sw.nb))
          nb.put('logicalSwitch', { name: step.name }, sw.nb);
        return;
      case 'migrate': {
        const to = this.chassis[step.to];
        const name = to && sb.tables.chassis.get(to)?.name;
        if (port === undefined || to === undefined) return;
        const options = new Map([['activation-strategy', 'rarp']]);
        if (step.activated && name) options.set('additional-chassis-activated', name);
        sb.put('portBinding', { additional_chassis: [to], options }, port.binding);
        return;
      }
      case 'removeDatapath':
        if (sw !== undefined && step.at === 2) sb.remove('datapathBinding', sw.datapath);
        return;
      case 'chassis': {
        const old = this.chassis[step.at];
        if (old !== undefined) sb.remove('chassis', old);
        this.#names += 1;
        this.chassis[step.at] = this.world.addVanillaChassis(`hv${this.#names}`, `192.0.2.${this.#names}`);
        return;
      }
      case 'encap': {
        const row = at([...sb.tables.encap], step.at);
        this.#names += 1;
        if (row) sb.put('encap', { ip: `198.51.100.${this.#names}` }, row._uuid);
        return;
      }
      case 'zones': {
        const row = at([...sb.tables.chassis], step.at);
        if (row)
          sb.put('chassis', { transport_zones: step.to % 2 === 0 ? [] : [`zone${step.to}`] }, row._uuid);
        return;
      }
      case 'routerMac':
        for (const row of nb.tables.logicalRouterPort) {
          nb.put('logicalRouterPort', { mac: `00:00:00:00:ff:0${step.at}` }, row._uuid);
        }
        return;
      case 'groups':
        for (const row of sb.tables.multicastGroup) {
          if (row.datapath === sw?.datapath)
            sb.put('multicastGroup', { tunnel_key: 32_768 + step.key }, row._uuid);
        }
        return;
      case 'send':
        return;
    }
  }
}

function at<T>(list: readonly T[], index: number): T | undefined {
  return list.length === 0 ? undefined : list[index % list.length];
}

function fromScratch({ world }: Scene): ReadonlyMap<string, string> {
  const model = new Model(world.nb.tables, world.sb.tables);
  const all = new Map<string, string>();
  for (const row of world.sb.tables.datapathBinding) flatten(datapathIntent(model, row).resources, all);
  return all;
}

function flatten(resources: ResourceSet, into: Map<string, string>): void {
  for (const { key, body } of resources.values()) into.set(key, Buffer.from(body).toString('hex'));
}

test('after any sequence of row changes, incremental is as computed from scratch', (t) => {
  fc.assert(
    fc.property(steps, (sequence) => {
      const scene = new Scene();
      const { nb, sb } = scene.world;
      const model = new Model(nb.tables, sb.tables);
      const store = new IntentStore();
      let dirty = nothingDirty();
      nb.onUpdate((update) => model.applyNorthbound(update, dirty));
      sb.onUpdate((update) => model.applySouthbound(update, dirty));
      store.recompute(
        model,
        scene.switches.map(({ datapath }) => datapath),
      );
      const check = () => {
        store.recompute(model, dirty.datapaths);
        dirty = nothingDirty();
        const incremental = new Map<string, string>();
        for (const [, resources] of store.datapaths()) flatten(resources, incremental);
        t.deepEqual(new Map([...incremental].sort()), new Map([...fromScratch(scene)].sort()));
      };
      for (const step of sequence) {
        scene.do(step);
        if (step.kind === 'send') check();
      }
      check();
    }),
    { numRuns: 150 },
  );
});

/** What each chassis is to know of the others, when it holds all switches. */
function chassisKnown(world: World, store: ChassisStore, hosts: readonly string[], model: Model): unknown {
  return [...world.sb.tables.chassis]
    .map(({ name }): [string, readonly string[]] => {
      const resources = store.resourcesFor(model, name, hosts);
      return [
        name,
        [...resources.values()].map(({ key, body }) => `${key} ${Buffer.from(body).toString('hex')}`),
      ];
    })
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

test('after any sequence of row changes, other chassis are known as computed from scratch', (t) => {
  fc.assert(
    fc.property(steps, (sequence) => {
      const scene = new Scene();
      const { nb, sb } = scene.world;
      const model = new Model(nb.tables, sb.tables);
      const store = new IntentStore();
      const chassis = new ChassisStore();
      let dirty = nothingDirty();
      nb.onUpdate((update) => model.applyNorthbound(update, dirty));
      sb.onUpdate((update) => model.applySouthbound(update, dirty));
      const recompute = (): void => {
        chassis.recompute(model, dirty.chassis);
        store.recompute(model, dirty.datapaths);
        dirty = nothingDirty();
      };
      for (const { _uuid } of sb.tables.datapathBinding) dirty.datapaths.add(_uuid);
      for (const { name } of sb.tables.chassis) dirty.chassis.add(name);
      recompute();
      for (const step of sequence) {
        scene.do(step);
        if (step.kind === 'send') recompute();
      }
      recompute();
      const fresh = new Model(nb.tables, sb.tables);
      const freshChassis = new ChassisStore();
      freshChassis.recompute(
        fresh,
        Array.from(sb.tables.chassis, ({ name }) => name),
      );
      const datapaths = Array.from(sb.tables.datapathBinding, ({ _uuid }) => _uuid);
      const hosts = datapaths.flatMap((uuid) => store.hosts(uuid));
      const freshHosts = datapaths.flatMap(
        (uuid) => datapathIntent(fresh, sb.tables.datapathBinding.get(uuid)).hosts,
      );
      t.deepEqual(hosts, freshHosts);
      t.deepEqual(
        chassisKnown(scene.world, chassis, hosts, model),
        chassisKnown(scene.world, freshChassis, freshHosts, fresh),
      );
      t.is([...chassis.all()].length, sb.tables.chassis.size);
    }),
    { numRuns: 150 },
  );
});

test('chassis tell each other their endpoints when they share a transport zone, or have none', (t) => {
  const { world } = new Scene();
  for (const [index, name] of ['a', 'b', 'c'].entries())
    world.addVanillaChassis(name, `192.0.2.${index + 100}`);
  const store = new ChassisStore();
  const known = (node: string): readonly string[] => {
    const model = new Model(world.nb.tables, world.sb.tables);
    store.recompute(model, ['a', 'b', 'c']);
    return [...store.resourcesFor(model, node, ['a', 'b', 'c']).values()].map(({ name }) => name);
  };
  const setZones = (name: string, zones: readonly string[]): void => {
    world.sb.put('chassis', { transport_zones: zones }, world.chassis(name)?._uuid);
  };
  t.deepEqual(known('a'), ['b', 'c']);
  setZones('a', ['z1', 'z2']);
  t.deepEqual(known('a'), []);
  setZones('b', ['z2']);
  t.deepEqual(known('a'), ['b']);
  t.deepEqual(known('c'), []);
});

/** An agent that only keeps what it is sent. */
class Mirror {
  readonly held = new Map<string, string>();

  take(update: Pick<Update, 'snapshot' | 'changed' | 'removed'>): void {
    if (update.snapshot) this.held.clear();
    for (const { id, body } of update.changed) {
      this.held.set(`${id?.kind ?? ''}/${id?.name ?? ''}`, Buffer.from(body).toString('hex'));
    }
    for (const { kind, name } of update.removed) this.held.delete(`${kind}/${name}`);
  }
}

test('whatever a node is sent, and however slowly it takes it, ends as its view', (t) => {
  const slowness = fc.array(fc.constantFrom('push', 'written', 'applied', 'reconnect'), {
    maxLength: 60,
    size: 'max',
  });
  fc.assert(
    fc.property(steps, slowness, (sequence, pace) => {
      const scene = new Scene();
      const { nb, sb } = scene.world;
      const model = new Model(nb.tables, sb.tables);
      const store = new IntentStore();
      const dirty = nothingDirty();
      nb.onUpdate((update) => model.applyNorthbound(update, dirty));
      sb.onUpdate((update) => model.applySouthbound(update, dirty));
      store.recompute(
        model,
        scene.switches.map(({ datapath }) => datapath),
      );
      const interest = scene.switches.slice(0, 2).map(({ datapath }) => datapath);
      const view = () => new Map(interest.map((datapath) => [datapath, store.resources(datapath)] as const));
      let mirror = new Mirror();
      let written: () => void = () => undefined;
      const open = () =>
        new NodeSession(
          ({ update }, done) => {
            mirror.take(update as Update);
            written = done;
          },
          () => undefined,
        );
      let session = open();
      const todo = [...sequence];
      for (const what of pace) {
        const step = todo.shift();
        if (step !== undefined) scene.do(step);
        store.recompute(model, dirty.datapaths);
        if (what === 'push') session.push({ nbCfg: 0, view: view() });
        if (what === 'written') written();
        if (what === 'applied') session.applied(session.generation);
        if (what === 'reconnect') {
          mirror = new Mirror();
          session = open();
        }
      }
      for (const step of todo) scene.do(step);
      store.recompute(model, dirty.datapaths);
      written();
      session.applied(session.generation);
      session.push({ nbCfg: 0, view: view() });
      const wanted = new Map<string, string>();
      for (const resources of view().values()) flatten(resources, wanted);
      t.deepEqual(new Map([...mirror.held].sort()), new Map([...wanted].sort()));
    }),
    { numRuns: 150 },
  );
});

test('a plan for what is already there is empty', (t) => {
  const scene = new Scene();
  const [sw0] = scene.switches;
  if (sw0 === undefined) throw new Error('no switch');
  scene.world.addPort(sw0, 'lp1');
  const model = new Model(scene.world.nb.tables, scene.world.sb.tables);
  const store = new IntentStore();
  store.recompute(model, [sw0.datapath]);
  const view = new Map([[sw0.datapath, store.resources(sw0.datapath)]]);
  t.deepEqual(planUpdate(view, new Map(view)), { changed: [], removed: [] });
  t.is(planUpdate(new Map(), view).changed.length, 2);
  t.is(planUpdate(view, new Map()).removed.length, 2);
  t.deepEqual([...store.recompute(model, [sw0.datapath])], [], 'the same content is the same object');
});
