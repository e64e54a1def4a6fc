import { applyUpdate, emptyIntent } from '../../../agent/intent.js';
import { type ControllerOutlet, Reconciler } from '../../../agent/reconciler.js';
import type { ChassisConfig } from '../../../agent/vswitch/node-config.js';
import { VswitchNode } from '../../../agent/vswitch/vswitch-node.js';
import { silentLogger } from '../../../common/log.js';
import type { AgentStatusInput } from '../../../generated/proto/iovn/v1/AgentStatus.js';
import type { AppliedInput } from '../../../generated/proto/iovn/v1/Applied.js';
import type { InterfaceInput } from '../../../generated/proto/iovn/v1/Interface.js';
import type { Update } from '../../../generated/proto/iovn/v1/Update.js';
import { eventually } from './eventually.js';
import { FakeDataPlane } from './fake-data-plane.js';
import { FakeDatabase } from './fake-database.js';
import { FakeDevices } from './fake-devices.js';
import { chassisName } from './intents.js';

/** What the reconciler said to the controller. */
export class FakeOutlet implements ControllerOutlet {
  chassis: ChassisConfig | undefined;
  controller: string | undefined;
  interfaces: readonly InterfaceInput[] = [];
  status: AgentStatusInput | undefined;
  readonly answers: AppliedInput[] = [];
  /** In order: `interfaces`, `applied N`. */
  readonly log: string[] = [];

  setChassis(chassis: ChassisConfig | undefined, controller: string | undefined): void {
    this.chassis = chassis;
    this.controller = controller;
  }

  setInterfaces(interfaces: readonly InterfaceInput[]): void {
    if (JSON.stringify(interfaces) === JSON.stringify(this.interfaces)) return;
    this.interfaces = interfaces;
    this.log.push(
      `interfaces ${interfaces.map(({ name, installed_binding: b }) => `${name}:${b ?? ''}`).join(' ')}`,
    );
  }

  setStatus(status: AgentStatusInput): void {
    this.status = status;
  }

  applied(_stream: number, answer: AppliedInput): void {
    this.answers.push(answer);
    this.log.push(`applied ${String(answer.generation)}`);
  }
}

export const nodeIds = {
  'system-id': chassisName,
  'ovn-encap-type': 'geneve',
  'ovn-encap-ip': '192.0.2.1',
};

/** A round takes fewer turns of the event loop than this, since all around it answers at once. */
const quietTurnsOfIdleness = 20;

/** A reconciler among fakes, running until `close`. */
export class Rig {
  readonly database = new FakeDatabase();
  readonly devices = new FakeDevices();
  readonly outlet = new FakeOutlet();
  readonly plane: FakeDataPlane;
  readonly portUpSeconds: number[] = [];
  readonly reconciler: Reconciler;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #generation = 0;

  constructor(plane = new FakeDataPlane(), driftIntervalMs = 3_600_000) {
    this.plane = plane;
    this.database.init(nodeIds);
    this.database.addBridge('br-int');
    this.reconciler = new Reconciler({
      node: new VswitchNode({
        database: this.database,
        devices: this.devices,
        osHostname: 'host.example',
        log: silentLogger,
      }),
      devices: this.devices,
      dataPlane: plane,
      controller: this.outlet,
      observer: {
        applied: () => undefined,
        portInstalled: (seconds) => void this.portUpSeconds.push(seconds),
      },
      geneve: 'program',
      now: () => 1_700_000_000_000,
      driftIntervalMs,
      retryMs: 1,
      onSettled: () => plane.retireOldGenerations(),
      log: silentLogger,
    });
  }

  start(): this {
    this.#running = this.reconciler.run(this.#stop.signal);
    return this;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Gives the reconciler an update as a controller's stream would. */
  update(update: Update): void {
    this.#generation += 1;
    const numbered = { ...update, generation: String(this.#generation) };
    const intent = applyUpdate(this.reconciler.view.intent ?? emptyIntent, numbered);
    this.reconciler.setIntent({ intent, stream: 1, receivedMs: 1_700_000_000_000 });
  }

  /** Waits until every update and every `ovs-vsctl` is answered, and the rounds that events have caused are over. */
  async settled(): Promise<void> {
    const answered = (): boolean =>
      this.#generation === 0 || this.outlet.answers.at(-1)?.generation === String(this.#generation);
    await eventually(
      () => answered() && this.database.root.cur_cfg === this.database.root.next_cfg,
      () => 'answers',
    );
    for (let quietTurns = 0, before = ''; quietTurns < quietTurnsOfIdleness; quietTurns++) {
      const now = `${this.database.transactions.length} ${this.plane.changes.length} ${this.outlet.log.length}`;
      if (now !== before) quietTurns = 0;
      before = now;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  installed(name: string): string | undefined {
    return this.database.interface(name).external_ids.get('ovn-installed');
  }

  reported(name: string): InterfaceInput | undefined {
    return this.outlet.interfaces.find((each) => each.name === name);
  }
}
