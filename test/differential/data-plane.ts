import { computeDesired } from '../../agent/desired.js';
import { applyUpdate, emptyIntent, type Intent } from '../../agent/intent.js';
import { findLocalPorts, type SlotKey } from '../../agent/local-ports.js';
import { assignSlots } from '../../agent/slots.js';
import type { VifInterface } from '../../agent/vswitch/interfaces.js';
import { type Ifindex, parseMac } from '../../common/addresses.js';
import { datapathIntent } from '../../controller/intent.js';
import type { Model } from '../../controller/model.js';
import type { IntentResource } from '../../controller/resource.js';
import type { KernelTracer } from '../../agent/libbpf/kernel-tracer.js';
import { dropReasons, traceEvent } from '../../generated/bpf/layouts.js';
import { BpfHarness, verdicts } from '../bpf/harness.js';

/** What our data plane does with a frame. */
export interface OurVerdict {
  /** Logical ports that get it (or its answer), sorted. */
  readonly outputs: readonly string[];
  /** Even if the asker may not be sent the answer. */
  readonly answered: boolean;
  /** `port: reason` for every drop that was counted. */
  readonly drops: readonly string[];
  /** The frame as the program left it. */
  readonly packet: Uint8Array;
}

const chassis = 'oracle';
/** A copy of a longer one is refused by the devices, whose business is not traced. */
const longestTraced = 1514;

/** The intent for one switch, as the controller would send it and the agent read it. */
export function intentOf(model: Model, switchName: string): Intent {
  const row = [...model.nb.logicalSwitch].find(({ name }) => name === switchName);
  const datapath = row && model.datapathOfSwitch(row._uuid);
  if (datapath === undefined) throw new Error(`no datapath for switch ${switchName}`);
  return intentFrom([...datapathIntent(model, datapath).resources.values()]);
}

/** What the agent reads in these resources. */
export function intentFrom(resources: readonly Pick<IntentResource, 'kind' | 'name' | 'body'>[]): Intent {
  const changed = resources.map(({ kind, name, body }) => ({
    id: { kind, name },
    body: Buffer.from(body),
  }));
  return applyUpdate(emptyIntent, { generation: '1', nb_cfg: '1', snapshot: true, changed, removed: [] });
}

function interfaceFor(ifaceId: string, ifindex: number): VifInterface {
  const name = `tap${ifindex}`;
  const mac = parseMac('02:00:00:00:00:00');
  if (mac === undefined) throw new Error('not a MAC');
  const device = {
    ifindex: ifindex as Ifindex,
    name,
    mac,
    mtu: 1500,
    adminUp: true,
    operUp: true,
    kind: 'tun',
    peerInOtherNamespace: false,
  };
  return { name, ifaceId, ifaceIdVer: '', encapIp: '', device, error: undefined };
}

/**
 * One switch in the real programs, filled by the controller's and the agent's own code from the contents of the
 * databases.
 */
export class DataPlane {
  readonly #harness: BpfHarness;
  readonly #tracer: KernelTracer;
  readonly #slots = new Map<string, number>();
  readonly #ifindexes = new Map<string, number>();
  readonly #datapathKey: number;
  readonly #sent = new Map<string, bigint>();
  readonly #dropped = new Map<string, ArrayLike<bigint>>();

  /** `ports` are plugged into `devices`, in their order; the devices have to be there. */
  constructor(intent: Intent, ports: readonly string[], devices: readonly number[]) {
    const interfaces = ports.map((port, index) => interfaceFor(port, devices[index] ?? 0));
    const local = findLocalPorts(intent, interfaces, chassis);
    const { slots } = assignSlots(
      new Map<SlotKey, number>(),
      local.map(({ key }) => key),
      16,
    );
    const desired = computeDesired(intent, interfaces, local, slots);
    const problems = [...intent.problems.values(), ...desired.problems];
    if (problems.length > 0) throw new Error(`the intent is refused: ${JSON.stringify(problems)}`);
    if (desired.plugged.length !== ports.length) throw new Error('not every port is plugged in');
    this.#datapathKey = desired.plugged[0]?.datapathKey ?? 0;
    this.#harness = new BpfHarness(undefined, 16);
    this.#harness.fill(desired.tables);
    this.#tracer = this.#harness.openTracer();
    for (const { port, slot, device } of desired.plugged) {
      this.#slots.set(port.name, slot);
      this.#ifindexes.set(port.name, device.ifindex);
    }
  }

