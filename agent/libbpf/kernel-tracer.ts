import os from 'node:os';

import type { Logger } from '../../common/log.js';
import {
  decodePort,
  decodeTraceStep,
  encodeInterfaceKey,
  encodeMacKey,
  encodeTunnelMetadata,
  ipFamily,
  type TraceStep,
  traceEvent,
  traceStepSize,
  tunnelMetadataSize,
} from '../../generated/bpf/layouts.js';
import { tableNames } from '../data-plane.js';
import { insertTag, outerTag } from '../trace/tags.js';
import type { RecordedStep, TracedArrival } from '../trace/trace-source.js';
import type { TunnelMetadata } from '../trace/tunnel-packet.js';
import { kernelError } from './kernel-error.js';
import { KernelMap } from './kernel-map.js';
import { type LoadedObject, loadObject } from './kernel-object.js';
import { type TestContext, testRun } from './kernel-program.js';
import { libbpf, NULL } from './native.js';

const { ENOENT } = os.constants.errno;

/** What only the programs need to have, not to keep. An LRU map takes a batch of entries for each CPU. */
const privateSizes = { fdb: 16_384, port_counters: 1, drops: 1, drop_sampled_ms: 1 } as const;

/** A flood of more members than there are slots would go on for ever. */
const mostRuns = 64;

/**
 * The data plane's programs, built to note what they decide (bpf/trace.h), on the live tables that the agent fills. What
 * programs write is in maps of the tracer's own: counters, events, learnt MACs. Of those that are learnt it has, for each
 * frame, what is known of the frame's addresses.
 */
export class KernelTracer {
  readonly #object: LoadedObject;
  readonly #live: ReadonlyMap<string, KernelMap>;
  readonly #fdb: KernelMap;
  readonly #activations: KernelMap;
  readonly #arrival: KernelMap;

  /** `live`: file descriptors of the data plane's maps, open for as long as the tracer. Throws KernelError. */
  constructor(objectBytes: Uint8Array, live: ReadonlyMap<string, number>, log: Logger) {
    const shared = new Map([...live].filter(([name]) => tableNames.some((table) => table === name)));
    this.#object = loadObject('trace', objectBytes, privateSizes, log, shared);
    this.#live = new Map(Array.from(live, ([name, fd]) => [name, new KernelMap(name, fd)]));
    this.#fdb = new KernelMap('fdb', this.#fd(this.#object.maps, 'fdb'));
    this.#activations = new KernelMap('activations', this.#fd(this.#object.maps, 'activations'));
    this.#arrival = new KernelMap('trace_arrival', this.#fd(this.#object.maps, 'trace_arrival'));
  }

  /** What the program does. Throws KernelError. */
  run(arrival: TracedArrival): readonly RecordedStep[] {
    const asked = this.#learnAbout(arrival);
    this.#takeOverActivations();
    const noted =
      arrival.tunnel === undefined ? Buffer.alloc(tunnelMetadataSize) : encodeNote(arrival.tunnel);
    this.#arrival.update(Buffer.alloc(4), noted, 1);
    try {
      return this.#follow(arrival);
    } finally {
      this.#fdb.delete(Buffer.concat(asked), asked.length);
      Array.from(this.#takeSteps());
    }
  }

  /** Every run that the frame needs: a long flood takes several. */
  #follow({ program, frame, ifindex }: TracedArrival): readonly RecordedStep[] {
    const steps: RecordedStep[] = [];
    let again: { frame: Uint8Array; context: TestContext } | undefined = { frame, context: { ifindex } };
    for (let runs = 0; again !== undefined && runs < mostRuns; runs++) {
      testRun(this.#fd(this.#object.programs, program), again.frame, again.context);
      again = undefined;
      for (const step of this.#takeSteps()) {
        const recorded = recordedStep(step);
        if (step.event === traceEvent.TRACE_AGAIN)
          again = { frame: recorded.frame, context: { ifindex, mark: step.mark } };
        else if (runs === 0 || isResult(step.event)) steps.push(recorded);
      }
    }
    return steps;
  }

  close(): void {
    this.#object.close();
  }

  *#takeSteps(): Generator<TraceStep> {
    const value = Buffer.alloc(traceStepSize);
    const queue = this.#fd(this.#object.maps, 'trace_steps');
    for (;;) {
      const result = libbpf().bpf_map_lookup_and_delete_elem(queue, NULL, value);
      if (result === -ENOENT) return;
      if (result < 0) throw kernelError('read the steps of a trace', -result);
      yield decodeTraceStep(Uint8Array.from(value));
    }
  }

