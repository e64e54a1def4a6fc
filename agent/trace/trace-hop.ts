import { macFromBytes } from '../../common/addresses.js';
import { IovnError } from '../../common/errors.js';
import { constants, dropReasons, traceEvent } from '../../generated/bpf/layouts.js';
import type { TracedHopInput } from '../../generated/proto/iovn/v1/TracedHop.js';
import type { TraceQuery } from '../../generated/proto/iovn/v1/TraceQuery.js';
import type { TraceStepInput } from '../../generated/proto/iovn/v1/TraceStep.js';
import { droppingRow, portRow, switchRow } from '../inspect/nb-row.js';
import type { Place, Places } from '../inspect/places.js';
import { addressesEntry, isAnswerFor, passingEntry } from '../inspect/port-entries.js';
import type { PortIntent, SwitchIntent } from '../intent.js';
import type { ReconcilerView } from '../reconciler.js';
import type { Tunnel } from '../tunnels/tunnels.js';
import { insertTag, outerTag } from './tags.js';
import type { RecordedStep, TracedArrival, TraceSource } from './trace-source.js';
import { makeTunnelPacket, takeApart } from './tunnel-packet.js';

/** What of the reconciler's view numbers are told by. */
export interface TracedView extends Pick<ReconcilerView, 'intent'> {
  readonly tunnels: readonly Pick<Tunnel, 'id' | 'chassis' | 'type'>[];
}

export interface TraceOptions {
  readonly dataPlane: TraceSource;
  readonly view: () => TracedView | undefined;
  readonly places: Pick<Places, 'all' | 'bySlot'>;
}

const nestedTagType = 0x8100;
const vlanIdMask = 0xfff;
/** What the kernel lets be tried (BPF_PROG_TEST_RUN), and what leaves room for a tunnel's headers in a step. */
const frameLimits = { shortest: 15, longest: 1900 } as const;
/** Every network namespace has it; the programs do not ask by which interface a tunnel packet came. */
const loopback = 1;

const eventNames: ReadonlyMap<number, string> = new Map(
  Object.entries(traceEvent).map(([name, number]) => [
    number,
    name.slice('TRACE_'.length).toLowerCase().replaceAll('_', ' '),
  ]),
);

/** Runs a frame through the programs of this node. Throws IovnError, whose message is for whoever asks. */
export function traceHop({ frame, port }: TraceQuery, options: TraceOptions): TracedHopInput {
  if (port === '') {
    const arrival = fromUnderlay(frame);
    const steps = options.dataPlane.trace(arrival);
    return { program: arrival.program, steps: describeSteps(steps, options) };
  }
  const { shortest, longest } = frameLimits;
  if (frame.length < shortest || frame.length > longest) {
    const message = `a frame of ${frame.length} bytes can't be traced: from ${shortest} to ${longest} can`;
    throw new IovnError('trace_frame', message);
  }
  const sender = options.places.all().find(({ plugged }) => plugged.port.name === port);
  if (sender === undefined) throw new IovnError('unknown_port', `port ${port} is not in this node's kernel`);
  const arrival = fromPort(frame, sender);
  const steps = describeSteps(options.dataPlane.trace(arrival), options);
  return { program: arrival.program, interface: sender.plugged.interfaceName, steps };
}

/** What comes by VXLAN is taken apart by the node's device, before the program sees it. */
function fromUnderlay(packet: Uint8Array): TracedArrival {
  const apart = takeApart(packet);
  if (apart?.type !== 'vxlan') return { program: 'tunnel_ingress', frame: packet, ifindex: loopback };
  const { frame, metadata } = apart;
  return { program: 'vxlan_ingress', frame, ifindex: loopback, tunnel: metadata };
}

function fromPort(frame: Uint8Array, { plugged }: Place): TracedArrival {
  const { port, device, vlanId } = plugged;
  const isLocalnet = port.type === 'localnet';
  const type = isLocalnet ? port.ethtype : nestedTagType;
  const tag = outerTag(frame);
  const isTagged = tag?.type === type && (tag.tci & vlanIdMask) === vlanId;
  return {
    program: isLocalnet ? 'uplink_ingress' : 'vif_ingress',
    frame: vlanId === 0 || isTagged ? frame : insertTag(frame, { type, tci: vlanId }),
    ifindex: device.ifindex,
  };
}

/** The steps in terms of the network. */
export function describeSteps(steps: readonly RecordedStep[], options: TraceOptions): TraceStepInput[] {
  const teller = new StepTeller(steps, options);
  return steps.map((step) => teller.tell(step));
}

class StepTeller {
  readonly #options: TraceOptions;
  readonly #view: ReturnType<TraceOptions['view']>;
  /** Every step of a hop is in one switch. */
  readonly #owner: SwitchIntent | undefined;

  constructor(steps: readonly RecordedStep[], options: TraceOptions) {
    this.#options = options;
    this.#view = options.view();
    this.#owner = steps.flatMap((step) => this.#switchOf(step) ?? [])[0];
  }

