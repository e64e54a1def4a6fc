import { randomInt } from 'node:crypto';

import test from 'ava';
import fc from 'fast-check';

import { macBytes } from '../../common/addresses.js';
import { v1 } from '../../common/proto.js';
import { parseMacAndAddresses } from '../../common/lsp-addresses.js';
import { constants } from '../../generated/bpf/layouts.js';
import { DataPlane, intentFrom } from '../differential/data-plane.js';
import { type Frame, frameArbitrary } from '../differential/frames.js';
import {
  describeSwitch,
  maximumPorts,
  portSecurityColumn,
  type PortDescription,
  type SwitchDescription,
  switchDescription,
} from '../differential/network.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { extractFlow, maySend, type ReferenceEntry } from './reference.js';

enterPrivateNamespaces();

const devices = Array.from({ length: maximumPorts }, (_, index) => createDevice(`fuzz${index}`));
const networks = 6;
const framesPerNetwork = 250;
/** The kernel lets no more be tried than fits a page (BPF_PROG_TEST_RUN). */
const longestFrame = 3400;
/** Why a sender's frame is stopped before it gets to the switch. */
const ingressReasons =
  /: (frame_too_short|port_disabled|vlan_tagged|multicast_source|port_security_\w+|malformed_\w+)$/;

function entriesOf(port: PortDescription): readonly ReferenceEntry[] {
  return portSecurityColumn(port).flatMap((text) => {
    const parsed = parseMacAndAddresses(text);
    return parsed === undefined ? [] : [{ mac: parsed.mac.replaceAll(':', ''), addresses: parsed.addresses }];
  });
}

/** The switch without OVN, every port in both multicast groups: what is not stopped is delivered. */
function dataPlane({ name, ports }: SwitchDescription): DataPlane {
  const bodies = ports.map((port, index) => ({
    kind: 'Port' as const,
    name: port.name,
    body: v1.Port.serialize({
      switch: name,
      port_key: index + 1,
      enabled: true,
      chassis: 'oracle',
      multicast_groups: [constants.MULTICAST_FLOOD, constants.MULTICAST_UNKNOWN],
      port_security: entriesOf(port).map(({ mac, addresses }) => ({
        mac: Buffer.from(mac, 'hex'),
        addresses: addresses.map(({ address, prefixLength }) => ({ address, prefix_length: prefixLength })),
      })),
    }),
  }));
  const body = v1.Switch.serialize({ name, datapath_key: 1 });
  const intent = intentFrom([{ kind: 'Switch', name, body }, ...bodies]);
  return new DataPlane(
    intent,
    ports.map((port) => port.name),
    devices,
  );
}

/** Bytes without any plan, but for a source MAC that gets past the first check now and then. */
function noise({ ports }: SwitchDescription): fc.Arbitrary<Frame> {
  const length = fc.oneof(fc.integer({ min: 15, max: 100 }), fc.integer({ min: 15, max: longestFrame }));
  const type = fc.constantFrom('0800', '0806', '86dd', '0026');
  return fc
    .tuple(fc.nat(ports.length - 1), length, fc.uint8Array({ minLength: 60, maxLength: 60 }), type)
    .map(([index, size, bytes, hexType]) => {
      const frame = new Uint8Array(Math.max(size, 54));
      frame.set(bytes.subarray(0, Math.min(size, 60)).subarray(0, frame.length));
      frame.set(macBytes(parseMacAndAddresses(`0a:00:00:00:00:0${index + 1}`)?.mac ?? fail()), 6);
      frame.set(Buffer.from(hexType, 'hex'), 12);
      return { port: ports[index]?.name ?? '', bytes: frame };
    });
}

function fail(): never {
  throw new Error('not a MAC');
}

/** A frame that makes sense, with some of its bytes replaced behind the type, and sometimes a long trailer. */
function mutated(description: SwitchDescription): fc.Arbitrary<Frame> {
  const change = fc.tuple(fc.integer({ min: 14, max: 110 }), fc.nat(255));
  const trailer = fc.oneof(
    { weight: 9, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.nat(longestFrame - 1000) },
  );
  return fc
    .tuple(frameArbitrary(description), fc.array(change, { maxLength: 4 }), trailer)
    .map(([{ port, bytes }, changes, extra]) => {
      const frame = new Uint8Array(bytes.length + extra);
      frame.set(bytes);
      for (const [offset, value] of changes) if (offset < bytes.length) frame[offset] = value;
      return { port, bytes: frame };
    });
}

for (const [kind, seed] of [
  ['fixed', 7],
  ['fresh', randomInt(2 ** 30)],
] as const) {
  test(`no frame passes that OVN's flows would stop, ${kind} seed`, (t) => {
    t.log(`seed ${seed}`);
    let passed = 0;
    for (let index = 0; index < networks; index++) {
      const [description] = fc.sample(switchDescription(`f${index}`), { seed: seed + index, numRuns: 1 });
      if (description === undefined) return t.fail('fast-check gave no sample');
      const plane = dataPlane(description);
      const entries = new Map(description.ports.map((port) => [port.name, entriesOf(port)]));
      const frames = fc.oneof(
        { weight: 1, arbitrary: noise(description) },
        { weight: 4, arbitrary: mutated(description) },
      );
      const property = fc.property(frames, ({ port, bytes }) => {
        const { drops } = plane.send(port, bytes);
        if (drops.some((drop) => drop.startsWith(`${port}: `) && ingressReasons.test(drop))) return;
        passed += 1;
        if (!maySend(entries.get(port) ?? [], extractFlow(bytes)))
          throw new Error(`${port} may send what OVN would stop`);
      });
      const result = fc.check(property, { seed: seed + index, numRuns: framesPerNetwork });
      plane.close();
      const [smallest] = result.counterexample ?? [];
      const frame =
        smallest === undefined ? '' : `${smallest.port}: ${Buffer.from(smallest.bytes).toString('hex')}`;
      t.false(result.failed, `${describeSwitch(description)}\n${frame}\n${String(result.errorInstance)}`);
    }
    t.true(passed > (networks * framesPerNetwork) / 50, 'too few frames pass to say anything');
  });
}
