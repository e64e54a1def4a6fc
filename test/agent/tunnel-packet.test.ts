import test from 'ava';
import fc from 'fast-check';

import { makeTunnelPacket, takeApart, type TunnelPacket } from '../../agent/trace/tunnel-packet.js';
import { ip } from '../support/packets.js';

const bytes = (minLength: number, maxLength = minLength): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength, maxLength });
const words = (count: number): fc.Arbitrary<Uint8Array> => bytes(4 * count);

const packets: fc.Arbitrary<TunnelPacket> = fc
  .record({ type: fc.constantFrom('geneve' as const, 'vxlan' as const), length: fc.constantFrom(4, 16) })
  .chain(({ type, length }) =>
    fc.record({
      type: fc.constant(type),
      frame: bytes(14, 100),
      metadata: fc.record({
        vni: fc.nat(2 ** 24 - 1),
        source: bytes(length),
        destination: bytes(length),
        options: type === 'vxlan' ? fc.constant(new Uint8Array(0)) : fc.oneof(words(0), words(2), words(4)),
      }),
    }),
  );

test('what is put together is taken apart', (t) => {
  const property = fc.property(packets, (packet) => {
    t.deepEqual(takeApart(makeTunnelPacket(packet)), packet);
  });
  t.notThrows(() => fc.assert(property, { numRuns: 200 }));
});

test('it is what the other end expects on the wire', (t) => {
  const metadata = {
    vni: 0x102003,
    source: ip('192.0.2.1'),
    destination: ip('192.0.2.2'),
    options: new Uint8Array(0),
  };
  const frame = new Uint8Array(14).fill(0xee);
  const outer = (length: string, checksum: string): string =>
    `00000000000000000000000008004500${length}000040004011${checksum}c0000201c0000202`;
  t.is(
    Buffer.from(makeTunnelPacket({ type: 'vxlan', metadata, frame })).toString('hex'),
    `${outer('0032', 'b6b7')}000012b5001e00000800000010200300${'ee'.repeat(14)}`,
  );
  const options = Uint8Array.of(1, 2, 0x80, 1, 0, 11, 0, 12);
  t.is(
    Buffer.from(makeTunnelPacket({ type: 'geneve', metadata: { ...metadata, options }, frame })).toString(
      'hex',
    ),
    `${outer('003a', 'b6af')}000017c100260000024065581020030001028001000b000c${'ee'.repeat(14)}`,
  );
});

test('what is no tunnel packet is none', (t) => {
  const property = fc.property(packets, fc.nat(80), (packet, length) => {
    const apart = takeApart(makeTunnelPacket(packet).subarray(0, length));
    return apart === undefined || apart.frame.length >= 14;
  });
  t.notThrows(() => fc.assert(property));
  t.is(takeApart(new Uint8Array(0)), undefined);
  t.is(takeApart(new Uint8Array(100)), undefined);
});
