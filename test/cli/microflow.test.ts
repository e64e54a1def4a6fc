import test from 'ava';
import fc from 'fast-check';

import { buildFrame } from '../../cli/trace/build-frame.js';
import { fields, predicates } from '../../cli/trace/fields.js';
import { parseMicroflow } from '../../cli/trace/microflow.js';
import { errorMessage, IovnError } from '../../common/errors.js';
import {
  arp,
  broadcast,
  concat,
  ethernet,
  icmp6,
  ipv4,
  ipv6,
  neighbourAdvertisement,
  neighbourSolicitation,
  raw,
  rawTransport,
  type Payload,
  udp,
} from '../support/packets.js';

const [source, destination] = ['02:00:00:00:00:01', '02:00:00:00:00:02'];
const ends = 'inport == "p1" && eth.src == 02:00:00:00:00:01 && eth.dst == 02:00:00:00:00:02';

function frame(payload: Payload): Uint8Array {
  return ethernet({ source, destination }, payload);
}

const addresses4 = { source: '10.0.0.1', destination: '10.0.0.2', ttl: 0 };
const addresses6 = { source: 'fd00::1', destination: 'fd00::2' };
const ip4 = 'ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.2';
const ip6 = 'ip6.src == fd00::1 && ip6.dst == fd00::2';
const link = '0a:00:00:00:00:01';

const packets: Readonly<Record<string, Uint8Array>> = {
  [`${ip4} && udp.src == 5 && udp.dst == 0x35`]: frame(ipv4(addresses4, udp({ source: 5, destination: 53 }))),
  [`udp && 5 == udp.src && (udp.dst == 53 && ip4) && ${ip4}`]: frame(
    ipv4(addresses4, udp({ source: 5, destination: 53 })),
  ),
  [`${ip4} && ip.ttl == 64 && ip.proto == 50`]: frame(
    ipv4({ ...addresses4, ttl: 64 }, rawTransport(50, new Uint8Array(0))),
  ),
  [`${ip4} && icmp4.type == 8`]: frame(
    ipv4(addresses4, rawTransport(1, Uint8Array.of(8, 0, 0xf7, 0xff, 0, 0, 0, 0))),
  ),
  [`${ip6} && icmp6.type == 128 && ip.ttl == 255`]: frame(ipv6(addresses6, icmp6(128, new Uint8Array(4)))),
  [`${ip6} && nd_ns && nd.target == fd00::9 && nd.sll == ${link}`]: frame(
    ipv6(addresses6, neighbourSolicitation({ target: 'fd00::9', linkLayerAddress: link })),
  ),
  [`${ip6} && nd.target == fd00::9 && nd.tll == ${link}`]: frame(
    ipv6(addresses6, neighbourAdvertisement({ target: 'fd00::9', linkLayerAddress: link })),
  ),
  [`arp.op == 1 && arp.sha == ${link} && arp.spa == 10.0.0.1 && arp.tpa == 10.0.0.2`]: frame(
    arp({ operation: 'request', senderMac: link, senderIp: '10.0.0.1', targetIp: '10.0.0.2' }),
  ),
  'eth.type == 0x88b5': frame(raw(0x88b5, new Uint8Array(46))),
  'eth.type == 0x88b5 && vlan.vid == 5 && vlan.pcp == 3': ethernet(
    { source, destination, vlan: (3 << 13) | 5 },
    raw(0x88b5, new Uint8Array(46)),
  ),
};
for (const [expression, expected] of Object.entries(packets)) {
  test(`${expression} is one packet`, (t) => {
    const flow = parseMicroflow(`${ends} && ${expression}`);
    t.is(flow.inport, 'p1');
    t.deepEqual(buildFrame(flow), expected);
  });
}

test('TCP and SCTP have their ports', (t) => {
  for (const [name, protocol] of [
    ['tcp', 6],
    ['sctp', 132],
  ] as const) {
    const built = buildFrame(parseMicroflow(`${ends} && ${ip4} && ${name}.src == 258 && ${name}.dst == 772`));
    t.is(built[23], protocol);
    t.deepEqual(built.subarray(34, 38), Uint8Array.of(1, 2, 3, 4));
  }
});

