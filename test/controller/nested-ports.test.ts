import test from 'ava';

import { ClaimBoard, decidePort } from '../../controller/claim-board.js';
import { datapathIntent } from '../../controller/intent.js';
import { interestOf } from '../../controller/interests.js';
import { Model } from '../../controller/model.js';
import { Node } from '../../controller/node.js';
import { bindingOperations } from '../../controller/sb-operations.js';
import { listUnsupported } from '../../controller/unsupported.js';
import { v1 } from '../../common/proto.js';
import type { Interface } from '../../generated/proto/iovn/v1/Interface.js';
import type { NestedPort } from '../../generated/proto/iovn/v1/NestedPort.js';
import { type PortIds, World } from './support/world.js';

const nowMs = 1_000_000;

function plug(ifaceId: string, more: Partial<Interface> = {}): Interface {
  return {
    name: `tap-${ifaceId}`,
    iface_id: ifaceId,
    ifindex: 5,
    link_up: true,
    iface_id_ver: '',
    encap_ip: '',
    error: '',
    installed_binding: '',
    install_error: '',
    nested: [],
    activated_binding: '',
    role: '',
    ...more,
  };
}

/** Port p1 on sw0 with c1 nested in it on sw1, localport meta on sw1; chassis hv1 is ours, and so says its node. */
class Scene {
  readonly world = new World();
  readonly switches = [this.world.addSwitch('sw0'), this.world.addSwitch('sw1')] as const;
  readonly chassis = this.world.addVanillaChassis('hv1', '192.0.2.11');
  readonly foreign = this.world.addVanillaChassis('vanilla', '192.0.2.99');
  readonly parent = this.world.addPort(this.switches[0], 'p1');
  readonly nested = this.world.addPort(this.switches[1], 'c1');
  readonly localport = this.world.addPort(this.switches[1], 'meta', { type: 'localport' });
  readonly board = new ClaimBoard();
  readonly node = new Node(
    { name: 'hv1', hostname: 'hv1', encaps: [], otherConfig: new Map(), transportZones: [] },
    { agentId: 'a', agentVersion: '0', kernelRelease: '6', kernelFeatures: [], peer: '' },
    nowMs,
  );
  #order = 0;

  constructor() {
    this.world.sb.put('portBinding', { parent_port: 'p1', tag: 42 }, this.nested.binding);
  }

  get model(): Model {
    return new Model(this.world.nb.tables, this.world.sb.tables);
  }