  tell(step: RecordedStep): TraceStepInput {
    const { event, slot, detail, frame } = step;
    const common = { event: eventNames.get(event) ?? '', switch: this.#owner?.name ?? '' };
    const place = this.#options.places.bySlot(slot);
    switch (event) {
      case traceEvent.TRACE_PORT_SECURITY:
        return { ...common, ...security(place, frame, 'source') };
      case traceEvent.TRACE_EGRESS_PORT_SECURITY:
        return { ...common, ...security(place, frame, 'destination') };
      case traceEvent.TRACE_LEARN:
        return {
          ...common,
          ...atPort(place),
          ...(place && portRow(place.plugged.port, 'addresses', ['unknown'])),
        };
      case traceEvent.TRACE_ANSWER:
        return { ...common, ...this.#answered(frame) };
      case traceEvent.TRACE_UNICAST:
        return { ...common, ...this.#toOwner(place, detail, frame) };
      case traceEvent.TRACE_FLOOD:
        return { ...common, ...this.#toGroup(detail) };
      case traceEvent.TRACE_FROM_TUNNEL:
        return { ...common, ...this.#fromTunnel(slot) };
      case traceEvent.TRACE_TUNNEL:
        return { ...common, ...this.#throughTunnel(step) };
      case traceEvent.TRACE_DROP:
        return { ...common, ...dropped(place, detail, frame) };
      case traceEvent.TRACE_DELIVER:
        return {
          ...common,
          ...atPort(place),
          frame,
          ...(place?.plugged.port.type === 'localnet' ? { event: 'uplink' } : {}),
        };
      default:
        return { ...common, ...atPort(place) };
    }
  }

  #switchOf({ event, slot, detail }: RecordedStep): SwitchIntent | undefined {
    if (event !== traceEvent.TRACE_FROM_TUNNEL) return this.#options.places.bySlot(slot)?.owner;
    const switches = [...(this.#view?.intent?.switches.values() ?? [])];
    return switches.find(({ datapathKey }) => datapathKey === detail);
  }

  #ports(): readonly PortIntent[] {
    const all = [...(this.#view?.intent?.ports.values() ?? [])];
    return all.filter(({ switchId }) => switchId === this.#owner?.id);
  }

  #portOf(portKey: number): PortIntent | undefined {
    return this.#ports().find((port) => port.portKey === portKey);
  }

  /** The frame is the answer already. */
  #answered(answer: Uint8Array): TraceStepInput {
    const mac = macFromBytes(answer.subarray(6, 12));
    const owner = this.#ports().find((port) => isAnswerFor(port, answer));
    return owner === undefined
      ? {}
      : { port: owner.name, ...portRow(owner, 'addresses', addressesEntry(owner, mac)) };
  }

  #toOwner(place: Place | undefined, portKey: number, frame: Uint8Array): TraceStepInput {
    const owner = place?.plugged.port ?? this.#portOf(portKey);
    if (owner === undefined) return { key: portKey };
    const entries = addressesEntry(owner, macFromBytes(frame.subarray(0, 6)));
    const why = entries.length === 0 ? { text: 'learnt' } : portRow(owner, 'addresses', entries);
    return { ...(place && atPort(place)), port: owner.name, key: owner.portKey, ...noRow, ...why };
  }

  /** A port that is at several places has a group of its own. */
  #toGroup(key: number): TraceStepInput {
    const port = key < constants.FIRST_MULTICAST_KEY ? this.#portOf(key) : undefined;
    return port === undefined
      ? { key, ...switchRow(this.#owner) }
      : { key, port: port.name, ...portRow(port) };
  }

  #fromTunnel(keys: number): TraceStepInput {
    const port = this.#portOf(keys >>> 16);
    return { key: keys & 0xffff, ...(port && { port: port.name, ...portRow(port) }) };
  }

  #throughTunnel({ detail, frame, tunnel: metadata }: RecordedStep): TraceStepInput {
    const tunnel = this.#view?.tunnels.find(({ id }) => id === detail % constants.MAX_TUNNELS);
    if (tunnel === undefined) return { frame };
    const { chassis, type } = tunnel;
    return { chassis, frame: metadata === undefined ? frame : makeTunnelPacket({ type, metadata, frame }) };
  }
}

/** What a port brings along that is not what decided. */
const noRow = { row_table: '', row_uuid: '', row_name: '' } as const;

function atPort(place: Place | undefined): TraceStepInput {
  if (place === undefined) return {};
  const { port, interfaceName } = place.plugged;
  return { port: port.name, interface: interfaceName, ...portRow(port) };
}

function security(
  place: Place | undefined,
  frame: Uint8Array,
  side: 'source' | 'destination',
): TraceStepInput {
  if (place === undefined) return {};
  const { port } = place.plugged;
  return { ...atPort(place), ...portRow(port, 'port_security', passingEntry(port, frame, side)) };
}

function dropped(place: Place | undefined, number: number, frame: Uint8Array): TraceStepInput {
  const reason = dropReasons[number];
  if (reason === undefined) return {};
  const row = place && droppingRow(place, reason, frame);
  return { ...atPort(place), reason: reason.name, text: reason.text, ...row };
}
