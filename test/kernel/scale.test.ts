import test, { type ExecutionContext } from 'ava';

import { type TableName, tableNames } from '../../agent/data-plane.js';
import { computeDesired } from '../../agent/desired.js';
import { applyUpdate, emptyIntent, type Intent } from '../../agent/intent.js';
import { KernelState } from '../../agent/kernel-state.js';
import { findLocalPorts, type SlotKey } from '../../agent/local-ports.js';
import { plan } from '../../agent/plan.js';
import { agentOptions } from '../../agent/settings.js';
import { assignSlots } from '../../agent/slots.js';
import type { VifInterface } from '../../agent/vswitch/interfaces.js';
import type { PortInput } from '../../generated/proto/iovn/v1/Port.js';
import type { Resource } from '../../generated/proto/iovn/v1/Resource.js';
import { chassisName, makeUpdate, portResource, switchResource } from '../agent/support/intents.js';
import { vif } from '../agent/support/vif.js';
import { enterPrivateNamespaces } from '../support/private-namespace.js';
import { makeBpffsDir, open } from './support.js';

enterPrivateNamespaces();

const portsOnOneSwitch = 4096;
const switchCount = 4096;
const portsPerSwitch = 16;
/** Every port of the many switches, local or not, and those of the big one. */
const macCount = 65_536;
/** Of all steps of one test together; they take about a tenth of it on a quiet machine with two CPUs. */
const limitMs = 60_000;

function bytesOf(kind: number, number: number): Buffer {
  const bytes = Buffer.from([2, kind, 0, 0, 0, 0]);
  bytes.writeUInt32BE(number, 2);
  return bytes;
}

/** A port with a MAC, and two addresses that it is bound to and answered for. */
function port(name: string, number: number, parts: PortInput = {}): Resource {
  const mac = bytesOf(1, number);
  const ip4 = Uint8Array.of(10, ...bytesOf(0, number).subarray(3));
  const ip6 = Uint8Array.of(0xfd, ...new Uint8Array(11), ...bytesOf(0, number).subarray(2));
  return portResource(name, (number % 32_000) + 1, {
    macs: [mac],
    port_security: [
      {
        mac,
        addresses: [
          { address: Buffer.from(ip4), prefix_length: 32 },
          { address: Buffer.from(ip6), prefix_length: 128 },
        ],
      },
    ],
    neighbours: [ip4, ip6].map((address) => ({ address: Buffer.from(address), mac })),
    multicast_groups: [32768, 32770],
    ...parts,
  });
}

interface World {
  readonly intent: Intent;
  readonly interfaces: readonly VifInterface[];
}

/** Rounds of an agent without its attachments, and how many entries each changed by table. */
class Rounds {
  readonly plane;
  readonly #t: ExecutionContext;
  readonly #kernel;
  #slots: ReadonlyMap<SlotKey, number> = new Map();

  constructor(t: ExecutionContext) {
    this.#t = t;
    this.plane = open(t, { bpffsDir: makeBpffsDir(), maxPorts: agentOptions.maxPorts.default });
    this.#kernel = new KernelState(this.plane);
  }