  report(...interfaces: readonly Interface[]): void {
    this.node.report(interfaces, () => (this.#order += 1));
  }

  /** Decides the port, and writes what is decided as the database would take it. */
  decide({ name, binding }: PortIds): string | undefined {
    const nodesByPlug = new Map([...this.node.plugs.keys()].map((id) => [id, new Set([this.node])]));
    const nodes = new Map([[this.node.name, this.node]]);
    const context = { model: this.model, nodes, nodesByPlug, nowMs, startedMs: 0, hasAdditional: true };
    const decision = decidePort(context, name);
    this.board.set(name, decision);
    if (decision === undefined) return undefined;
    const { main } = decision;
    if (main.kind === 'plug') this.world.sb.put('portBinding', { chassis: main.plug.chassis }, binding);
    if (main.kind === 'release') this.world.sb.put('portBinding', { chassis: undefined }, binding);
    return main.kind;
  }

  operations(name: string): number {
    const decision = this.board.decision(name);
    return decision === undefined ? 0 : bindingOperations(this.model, decision).length;
  }

  isSettled(): boolean {
    return this.board.isSettled(this.model, this.node, interestOf(this.model, this.board, this.node));
  }
}

function installed(scene: Scene, nested: readonly NestedPort[]): Interface {
  return plug('p1', { installed_binding: scene.parent.binding, nested: [...nested] });
}

test('a nested port is claimed and released with its parent', (t) => {
  const scene = new Scene();
  t.is(scene.decide(scene.nested), undefined, 'nobody has the parent');
  scene.report(plug('p1'));
  t.is(scene.decide(scene.parent), 'plug');
  t.is(scene.decide(scene.nested), 'plug');
  t.is(scene.world.chassisOf(scene.nested), 'hv1');
  const { datapath } = scene.switches[1];
  t.true(interestOf(scene.model, scene.board, scene.node).has(datapath), 'its switch goes to the node');
  scene.report();
  t.is(scene.decide(scene.parent), 'release');
  t.is(scene.decide(scene.nested), 'release');
});

test('before the parent: whatever is decided first, both end at the same node', (t) => {
  const scene = new Scene();
  scene.report(plug('p1'));
  t.is(scene.decide(scene.nested), 'plug');
  t.is(scene.decide(scene.parent), 'plug');
});

test('a nested port whose parent goes to a foreign chassis is released, and left alone there', (t) => {
  const scene = new Scene();
  scene.report(plug('p1'));
  scene.decide(scene.parent);
  scene.decide(scene.nested);
  scene.world.sb.put('portBinding', { chassis: scene.foreign }, scene.parent.binding);
  scene.node.spend('p1');
  t.is(scene.decide(scene.nested), 'release');
  scene.world.sb.put('portBinding', { chassis: scene.foreign }, scene.nested.binding);
  t.is(scene.decide(scene.nested), undefined);
});

test('an interface can not have a nested port for its iface-id', (t) => {
  const scene = new Scene();
  scene.report(plug('c1'));
  t.is(scene.decide(scene.nested), 'keep');
  t.is(scene.board.refusal('c1', 'hv1')?.code, 'not_a_vif');
  t.true(scene.isSettled());
});

test('up follows what the agent says of the nested port, and nb_cfg waits for it', (t) => {
  const scene = new Scene();
  const { binding } = scene.nested;
  const round = (nested: readonly NestedPort[]): void => {
    scene.report(installed(scene, nested));
    scene.decide(scene.parent);
    scene.decide(scene.nested);
    scene.world.sb.put('portBinding', { up: true }, scene.parent.binding);
  };
  round([]);
  t.false(scene.isSettled(), 'nothing has been said of it');
  round([{ binding: 'another', install_error: '' }]);
  t.false(scene.isSettled());
  round([{ binding, install_error: 'no tag' }]);
  t.true(scene.isSettled(), 'there is a reason');
  t.is(scene.operations('c1'), 0, 'it is not up');
  round([{ binding, install_error: '' }]);
  t.is(scene.operations('c1'), 1);
  t.false(scene.isSettled(), 'until up is written');
  scene.world.sb.put('portBinding', { up: true }, binding);
  t.true(scene.isSettled());
  round([]);
  t.is(scene.operations('c1'), 1, 'down again');
});

test('a localport is claimed by nobody, and a claim that is there is undone', (t) => {
  const scene = new Scene();
  scene.report(plug('meta'));
  t.is(scene.decide(scene.localport), 'keep');
  t.is(scene.board.refusal('meta', 'hv1'), undefined);
  t.is(scene.operations('meta'), 0);
  scene.world.sb.put('portBinding', { chassis: scene.chassis }, scene.localport.binding);
  t.is(scene.decide(scene.localport), 'release');
});

test('a localport is waited for where its switch is, and does not bring its switch along', (t) => {
  const scene = new Scene();
  scene.report(plug('meta'));
  scene.decide(scene.localport);
  t.is(interestOf(scene.model, scene.board, scene.node).size, 0);
  t.true(scene.isSettled());
  const other = scene.world.addPort(scene.switches[1], 'p2');
  scene.world.sb.put('portBinding', { chassis: scene.chassis }, other.binding);
  t.false(scene.isSettled());
  scene.report(plug('meta', { installed_binding: scene.localport.binding }));
  t.true(scene.isSettled());
});

test('intent says where a nested port is found, and whether tags pass', (t) => {
  const scene = new Scene();
  const [, sw1] = scene.switches;
  scene.world.nb.put('logicalSwitch', { other_config: new Map([['vlan-passthru', 'true']]) }, sw1.nb);
  const { model } = scene;
  const { resources } = datapathIntent(model, model.sb.datapathBinding.get(sw1.datapath));
  const body = (kind: string, name: string) =>
    Buffer.from([...resources.values()].find((each) => each.kind === kind && each.name === name)?.body ?? []);
  t.like(v1.Port.deserialize(body('Port', 'c1')), { parent: 'p1', tag: 42 });
  t.like(v1.Port.deserialize(body('Port', 'meta')), { parent: '', tag: 0 });
  t.true(v1.Switch.deserialize(body('Switch', sw1.datapath)).vlan_passthru);
});

test('none of it is said not to be done', (t) => {
  const scene = new Scene();
  const { world } = scene;
  const options = new Map([
    ['mcast_flood', 'true'],
    ['mcast_flood_reports', 'true'],
  ]);
  world.nb.put('logicalSwitchPort', { options, parent_name: 'p1', tag: 42 }, scene.nested.nb);
  const setConfig = (...pairs: readonly (readonly [string, string])[]): unknown =>
    world.nb.put('logicalSwitch', { other_config: new Map(pairs) }, scene.switches[1].nb);
  setConfig(['vlan-passthru', 'true'], ['mcast_flood_unregistered', 'false']);
  t.deepEqual(listUnsupported(scene.model), []);
  setConfig(['mcast_snoop', 'true'], ['mcast_flood_unregistered', 'true']);
  t.regex(listUnsupported(scene.model)[0]?.detail ?? '', /that somebody has joined goes to every port/);
});
