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

/** Where the caret is: under the beginning of this piece of the expression, or with '' at its end. */
const wrong: readonly (readonly [expression: string, at: string, problem: RegExp])[] = [
  ['', '', /ends too early/],
  ['eth.src == 02:00:00:00:00:01', '', /needs a port/],
  ['inport == p1', 'p1', /quotation marks/],
  ['inport == "p1" && inport == "p2"', '"p2"', /needs inport == "p2", but "p1" says inport == "p1"/],
  ['inport == {"p1", "p2"}', '"p2"', /from which port/],
  ['inport != "p1"', '"p1"', /does not say where it comes from/],
  ['inport == @pg', '@pg', /a port group/],
  ['inport', '', /'==' is expected/],
  ['inport == "p1" && outport == "p2"', 'outport', /what a trace finds out/],
  ['inport == "p1" && ct.est', 'ct.est', /what OVN notes/],
  ['inport == "p1" && reg0[3] == 1', 'reg0', /what OVN notes/],
  ['inport == "p1" && is_chassis_resident("p2")', 'is_chassis_resident', /what OVN notes/],
  ['inport == "p1" && eth.scr == 1', 'eth.scr', /did you mean eth\.src\?/],
  ['inport == "p1" && ip4.src == 10.0.0.0/33', '10.0.0.0/33', /an IPv4 address, and a mask/],
  ['inport == "p1" && ip4.src == 10.0.0', '10.0.0', /an IPv4 address/],
  ['inport == "p1" && ip4.src == fd00::1', 'fd00::1', /of 32 bits/],
  ['inport == "p1" && eth.src == 0x1000000000000', '0x1', /a MAC address of 48 bits/],
  ['inport == "p1" && vlan.vid == 4096', '4096', /of 12 bits/],
  ['inport == "p1" && vlan.vid == -1', '-1', /a number/],
  ['inport == "p1" && vlan.tci == 5', 'vlan.tci', /say also vlan\.present/],
  ['inport == "p1" && ip4 && tcp.dst == {1, 2}', 'tcp.dst', /leaves open what tcp\.dst is/],
  ['inport == "p1" && ip4 && tcp.dst == {}', '{}', /a set without constants/],
  ['inport == "p1" && ip4 && tcp.dst < {1, 2}', '2}', /go with a set/],
  ['inport == "p1" && ip4.src == $as', '$as', /an address set/],
  ['inport == "p1" && ip4.src == @pg', '@pg', /a port group/],
  ['inport == "p1" && $as', '$as', /a set stands behind a comparison/],
  ['inport == "p1" && ip4 && tcp.dst > 5', 'tcp.dst', /leaves open what tcp\.dst is/],
  ['inport == "p1" && ip4 && ip.proto > 5', '5', /only '==' and '!=' go with ip\.proto/],
  ['inport == "p1" && ip4 && tcp.dst > 8/8', '8/8', /masked value/],
  ['inport == "p1" && ip4 && 5 < tcp.dst > 7', '> 7', /no range/],
  ['inport == "p1" || ip4', 'ip4', /whether eth\.type == 0x800 is left open/],
  ['inport == "p1" && !ip4', 'ip4', /leaves open what eth\.type is: that is more/],
  ['inport == "p1" && !ip4.src == 5', '!', /needs parentheses/],
  ['inport == "p1" && arp && ip4', 'ip4', /ip4 needs eth\.type == 0x800, but arp says eth\.type == 0x806/],
  ['inport == "p1" && arp && ip4 || tcp', '||', /need parentheses/],
  ['inport == "p1" && ip4 && (tcp && udp)', 'udp', /udp needs ip\.proto == 17, but tcp says ip\.proto == 6/],
  [
    'inport == "p1" && eth.mcast && !eth.dst[40]',
    'eth.dst',
    /needs eth\.dst\[40\] == 0, but eth\.mcast says/,
  ],
  ['inport == "p1" && tcp', 'tcp', /ip4 or ip6/],
  ['inport == "p1" && eth.type == 0x806 && ip.ttl == 1', 'ip.ttl', /ip\.ttl needs eth\.type/],
  ['inport == "p1" && nd.target == fd00::1', 'nd.target', /nd_ns or nd_na/],
  ['inport == "p1" && ip4 && ip.later_frag && udp.dst == 5', 'udp.dst', /a later fragment has no udp\.dst/],
  ['inport == "p1" && ip4 && ip.frag == 2', 'ip.frag', /is a fragment, too/],
  ['inport == "p1" && eth.type[3]', '[3]', /say nothing one by one/],
  ['inport == "p1" && vlan.vid[3..12] == 1', '[3', /bits 0 to 11/],
  ['inport == "p1" && vlan.vid[5..3] == 1', '[5', /\[BIT\] or/],
  ['inport == "p1" && eth.dst[0..1]', '', /'==' is expected/],
  ['inport == "p1" && ip4 == 2', '2', /true or not/],
  ['inport == "p1" && 0', '', /no packet is like this/],
  ['inport == "p1" && (ip4', '', /ends too early/],
  ['inport == "p1" && (ip4 ip6', 'ip6', /'\)' is expected/],
  ['inport == "p1" ip4', 'ip4', /'&&' is expected/],
  ['inport == "p1" && eth.src', '', /'==' is expected/],
  [
    'inport == "p1" && ip4.src != 1 && ip4.dst != 1 && eth.src != 1 && eth.dst != 1',
    '&& eth.src',
    /far too much open/,
  ],
];
for (const [expression, at, problem] of wrong) {
  test(`'${expression}' is refused with a caret`, (t) => {
    const error = t.throws(() => parseMicroflow(expression), { instanceOf: IovnError, code: 'microflow' });
    const lines = errorMessage(error).split('\n');
    t.regex(lines[0] ?? '', problem);
    const position = at === '' ? expression.length : expression.lastIndexOf(at);
    t.deepEqual(lines.slice(1), [`  ${expression}`, `  ${' '.repeat(position)}^`]);
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
    '0x10/0x30',
    'fd00::/8',
    '"',
    '{',
    '}',
    '$',
    '!=',
    '<=',
    '[',
    '3',
    '..',
    ']',
    '/*',
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

/** Ways to say that some bits of a field have a value, which all mean the same. */
function spelling(name: string, bits: number, value: bigint): fc.Arbitrary<string> {
  const hex = `0x${value.toString(16)}`;
  const all = (1n << BigInt(bits)) - 1n;
  const forms = [
    `${name} == ${value}`,
    `${hex} == ${name}`,
    `!(${name} != ${hex})`,
    `${name} == {${hex}, ${hex},}`,
    `(${name} == ${value}/0x${all.toString(16)})`,
  ];
  if (!fields.get(name)?.isNominal) {
    forms.push(`${hex} <= ${name} <= ${hex}`);
    const low = Math.ceil(bits / 2);
    const rest = value >> BigInt(low);
    if (low < bits)
      forms.push(
        `${name}[${low}..${bits - 1}] == ${rest} && /* and */ ${name}[0..${low - 1}] == ${value & ((1n << BigInt(low)) - 1n)}`,
      );
  }
  return fc.constantFrom(...forms);
}

const sayable = [
  ...['eth.src', 'eth.dst', 'ip4.src', 'ip4.dst', 'ip.ttl', 'ip.dscp', 'ip.ecn', 'vlan.vid', 'vlan.pcp'],
  ...['udp.src', 'udp.dst', 'ip.frag'],
];

test('a packet may be said in many ways', (t) => {
  const one = fc.record({
    names: fc.uniqueArray(fc.constantFrom(...sayable), { minLength: 1 }),
    seed: fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }),
  });
  const property = fc.property(
    one.chain(({ names, seed }) => {
      const terms = names.map((name) => {
        const bits = name === 'ip.frag' ? 1 : (fields.get(name)?.bits ?? 0);
        return [name, bits, (seed * 31n) & ((1n << BigInt(bits)) - 1n)] as const;
      });
      const plain = terms.map(([name, , value]) => `${name} == ${value}`).join(' && ');
      const spellings = terms.map(([name, , value]) => spelling(name, fields.get(name)?.bits ?? 0, value));
      return fc.tuple(
        fc.constant(plain),
        fc.tuple(...spellings).chain((texts) => fc.shuffledSubarray(texts, { minLength: texts.length })),
      );
    }),
    ([plain, texts]) => {
      const expected = buildFrame(parseMicroflow(`inport == "p1" && ip4 && ${plain}`));
      const built = buildFrame(parseMicroflow([...texts, 'ip4', '"p1" == inport'].join(' && ')));
      return Buffer.compare(expected, built) === 0;
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test('fragments', (t) => {
  const built = (text: string): Uint8Array => buildFrame(parseMicroflow(`inport == "p1" && ${text}`));
  const datagram = udp({ source: 0, destination: 5 });
  t.deepEqual(
    built(`${ends.split(' && ').slice(1).join(' && ')} && ${ip4} && udp.dst == 5 && ip.first_frag`),
    frame(ipv4({ ...addresses4, moreFragments: true }, datagram)),
  );
  const later = built(`${ends.split(' && ').slice(1).join(' && ')} && ${ip4} && udp && ip.later_frag`);
  t.deepEqual(later, frame(ipv4({ ...addresses4, fragmentOffset: 1 }, rawTransport(17, new Uint8Array(8)))));
  const six = built(`${ip6} && udp.dst == 5 && ip.first_frag`);
  t.deepEqual(six.subarray(20, 21), Uint8Array.of(44));
  t.deepEqual(six.subarray(54, 62), Uint8Array.of(17, 0, 0, 1, 0, 0, 0, 0));
  const laterSix = built(`${ip6} && udp && ip.later_frag`);
  t.deepEqual(laterSix.subarray(54), Uint8Array.of(17, 0, 0, 8, ...new Uint8Array(12)));
  t.is(built('ip4 && icmp4.type == 8 && !ip.is_frag')[20], 0);
});

test('every field and every predicate can be said', (t) => {
  const version: Readonly<Record<string, string>> = {
    ip: 'ip4',
    icmp: 'ip4',
    nd: 'nd_ns',
    mldv1: 'icmp6.type == 131',
  };
  for (const name of predicates.keys()) {
    const more =
      version[name] ?? (['tcp', 'udp', 'sctp'].includes(name) || name.startsWith('ip.') ? 'ip4' : '1');
    t.notThrows(() => buildFrame(parseMicroflow(`inport == "p1" && ${name} && ${more}`)), name);
  }
  for (const [name, { bits }] of fields) {
    const family = name === 'nd.target' ? 'nd_ns' : /^(ip|tcp|udp|sctp)\./.test(name) ? 'ip4' : '1';
    for (const value of [0n, (1n << BigInt(bits)) - 1n]) {
      const text = `inport == "p1" && ${name} == ${value} && ${family}`;
      if (name === 'vlan.present' || name === 'vlan.tci') continue;
      t.notThrows(() => buildFrame(parseMicroflow(text)), text);
    }
  }
});
