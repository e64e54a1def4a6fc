import { IovnError } from '../../common/errors.js';
import { dropReasons, traceEvent } from '../../generated/bpf/layouts.js';
import type { TracedHopInput } from '../../generated/proto/iovn/v1/TracedHop.js';
import type { TraceQuery } from '../../generated/proto/iovn/v1/TraceQuery.js';
import type { TraceStepInput } from '../../generated/proto/iovn/v1/TraceStep.js';
import { decidingColumn } from '../drops/drop-decision.js';
import type { Place, Places } from '../inspect/places.js';
import type { ReconcilerView } from '../reconciler.js';
import { insertTag } from './tags.js';
import type { RecordedStep, TraceSource } from './trace-source.js';

export interface TraceOptions {
  readonly dataPlane: TraceSource;
  readonly view: () => Pick<ReconcilerView, 'intent' | 'tunnels'> | undefined;
  readonly places: Pick<Places, 'all' | 'bySlot'>;
}

/** The keys that the other node needs are not in the frame, but beside it, where a try has no place for them. */
const notFollowed = 'what comes through VXLAN is not traced';
const nestedTagType = 0x8100;
/** What the kernel lets be tried (BPF_PROG_TEST_RUN), and what leaves room for a tunnel's headers in a step. */
const frameLimits = { shortest: 15, longest: 1900 } as const;
/** Every network namespace has it; the program does not ask by which interface a tunnel packet came. */
const loopback = 1;

const eventNames: ReadonlyMap<number, string> = new Map(
  Object.entries(traceEvent).map(([name, number]) => [
    number,
    name.slice('TRACE_'.length).toLowerCase().replaceAll('_', ' '),
  ]),
);

/** Runs a frame through the programs of this node. Throws IovnError, whose message is for whoever asks. */
export function traceHop({ frame, port }: TraceQuery, options: TraceOptions): TracedHopInput {
  const { dataPlane, places } = options;
  if (port === '') {
    const steps = dataPlane.trace('tunnel_ingress', frame, loopback);
    return { program: 'tunnel_ingress', steps: describeSteps(steps, options) };
  }
  const { shortest, longest } = frameLimits;
  if (frame.length < shortest || frame.length > longest) {
    const message = `a frame of ${frame.length} bytes can't be traced: from ${shortest} to ${longest} can`;
    throw new IovnError('trace_frame', message);
  }
  const sender = places.all().find(({ plugged }) => plugged.port.name === port);
  if (sender === undefined) throw new IovnError('unknown_port', `port ${port} is not in this node's kernel`);
  const { device, vlanId, interfaceName } = sender.plugged;
  const sent = vlanId === 0 ? frame : insertTag(frame, { type: nestedTagType, tci: vlanId });
  const steps = dataPlane.trace('vif_ingress', sent, device.ifindex);
  return { program: 'vif_ingress', interface: interfaceName, steps: describeSteps(steps, options) };
}

/** The steps in terms of the network. */
export function describeSteps(steps: readonly RecordedStep[], options: TraceOptions): TraceStepInput[] {
  const bySlot = (slot: number): Place | undefined => options.places.bySlot(slot);
  /* Every step of a hop is in one switch: that of any port which is named by its slot. */
  const owner = steps.flatMap(({ event, slot }) => (hasSlot(event) ? (bySlot(slot)?.owner ?? []) : []))[0];
  const view = options.view();
  const nameOf = (portKey: number): string =>
    [...(view?.intent?.ports.values() ?? [])].find(
      (port) => port.switchId === owner?.id && port.portKey === portKey,
    )?.name ?? '';

  return steps.map(({ event, slot, detail, frame }) => {
    const common = { event: eventNames.get(event) ?? '', switch: owner?.name ?? '' };
    const place = bySlot(slot);
    switch (event) {
      case traceEvent.TRACE_UNICAST:
        return { ...common, ...(place ? atPort(place) : { port: nameOf(detail) }), key: detail };
      case traceEvent.TRACE_FLOOD:
        return { ...common, key: detail };
      case traceEvent.TRACE_FROM_TUNNEL:
        return { ...common, port: nameOf(detail), key: slot };
      case traceEvent.TRACE_TUNNEL: {
        const tunnel = view?.tunnels.find(({ id }) => id === detail);
        const text = tunnel?.type === 'vxlan' ? notFollowed : '';
        return { ...common, chassis: tunnel?.chassis ?? '', frame, text };
      }
      case traceEvent.TRACE_DROP:
        return { ...common, ...dropped(place, detail) };
      case traceEvent.TRACE_DELIVER:
        return { ...common, ...atPort(place), frame };
      default:
        return { ...common, ...atPort(place) };
    }
  });
}

/** Whether the step's slot is that of a port. */
function hasSlot(event: number): boolean {
  return event !== traceEvent.TRACE_FROM_TUNNEL;
}

function atPort(place: Place | undefined): TraceStepInput {
  if (place === undefined) return {};
  const { port, interfaceName } = place.plugged;
  return {
    port: port.name,
    interface: interfaceName,
    row_table: 'Logical_Switch_Port',
    row_uuid: port.nbUuid,
    row_name: port.name,
  };
}

function dropped(place: Place | undefined, number: number): TraceStepInput {
  const reason = dropReasons[number];
  if (reason === undefined) return {};
  const deciding = decidingColumn(reason);
  const said = { ...atPort(place), reason: reason.name, text: reason.text };
  if (place === undefined || deciding === undefined) return said;
  const { table, column } = deciding;
  if (table === 'Logical_Switch_Port') return { ...said, row_column: column };
  const { nbUuid = '', name = '' } = place.owner ?? {};
  return { ...said, row_table: table, row_uuid: nbUuid, row_name: name, row_column: column };
}