  /**
   * Copies what is learnt of the frame's source and destination on the switches of the interface's ports. The keys, which
   * are all that a program asks for or writes.
   */
  #learnAbout({ frame, ifindex }: TracedArrival): readonly Buffer[] {
    const keys: Buffer[] = [];
    const vlanIds = new Set([0, (outerTag(frame)?.tci ?? 0) & 0xfff]);
    for (const vlanId of vlanIds) {
      const slot = this.#lookup('ports_by_interface', encodeInterfaceKey({ ifindex, vlanId }));
      const port = slot && this.#lookup('ports', slot);
      if (port === undefined) continue;
      const { datapathKey } = decodePort(port);
      for (const mac of [frame.subarray(0, 6), frame.subarray(6, 12)]) {
        const key = Buffer.from(encodeMacKey({ datapathKey, mac: Uint8Array.from(mac) }));
        keys.push(key);
        const entry = this.#lookup('fdb', key);
        if (entry !== undefined) this.#fdb.update(key, entry, 1);
      }
    }
    return keys;
  }

  /** As they are now: those of the last trace, real or tried, go. */
  #takeOverActivations(): void {
    this.#activations.visit((keys, _values, count) => void this.#activations.delete(keys, count));
    this.#live.get('activations')?.visit((keys, values, count) => {
      this.#activations.update(keys, values, count);
    });
  }

  #lookup(map: string, key: Uint8Array): Buffer | undefined {
    return this.#live.get(map)?.lookup(Buffer.from(key));
  }

  #fd(from: ReadonlyMap<string, number>, name: string): number {
    const fd = from.get(name);
    if (fd === undefined) throw new RangeError(`the tracing object has no ${name}`);
    return fd;
  }
}

const results: readonly number[] = [
  traceEvent.TRACE_DELIVER,
  traceEvent.TRACE_TUNNEL,
  traceEvent.TRACE_DROP,
  traceEvent.TRACE_EGRESS_PORT_SECURITY,
];

/** What a run that goes on with a flood may add. */
function isResult(event: number): boolean {
  return results.includes(event);
}

function recordedStep(step: TraceStep): RecordedStep {
  const { event, slot, detail, tunnel } = step;
  const said = { event, slot, detail, frame: frameOf(step) };
  return event === traceEvent.TRACE_TUNNEL && tunnel.family !== 0
    ? { ...said, tunnel: decodeNote(tunnel) }
    : said;
}

function decodeNote({ vni, family, optionsLength, ...note }: TraceStep['tunnel']): TunnelMetadata {
  const length = family === ipFamily.FAMILY_IP6 ? 16 : 4;
  return {
    vni,
    source: note.source.subarray(0, length),
    destination: note.destination.subarray(0, length),
    options: note.options.subarray(0, optionsLength),
  };
}

function encodeNote({ vni, source, destination, options }: TunnelMetadata): Buffer {
  const padded = (bytes: Uint8Array, length: number): Uint8Array =>
    Uint8Array.from({ length }, (_, index) => bytes[index] ?? 0);
  const encoded = encodeTunnelMetadata({
    vni,
    family: source.length === 16 ? ipFamily.FAMILY_IP6 : ipFamily.FAMILY_IP4,
    optionsLength: options.length,
    source: padded(source, 16),
    destination: padded(destination, 16),
    options: padded(options, 8),
  });
  return Buffer.from(encoded);
}

function frameOf({ frame, length, vlan }: TraceStep): Uint8Array {
  const bytes = Uint8Array.from(frame.subarray(0, Math.min(length, frame.length)));
  return vlan === 0 ? bytes : insertTag(bytes, { type: vlan >>> 16, tci: vlan & 0xffff });
}