test('what is not said is zero', (t) => {
  const built = buildFrame(parseMicroflow('inport == "p 1\\"" && eth.bcast'));
  t.deepEqual(built, concat(new Uint8Array(6).fill(0xff), new Uint8Array(54)));
  t.is(parseMicroflow('inport == "p 1\\"" && eth.bcast').inport, 'p 1"');
  t.deepEqual(buildFrame(parseMicroflow(`inport == "p1" && eth.dst == ${broadcast}`)), built);
});

/** The `^` stands for the caret under the line above. */
const wrong: readonly (readonly [expression: string, caret: string, problem: RegExp])[] = [
  ['', '^', /ends too early/],
  ['eth.src == 02:00:00:00:00:01', '                            ^', /needs a port/],
  ['inport == p1', '          ^', /quotation marks/],
  ['inport == "p1" && inport == "p2"', '                            ^', /from "p1" already/],
  ['inport == "p1" && eth.scr == 1', '                  ^', /did you mean eth\.src\?/],
  ['inport == "p1" && ip4.src == 10.0.0.0/24', '                             ^', /masked/],
  ['inport == "p1" && ip4.src == fd00::1', '                             ^', /an IPv4 address/],
  ['inport == "p1" && eth.src == 5', '                             ^', /a MAC address/],
  ['inport == "p1" && vlan.vid == 4096', '                              ^', /of 12 bits/],
  ['inport == "p1" && tcp.dst == {1, 2}', '                             ^', /set of values/],
  ['inport == "p1" && ip4.src == $as', '                             ^', /address set/],
  ['inport == "p1" && ip4 && tcp.dst > 5', '                                 ^', /only '=='/],
  ['inport == "p1" || ip4', '               ^', /does not say which/],
  ['inport == "p1" && !ip4', '                  ^', /is not does not say/],
  [
    'inport == "p1" && arp && ip4',
    '                         ^',
    /ip4 needs eth\.type == 0x800, but arp says 0x806/,
  ],
  ['inport == "p1" && tcp', '                  ^', /ip4 or ip6/],
  [
    'inport == "p1" && eth.type == 0x806 && ip.ttl == 1',
    '                                       ^',
    /of IP packets/,
  ],
  ['inport == "p1" && nd.target == fd00::1', '                  ^', /nd_ns or nd_na/],
  ['inport == "p1" && (ip4', '                      ^', /ends too early/],
  ['inport == "p1" && (ip4 ip6', '                       ^', /'\)' is expected/],
  ['inport == "p1" ip4', '               ^', /'&&' is expected/],
  ['inport == "p1" && eth.src', '                         ^', /'==' is expected/],
];
for (const [expression, caret, problem] of wrong) {
  test(`'${expression}' is refused with a caret`, (t) => {
    const error = t.throws(() => parseMicroflow(expression), { instanceOf: IovnError, code: 'microflow' });
    const lines = errorMessage(error).split('\n');
    t.regex(lines[0] ?? '', problem);
    t.deepEqual(lines.slice(1), [`  ${expression}`, `  ${caret}`]);
  });
}

test('whatever is typed is a packet or a clear error', (t) => {
  const words = [
    ...fields.keys(),
    ...predicates.keys(),
    'inport',
    '"p1"',
    '==',
    '&&',
    '||',
    '(',
    ')',
    '!',
    '5',
    '"',
    '{',
    '$',
  ];
  const expressions = fc.array(fc.constantFrom(...words), { maxLength: 12 }).map((parts) => parts.join(' '));
  const property = fc.property(fc.oneof(expressions, fc.string()), (text) => {
    try {
      return buildFrame(parseMicroflow(text)).length > 14;
    } catch (error) {
      return error instanceof IovnError && error.code === 'microflow';
    }
  });
  t.notThrows(() => fc.assert(property, { numRuns: 500 }));
});