  /** What happens to a frame that the port's VM sends. Throws when a trace of it says otherwise. */
  send(port: string, frame: Uint8Array): OurVerdict {
    const ifindex = this.#ifindexes.get(port) ?? 0;
    const traced = frame.length <= longestTraced ? this.#trace(frame, ifindex) : undefined;
    const run = this.#harness.run(frame, { ifindex });
    // OVN's traces learn nothing, either.
    this.#harness.remove('fdb', { datapathKey: this.#datapathKey, mac: frame.subarray(6, 12) });
    const { outputs, drops } = this.#difference();
    if (run.verdict === verdicts.ok || run.verdict === verdicts.unspecified)
      throw new Error(`verdict ${run.verdict}`);
    if (traced !== undefined) {
      const redirected = run.verdict === verdicts.redirect;
      const last = redirected ? Buffer.from(run.packet).toString('hex') : traced.frame;
      const real = { outputs, drops, frame: last };
      if (JSON.stringify(traced) !== JSON.stringify(real))
        throw new Error(`a trace says ${JSON.stringify(traced)}, the data plane ${JSON.stringify(real)}`);
    }
    const answered = outputs.includes(port) || drops.some((drop) => drop.startsWith(`${port}: egress_`));
    return { outputs, answered, drops, packet: run.packet };
  }

  close(): void {
    this.#tracer.close();
    this.#harness.close();
  }

  /** What a trace says, in the counters' terms. */
  #trace(
    frame: Uint8Array,
    ifindex: number,
  ): { readonly outputs: readonly string[]; readonly drops: readonly string[]; readonly frame: string } {
    const steps = this.#tracer.run({ program: 'vif_ingress', frame, ifindex });
    const ports = new Map(Array.from(this.#slots, ([port, slot]) => [slot, port]));
    const delivered = steps.filter(({ event }) => event === traceEvent.TRACE_DELIVER);
    const dropped = steps.filter(({ event, slot }) => event === traceEvent.TRACE_DROP && ports.has(slot));
    const order = [...this.#slots.values()];
    const drops = dropped
      .sort((a, b) => order.indexOf(a.slot) - order.indexOf(b.slot) || a.detail - b.detail)
      .map(({ slot, detail }) => `${ports.get(slot) ?? ''}: ${dropReasons[detail]?.name ?? ''}`);
    return {
      outputs: delivered.map(({ slot }) => ports.get(slot) ?? '').sort(),
      drops: drops.filter((drop, index) => drops.indexOf(drop) === index),
      frame: Buffer.from(delivered[0]?.frame ?? []).toString('hex'),
    };
  }

  /** What has been counted since the last call. */
  #difference(): { readonly outputs: readonly string[]; readonly drops: readonly string[] } {
    const outputs: string[] = [];
    const drops: string[] = [];
    const all = this.#harness.countersOf([...this.#slots.values()]);
    for (const [port, slot] of this.#slots) {
      const counters = all.get(slot);
      if (counters === undefined) throw new RangeError(`no slot ${slot}`);
      if (counters.sentPackets !== (this.#sent.get(port) ?? 0n)) outputs.push(port);
      const before = this.#dropped.get(port) ?? [];
      for (const { name, number } of dropReasons) {
        if ((counters.drops[number] ?? 0n) !== (before[number] ?? 0n)) drops.push(`${port}: ${name}`);
      }
      this.#sent.set(port, counters.sentPackets);
      this.#dropped.set(port, counters.drops);
    }
    return { outputs: outputs.sort(), drops };
  }
}