  do({ intent, interfaces }: World): Partial<Record<TableName, number>> {
    const startMs = performance.now();
    const localPorts = findLocalPorts(intent, interfaces, chassisName);
    const wanted = localPorts.map(({ key }) => key);
    const { slots, unassigned } = assignSlots(this.#slots, wanted, this.plane.slotCount);
    this.#t.deepEqual(unassigned, []);
    this.#slots = slots;
    const desired = computeDesired(intent, interfaces, localPorts, slots);
    const desiredMs = performance.now();
    const operations = plan({ ...desired, attachments: new Set() }, this.#kernel);
    const plannedMs = performance.now();
    this.#t.deepEqual(this.#kernel.apply(operations), []);
    const appliedMs = performance.now();
    this.#t.deepEqual(desired.problems, []);
    const times = [desiredMs - startMs, plannedMs - desiredMs, appliedMs - plannedMs];
    this.#t.log(`desired, plan, apply: ${times.map((ms) => `${ms.toFixed(0)} ms`).join(', ')}`);
    this.#t.true(appliedMs - startMs < limitMs);
    const changes: Partial<Record<TableName, number>> = {};
    for (const operation of operations) {
      if (!('table' in operation)) continue;
      const count = operation.kind === 'write' ? operation.entries.size : operation.keys.length;
      changes[operation.table] = (changes[operation.table] ?? 0) + count;
    }
    return changes;
  }

  /** What the kernel holds is what this remembers. */
  verify(): void {
    const startMs = performance.now();
    this.#t.deepEqual(this.#kernel.refresh(), { entries: [], ifindexes: [] });
    this.#t.log(`reading the kernel again: ${(performance.now() - startMs).toFixed(0)} ms`);
  }

  usage(): Record<string, number> {
    return Object.fromEntries(this.#kernel.usage.map(({ name, entries }) => [name, entries]));
  }
}

function withPorts(world: World, ...changed: readonly Resource[]): World {
  return { ...world, intent: applyUpdate(world.intent, makeUpdate(changed, { snapshot: false })) };
}

/** What the rounds after the first do, for a port `lp1` whose number is free. */
function changeOnePort(t: ExecutionContext, rounds: Rounds, world: World, free: number): void {
  t.deepEqual(rounds.do(world), {}, 'nothing changes');
  const moved = withPorts(world, port('lp1', 1, { macs: [bytesOf(1, free)] }));
  t.deepEqual(rounds.do(moved), { destinations: 2 }, 'another MAC: written, and the old one removed');
  const disabled = withPorts(moved, port('lp1', 1, { macs: [bytesOf(1, free)], enabled: false }));
  const taken = rounds.do(disabled);
  t.is(taken.ports, 1);
  t.is(taken.multicast_members, 4, 'its entries of two lists, and those that led to it');
  t.is(
    Object.values(taken).reduce((a, b) => a + b),
    5,
  );
  const { lp1, ...others } = Object.fromEntries(world.interfaces.map((each) => [each.ifaceId, each]));
  t.truthy(lp1);
  const unplugged = { ...disabled, interfaces: Object.values(others) };
  t.deepEqual(rounds.do(unplugged), {
    ports: 1,
    ports_by_interface: 1,
    destinations: 1,
    allowed_macs: 1,
    allowed_addresses: 3,
  });
}

test(`a switch of ${portsOnOneSwitch} local ports`, (t) => {
  const numbers = Array.from({ length: portsOnOneSwitch }, (_, index) => index + 1);
  const resources = numbers.map((number) => port(`lp${number}`, number));
  const world: World = {
    intent: applyUpdate(emptyIntent, makeUpdate([switchResource('sw0', 1), ...resources])),
    interfaces: numbers.map((number) => vif(`lp${number}`, 10 + number)),
  };
  const rounds = new Rounds(t);
  rounds.do(world);
  rounds.verify();
  t.deepEqual(rounds.usage(), {
    ports: portsOnOneSwitch,
    ports_by_interface: portsOnOneSwitch,
    ports_by_key: 0,
    remote_members: 0,
    tunnel_endpoints: 0,
    tunnels: 0,
    destinations: portsOnOneSwitch,
    neighbours: 2 * portsOnOneSwitch,
    multicast_members: 2 * (portsOnOneSwitch + 1),
    allowed_macs: portsOnOneSwitch,
    allowed_addresses: 3 * portsOnOneSwitch,
    allowed_prefixes: 0,
  });
  changeOnePort(t, rounds, world, portsOnOneSwitch + 1);
});

test(`${switchCount} switches with ${macCount} MACs, a local port on each`, (t) => {
  const numbers = Array.from({ length: macCount }, (_, index) => index + 1);
  const switches = Array.from({ length: switchCount }, (_, index) => switchResource(`sw${index}`, index + 1));
  const placeOf = (number: number): PortInput => {
    const index = number - 1;
    const isHere = index % portsPerSwitch === 0;
    return { switch: `sw${Math.floor(index / portsPerSwitch)}`, chassis: isHere ? chassisName : 'elsewhere' };
  };
  const resources = numbers.map((number) => port(`lp${number}`, number, placeOf(number)));
  const here = numbers.filter((number) => (number - 1) % portsPerSwitch === 0);
  const startMs = performance.now();
  const intent = applyUpdate(emptyIntent, makeUpdate([...switches, ...resources]));
  t.log(`taking in the update: ${(performance.now() - startMs).toFixed(0)} ms`);
  const world: World = { intent, interfaces: here.map((number, index) => vif(`lp${number}`, 10 + index)) };
  const rounds = new Rounds(t);
  rounds.do(world);
  rounds.verify();
  const usage = rounds.usage();
  t.is(usage['destinations'], macCount);
  t.is(usage['neighbours'], 2 * macCount);
  t.is(usage['ports'], switchCount);
  t.is(usage['multicast_members'], 4 * switchCount);
  t.deepEqual(rounds.do(world), {});
  const another = { ...placeOf(2), macs: [bytesOf(1, macCount + 1)] };
  t.deepEqual(rounds.do(withPorts(world, port('lp2', 2, another))), { destinations: 2 });
  const leaves = applyUpdate(
    intent,
    makeUpdate([], { snapshot: false, removed: [{ kind: 'Port', name: 'lp2' }] }),
  );
  t.deepEqual(rounds.do({ ...world, intent: leaves }), { destinations: 1, neighbours: 2 });
  for (const table of tableNames) t.true((usage[table] ?? 0) <= rounds.plane.capacity(table));
});
