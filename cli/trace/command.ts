import { existsSync } from 'node:fs';

import { IovnError } from '../../common/errors.js';
import { readPcap } from '../../common/pcap.js';
import { type CommandOutput, exitCodes } from '../commands.js';
import { formatJson, toPlain } from '../json.js';
import type { NodeClient } from '../node-client.js';
import { buildFrame } from './build-frame.js';
import { followPacket, type Hop, type Origin } from './follow-packet.js';
import { parseMicroflow } from './microflow.js';
import { traceView } from './trace-view.js';

export interface TraceSettings {
  /** More packets than one: a capture file instead of a microflow, and the port that sends them. */
  readonly pcap?: string;
  readonly inport?: string;
  /** Where it starts, when the port is on several nodes: a chassis name or hostname. */
  readonly node?: string;
  readonly detailed?: boolean;
}

interface Packets {
  readonly origin: Origin;
  readonly frames: readonly Uint8Array[];
}

/** `iovn trace`. Throws IovnError: a wrong expression (with a caret under the error), no such port or file. */
export async function tracePackets(
  client: NodeClient,
  isLocal: boolean,
  words: readonly string[],
  settings: TraceSettings,
): Promise<CommandOutput> {
  const { origin, frames } = readPackets(words, settings);
  const traces: { readonly frame: Uint8Array; readonly hops: readonly Hop[] }[] = [];
  for (const frame of frames)
    traces.push({ frame, hops: await followPacket(client, origin, frame, isLocal) });
  const isComplete = traces.every(({ hops }) => hops.every(({ outcome }) => !('error' in outcome)));
  return {
    json: formatJson(
      traces.map(({ frame, hops }) => ({
        frame: Buffer.from(frame).toString('hex'),
        hops: hops.map(plainHop),
      })),
    ),
    lines: traces.flatMap(({ frame, hops }) => traceView(frame, hops, settings.detailed === true)),
    status: isComplete ? 0 : exitCodes.incomplete,
  };
}

function plainHop({ node, outcome }: Hop): object {
  return 'error' in outcome ? { node, error: outcome.error } : { node, ...toPlain('TracedHop', outcome.hop) };
}

/** `[SWITCH] MICROFLOW`, or `[SWITCH]` with a capture. */
function readPackets(words: readonly string[], { pcap, inport, node }: TraceSettings): Packets {
  const wanted = pcap === undefined ? 2 : 1;
  if (words.length > wanted || (pcap === undefined && words.length === 0))
    throw new IovnError('usage', 'a trace takes [SWITCH] MICROFLOW, or [SWITCH] --pcap FILE --inport PORT');
  const name = words.length === wanted ? words[0] : undefined;
  const owner = { ...(name !== undefined && { switch: name }), ...(node !== undefined && { node }) };
  if (pcap === undefined) {
    const flow = parseMicroflow(words.at(-1) ?? '');
    return { origin: { port: flow.inport, ...owner }, frames: [buildFrame(flow)] };
  }
  if (inport === undefined) throw new IovnError('usage', 'which port sends what is captured? --inport PORT');
  if (!existsSync(pcap)) throw new IovnError('no_capture', `there is no file ${pcap}`);
  const frames = readPcap(pcap);
  if (frames.length === 0) throw new IovnError('no_capture', `${pcap} has no frames in the pcap format`);
  return { origin: { port: inport, ...owner }, frames };
}
