import type { TraceStep } from '../../generated/proto/iovn/v1/TraceStep.js';
import { rowText } from '../../inspect/nb-row.js';
import type { Hop } from './follow-packet.js';

const stageWidth = 22;
const hexColumns = 16;

/** One page for a packet: hop by hop what each stage decided, and at the end who gets it. */
export function traceView(frame: Uint8Array, hops: readonly Hop[], detailed: boolean): readonly string[] {
  return [
    `packet: ${frame.length} bytes`,
    ...hexLines(frame, detailed),
    ...hops.flatMap((hop) => hopLines(hop, detailed)),
    ...outputLines(hops),
  ];
}

function hopLines({ node, outcome }: Hop, detailed: boolean): readonly string[] {
  if ('error' in outcome) return [`${node}: not known: ${outcome.error}`];
  const { program, interface: name, steps } = outcome.hop;
  const head = [node, program, name].filter((part) => part !== '').join(' ');
  if (steps.length === 0) return [head, '  no tunnel packet of this network: it is left to the host'];
  return [head, ...steps.flatMap((step) => stepLines(step, detailed))];
}

function stepLines(step: TraceStep, detailed: boolean): readonly string[] {
  const [stage, decision] = describeStep(step);
  const line = `  ${stage.padEnd(stageWidth)}${decision}`.trimEnd();
  return detailed && step.frame.length > 0 ? [line, ...hexLines(step.frame, true)] : [line];
}

function describeStep(step: TraceStep): readonly [stage: string, decision: string] {
  const { event, port, interface: name, chassis, key, frame } = step;
  switch (event) {
    case 'from port':
      return ['from', `${port} of switch ${step.switch}${row(step)}`];
    case 'port security':
      return ['port security', `pass${row(step)}`];
    case 'egress port security':
      return ['egress port security', `pass, to ${port}${row(step)}`];
    case 'learn':
      return ['learn MAC', `would be learnt on ${port}${row(step)}`];
    case 'answer':
      return ['ARP/ND responder', `answers${port === '' ? '' : ` for ${port}`}${row(step)}`];
    case 'unicast':
      return ['L2 switch', `→ ${port === '' ? `port key ${key}` : port}${learnt(step)}${row(step)}`];
    case 'flood':
      return [
        'L2 switch',
        `→ ${port === '' ? groupName(key) : `${port}, which is at several places`}${row(step)}`,
      ];
    case 'from tunnel':
      return [
        'from',
        `${port === '' ? 'a tunnel' : `${port} through the tunnel`}, to key ${key}${row(step)}`,
      ];
    case 'drop':
      return ['drop', `${step.reason}: ${step.text}${port === '' ? '' : `, by ${port}`}${row(step)}`];
    case 'deliver':
      return ['output', `→ ${port} on ${name}, ${frame.length} bytes${row(step)}`];
    case 'uplink':
      return ['uplink', `→ the physical network by ${port} on ${name}, ${frame.length} bytes${row(step)}`];
    case 'tunnel':
      return ['tunnel', `→ node ${chassis}, ${frame.length} bytes`];
    case 'to host':
      return ['host', 'it goes on to the host'];
    default:
      return [event, ''];
  }
}

/** OVN's names of the groups (ovn-northd(8)). */
function groupName(key: number): string {
  const name = { 32768: '_MC_flood', 32769: '_MC_unknown' }[key];
  return `multicast group ${name === undefined ? key : `${name} (${key})`}`;
}

function learnt({ text }: TraceStep): string {
  return text === '' ? '' : `, ${text}`;
}

function row(step: TraceStep): string {
  const text = rowText(step);
  return text === '' ? '' : ` (${text})`;
}

function outputLines(hops: readonly Hop[]): readonly string[] {
  const delivered = hops.flatMap(({ node, outcome }) =>
    'error' in outcome
      ? []
      : outcome.hop.steps
          .filter(({ event }) => event === 'deliver' || event === 'uplink')
          .map(({ event, port, interface: name, frame }) => {
            const to = event === 'uplink' ? `the physical network by ${port}` : port;
            return `output: to ${to} on ${name} of ${node}, ${frame.length} bytes`;
          }),
  );
  return delivered.length === 0 ? ['output: nothing'] : delivered;
}

/** 16 bytes to a line. */
function hexLines(bytes: Uint8Array, all: boolean): readonly string[] {
  if (!all) return [];
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += hexColumns) {
    const hex = Buffer.from(bytes.subarray(at, at + hexColumns)).toString('hex');
    lines.push(`    ${at.toString(16).padStart(4, '0')}  ${hex.replace(/(..)/g, '$1 ').trimEnd()}`);
  }
  return lines;
}
