import { mkdtempSync, readFileSync } from 'node:fs';
import path from 'node:path';

import type { Activation } from '../../agent/activations.js';
import type { PortCounters } from '../../agent/data-plane.js';
import { Attachments } from '../../agent/libbpf/attachments.js';
import { slotMapSizes } from '../../agent/libbpf/kernel-data-plane.js';
import { KernelMap } from '../../agent/libbpf/kernel-map.js';
import { type LoadedObject, loadObject, type MapSizes } from '../../agent/libbpf/kernel-object.js';
import { KernelTracer } from '../../agent/libbpf/kernel-tracer.js';
import { readProgramInfo, type TestContext, testRun } from '../../agent/libbpf/kernel-program.js';
import { hasTcx } from '../../agent/libbpf/tcx.js';
import { KernelTables } from '../../agent/libbpf/tables.js';
import type { Tables } from '../../agent/plan.js';
import type { Ifindex } from '../../common/addresses.js';
import { silentLogger } from '../../common/log.js';
import { packageRoot } from '../../common/package-root.js';
import {
  dropReasons,
  encodeAllowedAddress,
  encodeAllowedAddressKey,
  encodeAllowedMac,
  encodeAllowedMacKey,
  encodeAllowedPrefixKey,
  encodeDestination,
  encodeFdbEntry,
  encodeInterfaceKey,
  encodeMacKey,
  encodeMember,
  encodeMemberKey,
  encodeNeighbour,
  encodeNeighbourKey,
  encodePort,
  encodePortKey,
  encodePortPlace,
  encodeRemoteMember,
  encodeRemoteMemberKey,
  encodeTunnel,
  encodeTunnelEndpoint,
  encodeTunnelEndpointKey,
} from '../../generated/bpf/layouts.js';

/** The compiled program that the agent loads. */
export const vifObjectFile = path.join(packageRoot, 'generated', 'bpf', 'vif.bpf.o');

/** The same, built for tracing. */
export const traceObjectFile = path.join(packageRoot, 'generated', 'bpf', 'trace.bpf.o');

/** Private to the test's process: see enterPrivateNamespaces. */
const bpffsRoot = '/sys/fs/bpf';

/** linux/pkt_cls.h */
export const verdicts = { ok: 0, drop: 2, redirect: 7, unspecified: -1 } as const;

export function encodeUint32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** How keys and values of each table become bytes. */
export const tableCodecs = {
  ports: { key: encodeUint32, value: encodePort },
  ports_by_interface: { key: encodeInterfaceKey, value: encodeUint32 },
  destinations: { key: encodeMacKey, value: encodeDestination },
  multicast_members: { key: encodeMemberKey, value: encodeMember },
  fdb: { key: encodeMacKey, value: encodeFdbEntry },
  ports_by_key: { key: encodePortKey, value: encodePortPlace },
  tunnels: { key: encodeUint32, value: encodeTunnel },
  tunnel_endpoints: { key: encodeTunnelEndpointKey, value: encodeTunnelEndpoint },
  remote_members: { key: encodeRemoteMemberKey, value: encodeRemoteMember },
  neighbours: { key: encodeNeighbourKey, value: encodeNeighbour },
  activations: { key: encodePortKey, value: encodeUint32 },
  allowed_macs: { key: encodeAllowedMacKey, value: encodeAllowedMac },
  allowed_addresses: { key: encodeAllowedAddressKey, value: encodeAllowedAddress },
  allowed_prefixes: { key: encodeAllowedPrefixKey, value: encodeAllowedAddress },
} as const;
type Codecs = typeof tableCodecs;
type Table = keyof Codecs;

export interface Run {
  /** One of `verdicts`. Where to a packet is redirected the kernel does not say: the counters do. */
  readonly verdict: number;
  /** The packet as the program left it. */
  readonly packet: Uint8Array;
  readonly mark: number;
}

/** The real programs with maps of their own, neither pinned nor attached, for one test. */
export class BpfHarness {
  readonly #object: LoadedObject;
  readonly #tables: KernelTables;
  readonly #maps: ReadonlyMap<string, KernelMap>;

  /** `sizes`: entries of maps, by name, in place of the defaults. */
  constructor(objectFile = vifObjectFile, maxPorts = 64, sizes: MapSizes = {}) {
    const allSizes = { ...slotMapSizes(maxPorts), ...sizes };
    this.#object = loadObject('vif', readFileSync(objectFile), allSizes, silentLogger);
    this.#tables = new KernelTables(this.#object.maps);
    this.#maps = new Map(Array.from(this.#object.maps, ([name, fd]) => [name, new KernelMap(name, fd)]));
  }

  /** File descriptors of the maps by name, open until `close`. */
  get descriptors(): ReadonlyMap<string, number> {
    return this.#object.maps;
  }

