import test from 'ava';
import fc from 'fast-check';

import {
  decodeError,
  decodeLink,
  decodeMessages,
  encodeCreateVeth,
  encodeGetLink,
  encodeSetUp,
  messageTypes,
} from '../../agent/netlink/codec.js';
import type { Ifindex } from '../../common/addresses.js';

/** struct nlattr, type and value as hex. */
function attribute(type: number, value: string): string {
  const length = 4 + value.length / 2;
  const head = Buffer.alloc(4);
  head.writeUInt16LE(length, 0);
  head.writeUInt16LE(type, 2);
  return head.toString('hex') + value + '00'.repeat((4 - (length % 4)) % 4);
}

function text(value: string): string {
  return Buffer.from(`${value}\0`).toString('hex');
}

/** RTM_NEWLINK's payload: AF_UNSPEC, ARPHRD_ETHER, ifindex 5, IFF_UP|IFF_BROADCAST|IFF_RUNNING|IFF_MULTICAST|IFF_LOWER_UP. */
const interfaceInfo = '0000010005000000431001000000000000';
function link(...attributes: string[]): Buffer {
  return Buffer.from(interfaceInfo.slice(0, 32) + attributes.join(''), 'hex');
}

const name = attribute(3, text('tap0'));
const mtu = attribute(4, 'dc050000');
const address = attribute(1, '0200000000aa');

test('a veth whose other end is in another namespace', (t) => {
  const veth = attribute(18, attribute(1, text('veth')));
  t.deepEqual(
    decodeLink(link(name, mtu, address, attribute(5, '07000000'), attribute(37, '00000000'), veth)),
    {
      ifindex: 5 as Ifindex,
      name: 'tap0',
      mac: '02:00:00:00:00:aa' as never,
      mtu: 1500,
      adminUp: true,
      operUp: true,
      kind: 'veth',
      peerInOtherNamespace: true,
      promiscuous: false,
      peerIfindex: 7 as Ifindex,
    },
  );
});

test('what is not said is absent, off or zero', (t) => {
  const down = link(name);
  down.writeUInt32LE(0, 8);
  t.deepEqual(decodeLink(down), {
    ifindex: 5 as Ifindex,
    name: 'tap0',
    mac: '00:00:00:00:00:00' as never,
    mtu: 0,
    adminUp: false,
    operUp: false,
    kind: '',
    peerInOtherNamespace: false,
    promiscuous: false,
  });
  t.is(decodeLink(link(name, attribute(10, '09000000')))?.masterIndex, 9 as Ifindex);
  t.is(decodeLink(link(mtu)), undefined);
  t.is(decodeLink(Buffer.alloc(3)), undefined);
});

test('attributes behind a malformed one are left out', (t) => {
  t.is(decodeLink(link(name, '02000400', mtu))?.mtu, 0);
  t.is(decodeLink(link(name, mtu, 'ff000400'))?.mtu, 1500);
});

test('a request is a message that reads back', (t) => {
  const [message, ...more] =
    decodeMessages(Buffer.concat([encodeGetLink(77), encodeSetUp(78, 5 as Ifindex)])) ?? [];
  t.is(message?.type, messageTypes.getLink);
  t.is(message?.sequence, 77);
  t.deepEqual(
    more.map(({ type, sequence, payload }) => [
      type,
      sequence,
      payload.readInt32LE(4),
      payload.readUInt32LE(8),
    ]),
    [[messageTypes.newLink, 78, 5, 1]],
  );
});

test('a new veth pair carries both names and its kind', (t) => {
  const [message] = decodeMessages(encodeCreateVeth(1, 'outer', 'inner')) ?? [];
  const created = decodeLink(message?.payload ?? Buffer.alloc(0));
  t.is(created?.name, 'outer');
  t.is(created?.kind, 'veth');
  t.true(message?.payload.includes('inner\0'));
});

test('an error is a positive errno, and 0 an acknowledgement', (t) => {
  t.is(decodeError(Buffer.from('edffffff', 'hex')), 19);
  t.is(decodeError(Buffer.alloc(4)), 0);
});

test('a datagram that is cut off is noticed', (t) => {
  const whole = Buffer.concat([encodeGetLink(1), encodeGetLink(2)]);
  t.is(decodeMessages(whole)?.length, 2);
  for (let length = 1; length < whole.length; length++) {
    const expected = length === whole.length / 2 ? 1 : undefined;
    t.is(decodeMessages(whole.subarray(0, length))?.length, expected, `${length} bytes`);
  }
});

test('no bytes whatever make the decoders throw', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const buffer = Buffer.from(bytes);
      for (const { payload } of decodeMessages(buffer) ?? []) decodeLink(payload);
      decodeLink(buffer);
      decodeLink(Buffer.concat([link(name), buffer]));
      decodeError(buffer);
    }),
  );
  t.pass();
});
