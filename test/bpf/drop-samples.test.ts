import test, { type ExecutionContext } from 'ava';

import type { DropSample } from '../../agent/drops/drop-source.js';
import { readEvents } from '../../agent/libbpf/event-reader.js';
import { dropReason, dropReasons, dropSampleLimits } from '../../generated/bpf/layouts.js';
import { waitFor } from '../../testbed/wait.js';
import { ethernet, icmp, ipv4, type Payload, raw } from '../support/packets.js';
import { enterPrivateNamespaces } from '../support/private-namespace.js';
import { verdicts } from './harness.js';
import { ip4Of, macOf, TestSwitch } from './switch.js';

enterPrivateNamespaces();

const ping = ipv4({ source: ip4Of(1), destination: ip4Of(2) }, icmp());

function frame(payload: Payload = ping, destination = macOf(9), vlan?: number): Uint8Array {
  return ethernet({ source: macOf(1), destination, ...(vlan === undefined ? {} : { vlan }) }, payload);
}

/** What the programs have told and tell from now on. */
function watch(t: ExecutionContext, { harness }: TestSwitch): readonly DropSample[] {
  const samples: DropSample[] = [];
  const abort = new AbortController();
  const handlers = { onMac: () => undefined, onDrop: (sample: DropSample) => void samples.push(sample) };
  const ended = readEvents(harness.descriptors.get('events') ?? -1, handlers, abort.signal);
  t.teardown(async () => {
    abort.abort();
    await ended;
  });
  return samples;
}

test('a drop is shown with its reason, place and first bytes', async (t) => {
  const network = TestSwitch.open(t, 2);
  const samples = watch(t, network);
  const long = frame(
    raw(
      0x88b5,
      Uint8Array.from({ length: 300 }, (_, index) => index & 0xff),
    ),
  );
  t.is(network.send(1, long).verdict, verdicts.drop);
  const sample = await waitFor('the sample', () => samples[0]);
  t.like(sample, {
    slot: 1,
    reason: dropReason.DROP_UNKNOWN_DESTINATION,
    ifindex: network.deviceOf(1),
    length: long.length,
  });
  t.deepEqual(Uint8Array.from(sample.head), long.subarray(0, dropSampleLimits.SAMPLE_HEAD_LENGTH));
});

test('a short frame is shown whole, and a tag beside the packet is where it is on a wire', async (t) => {
  const network = TestSwitch.open(t, 2);
  const samples = watch(t, network);
  network.send(1, frame());
  const tagged = frame(ping, macOf(2), 5);
  network.send(1, tagged);
  await waitFor('both samples', () => samples.length === 2);
  t.deepEqual(
    samples.map(({ head, length }) => [Uint8Array.from(head), length]),
    [
      [frame(), frame().length],
      [tagged, tagged.length],
    ],
  );
});

test('a receiver that refuses is named by its slot', async (t) => {
  const network = TestSwitch.open(t, 2);
  network.setFlags(2, 0);
  const samples = watch(t, network);
  network.send(1, frame(ping, macOf(2)));
  const sample = await waitFor('the sample', () => samples[0]);
  t.like(sample, {
    slot: 2,
    reason: dropReason.DROP_EGRESS_PORT_DISABLED,
    ifindex: network.deviceOf(1),
  });
});

test('of drops that are alike one is shown per interval, and others beside', async (t) => {
  const network = TestSwitch.open(t, 2);
  const samples = watch(t, network);
  for (let i = 0; i < 20; i++) network.send(1, frame());
  network.send(2, ethernet({ source: macOf(2), destination: macOf(9) }, ping));
  network.send(1, frame(ping, macOf(1)));
  await waitFor('one of each', () => samples.length >= 3);
  const names = samples.map(({ slot, reason }) => `${slot} ${dropReasons[reason]?.name ?? ''}`);
  t.true(names.includes('1 unknown_destination') && names.includes('2 unknown_destination'));
  t.true(names.includes('1 hairpin'));
  t.deepEqual(network.harness.drops(1), { unknown_destination: 20, hairpin: 1 }, 'counted all the same');

  const shown = (): number =>
    samples.filter(({ slot, reason }) => slot === 1 && reason === dropReason.DROP_UNKNOWN_DESTINATION).length;
  const before = shown();
  t.true(before <= 2, `${before} of 20`);
  await waitFor('the next, after the interval', () => {
    network.send(1, frame());
    return shown() > before;
  });
});

test('what is delivered is not shown', async (t) => {
  const network = TestSwitch.open(t, 2);
  const samples = watch(t, network);
  t.is(network.send(1, frame(ping, macOf(2))).verdict, verdicts.redirect);
  network.send(1, frame());
  await waitFor('the mark behind it', () => samples[0]);
  t.deepEqual(
    samples.map(({ reason }) => reason),
    [dropReason.DROP_UNKNOWN_DESTINATION],
  );
});

test('a full ring buffer loses samples, which are counted, and nothing else', (t) => {
  const network = TestSwitch.open(t, 2);
  const most = (256 * 1024) / dropSampleLimits.SAMPLE_HEAD_LENGTH;
  let sent = 0;
  /* Nobody reads. */
  for (; network.harness.lostDropSamples() === 0n && sent < most; sent++) {
    network.harness.forgetSampled(1);
    t.is(network.send(1, frame()).verdict, verdicts.drop);
  }
  t.is(network.harness.lostDropSamples(), 1n);
  t.deepEqual(network.harness.drops(1), { unknown_destination: sent });
});