  /** The programs that trace on these maps. The caller closes it before the harness. */
  openTracer(): KernelTracer {
    return new KernelTracer(readFileSync(traceObjectFile), this.#object.maps, silentLogger);
  }

  /** Every entry of the maps that can be read, as one text. */
  contents(): Readonly<Record<string, string>> {
    const readable = [...this.#maps].filter(([name]) => name !== 'events');
    return Object.fromEntries(
      readable.map(([name, map]) => {
        const entries: string[] = [];
        for (const { keys, values, count } of map.chunks(1024)) {
          entries.push(keys.toString('hex', 0, count * map.info.keySize));
          entries.push(values.toString('hex', 0, count * map.valueSize));
        }
        return [name, entries.join()];
      }),
    );
  }

  /** Writes one entry. Throws when the kernel refuses it. */
  put<T extends Table>(
    table: T,
    key: Parameters<Codecs[T]['key']>[0],
    value: Parameters<Codecs[T]['value']>[0],
  ): void {
    const codec: { key: (key: never) => Uint8Array; value: (value: never) => Uint8Array } =
      tableCodecs[table];
    const keyBytes = Buffer.from(codec.key(key as never));
    const valueBytes = Buffer.from(codec.value(value as never));
    const [failure] = this.#map(table).update(keyBytes, valueBytes, 1);
    if (failure !== undefined) throw new Error(`table ${table} refuses the entry: errno ${failure.errno}`);
  }

  /** Writes all that the agent would have written. */
  fill(tables: Tables): void {
    for (const [table, entries] of tables) {
      const [failure] = this.#tables.writeEntries(table, entries);
      if (failure !== undefined) throw new Error(`table ${table} refuses an entry: ${failure.message}`);
    }
  }

  remove<T extends Table>(table: T, key: Parameters<Codecs[T]['key']>[0]): void {
    const codec: { key: (key: never) => Uint8Array } = tableCodecs[table];
    this.#map(table).delete(Buffer.from(codec.key(key as never)), 1);
  }

  /** Makes slots members of a multicast group, in this order, in place of those that were. */
  putGroup(datapathKey: number, groupKey: number, slots: readonly number[]): void {
    const chain = [0, ...slots];
    chain.forEach((slot, index) => {
      this.put('multicast_members', { datapathKey, groupKey, slot }, { nextSlot: chain[index + 1] ?? 0 });
    });
  }

  /** Sends a frame through a program as if it had come from the interface, which has to be there. */
  run(packet: Uint8Array, context: TestContext, program = 'vif_ingress'): Run {
    const { verdict, packet: out, mark } = testRun(this.#programFd(program), packet, context);
    return { verdict, packet: out, mark };
  }

  /** One read for all of them. */
  countersOf(slots: readonly number[]): ReadonlyMap<number, PortCounters> {
    return this.#tables.readCounters(slots);
  }

  /** Puts a program on the ingress hook of an interface, as the agent does, until the interface is gone. Needs a private bpffs. */
  attach(ifindex: Ifindex, program = 'vif_ingress'): void {
    const fd = this.#programFd(program);
    const folder = mkdtempSync(path.join(bpffsRoot, 'harness-'));
    new Attachments({
      bpffsDir: folder,
      qdiscsDir: path.join(folder, 'qdiscs'),
      mode: hasTcx(fd) ? 'tcx' : 'clsact',
      programFd: fd,
      programId: readProgramInfo(fd).id,
      priority: 1,
    }).attach(ifindex);
  }

  /** Nanoseconds that one run takes, the mean of `repeat` runs on the same packet. */
  time(packet: Uint8Array, context: TestContext, repeat: number, program = 'vif_ingress'): number {
    return testRun(this.#programFd(program), packet, context, repeat).durationNs;
  }

  /** The ports that the programs have activated. */
  activations(): readonly Activation[] {
    return this.#tables.readActivations();
  }

  /** Lets the next drop of each reason in the slot be sampled, as if the last had been long ago. */
  forgetSampled(slot: number): void {
    const map = this.#map('drop_sampled_ms');
    map.update(Buffer.from(encodeUint32(slot)), Buffer.alloc(map.valueSize), 1);
  }

  /** Samples of drops for which there was no room. */
  lostDropSamples(): bigint {
    return this.#tables.lostDropSamples();
  }

  counters(slot: number): PortCounters {
    const counters = this.#tables.readCounters([slot]).get(slot);
    if (counters === undefined) throw new RangeError(`no slot ${slot}`);
    return counters;
  }

  /** The drops of a slot by name of the reason, without those that are zero. */
  drops(slot: number): Record<string, number> {
    const { drops } = this.counters(slot);
    const named = dropReasons.map(({ name, number }) => [name, Number(drops[number] ?? 0n)] as const);
    return Object.fromEntries(named.filter(([, count]) => count > 0));
  }

  resetCounters(slot: number): void {
    this.#tables.resetCounters(slot);
  }

  /** Instructions that the verifier went through for each program. */
  verifiedInstructions(): Record<string, number> {
    const programs = Array.from(this.#object.programs).sort(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(programs.map(([name, fd]) => [name, readProgramInfo(fd).verifiedInstructions]));
  }

  close(): void {
    this.#object.close();
  }

  #map(name: string): KernelMap {
    const map = this.#maps.get(name);
    if (map === undefined) throw new RangeError(`the object has no map ${name}`);
    return map;
  }

  #programFd(name: string): number {
    const fd = this.#object.programs.get(name);
    if (fd === undefined) throw new RangeError(`the object has no program ${name}`);
    return fd;
  }
}
