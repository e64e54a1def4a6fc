import test from 'ava';
import fc from 'fast-check';

import type { TableName } from '../../agent/data-plane.js';
import { computeDesired } from '../../agent/desired.js';
import { emptyIntent, type Intent, type PortIntent } from '../../agent/intent.js';
import { findLocalPorts, localPort, type SlotKey } from '../../agent/local-ports.js';
import { tunnelMtu } from '../../agent/modules/tunnels.js';
import { encodeUint32 } from '../../agent/modules/uint32.js';
import { plan } from '../../agent/plan.js';
import { chooseTunnel } from '../../agent/tunnels/tunnel-endpoints.js';
import { planTunnels, recoverTunnelIds, tunnelTypes, type Underlay } from '../../agent/tunnels/tunnels.js';
import { canCarry } from '../../agent/tunnels/vxlan-keys.js';
import { formatIp, type Ifindex, parseIp } from '../../common/addresses.js';
import {
  constants,
  decodeMemberKey,
  decodePort,
  decodePortKey,
  decodePortPlace,
  decodeRemoteMember,
  decodeRemoteMemberKey,
  decodeTunnel,
  decodeTunnelEndpoint,
  decodeTunnelEndpointKey,
  tunnelFlags,
  tunnelType,
} from '../../generated/bpf/layouts.js';
import { makeLink } from './support/fake-devices.js';
import { vif } from './support/vif.js';

const encap = (type: string, ip: string) => ({ type, ip, options: {} });
const bytes = (text: string): Uint8Array => parseIp(text) ?? new Uint8Array();
const chassis = (name: string, ...encaps: readonly (readonly [type: string, ip: string])[]) => ({
  name,
  encaps: encaps.map(([type, ip]) => ({ type, ip: bytes(ip), checksum: false, isDefault: false })),
});

const choices: readonly (readonly [
  what: string,
  local: readonly (readonly [string, string])[],
  remote: readonly (readonly [string, string])[],
  expected: string,
])[] = [
  ['geneve', [['geneve', '192.0.2.1']], [['geneve', '192.0.2.2']], '192.0.2.1 192.0.2.2'],
  [
    'geneve before vxlan',
    [
      ['vxlan', '192.0.2.1'],
      ['geneve', '192.0.2.1'],
    ],
    [
      ['vxlan', '192.0.2.3'],
      ['geneve', '192.0.2.2'],
    ],
    '192.0.2.1 192.0.2.2',
  ],
  [
    'the first of several',
    [
      ['geneve', '192.0.2.1'],
      ['geneve', '192.0.2.9'],
    ],
    [
      ['geneve', '192.0.2.2'],
      ['geneve', '192.0.2.3'],
    ],
    '192.0.2.1 192.0.2.2',
  ],
  [
    'one of the same family',
    [['geneve', '2001:db8::1']],
    [
      ['geneve', '192.0.2.2'],
      ['geneve', '2001:db8::2'],
    ],
    '2001:db8::1 2001:db8::2',
  ],
  [
    'vxlan only',
    [
      ['geneve', '192.0.2.1'],
      ['vxlan', '192.0.2.1'],
    ],
    [['vxlan', '192.0.2.2']],
    'vxlan 192.0.2.1 192.0.2.2',
  ],
  [
    'stt before vxlan',
    [
      ['stt', '192.0.2.1'],
      ['vxlan', '192.0.2.1'],
    ],
    [
      ['stt', '192.0.2.2'],
      ['vxlan', '192.0.2.2'],
    ],
    'is stt, which is not supported',
  ],
  ['nothing in common', [['geneve', '192.0.2.1']], [['vxlan', '192.0.2.2']], 'no tunnel type in common'],
  ['another family', [['geneve', '192.0.2.1']], [['geneve', '2001:db8::2']], 'no IPv4 tunnel endpoint'],
  ['no endpoint', [['geneve', '192.0.2.1']], [], 'no tunnel type in common'],
];

for (const [what, local, remote, expected] of choices) {
  test(`endpoints: ${what}`, (t) => {
    const choice = chooseTunnel(
      local.map(([type, ip]) => encap(type, ip)),
      chassis('hv2', ...remote),
    );
    const text = choice.ok
      ? `${choice.type} ${formatIp(choice.local)} ${formatIp(choice.remote)}`
      : choice.reason;
    t.true(text.includes(expected), text);
  });
}

const eth0 = 2 as Ifindex;
const geneveDevice = 5 as Ifindex;
const vxlanDevice = 6 as Ifindex;
const underlay: Underlay = {
  relay: { into: 8 as Ifindex, outOf: 9 as Ifindex },
  way: (type) => (type === 'vxlan' ? { by: 'device', device: vxlanDevice } : { by: 'program', reason: '' }),
  guards: new Map(),
  interfacesWith: () => [eth0],
  routeTo: () => ({ ifindex: eth0, mtu: 1500 }),
};

function port(name: string, portKey: number, on: string, more: Partial<PortIntent> = {}): PortIntent {
  return {
    name,
    switchId: 'sw0',
    portKey,
    type: '',
    enabled: true,
    macs: [],
    portSecurity: [],
    multicastGroups: [32_768],
    neighbours: [],
    learnsMacs: false,
    chassis: on,
    additionalChassis: [],
    awaitingChassis: [],
    activatedBy: [],
    activating: [],
    encapIps: [],
    binding: name,
    nbUuid: '',
    parent: '',
    tag: 0,
    networkName: '',
    ethtype: 0,
    announced: undefined,
    ...more,
  };
}

function intentOf(ports: readonly PortIntent[], hosts: Intent['chassis']): Intent {
  const sw0 = {
    id: 'sw0',
    name: 'sw0',
    datapathKey: 7,
    fdbAgeThresholdSeconds: 0,
    vlanPassthru: false,
    nbUuid: '',
  };
  return {
    ...emptyIntent,
    switches: new Map([['sw0', sw0]]),
    ports: new Map(ports.map((each) => [each.name, each])),
    chassis: hosts,
  };
}

const hosts: Intent['chassis'] = new Map(
  ['hv2', 'hv3'].map((name, index) => [name, chassis(name, ['geneve', `192.0.2.${index + 2}`])]),
);

const geneveOnly = [encap('geneve', '192.0.2.1')];

function desiredOf(
  intent: Intent,
  from: Underlay = underlay,
  ids: ReadonlyMap<string, number> = new Map(),
  encaps = geneveOnly,
) {
  const interfaces = [vif('lp1', 5)];
  const localPorts = findLocalPorts(intent, interfaces, 'hv1');
  const slots = new Map<SlotKey, number>([['7/1', 1]]);
  const tunnelPlan = planTunnels(intent, encaps, from, ids);
  return { tunnelPlan, desired: computeDesired(intent, interfaces, localPorts, slots, tunnelPlan) };
}

function entries(tables: ReadonlyMap<TableName, ReadonlyMap<string, Uint8Array>>, table: TableName) {
  return [...(tables.get(table) ?? [])].map(([key, value]) => [Buffer.from(key, 'hex'), value] as const);
}

const ports = [
  port('lp1', 1, 'hv1'),
  port('lp2', 2, 'hv2'),
  port('lp3', 3, 'hv3'),
  port('lp4', 4, 'hv3'),
  port('lp5', 5, ''),
];

test('ports are found by key, and a group goes to each chassis once', (t) => {
  const { tunnelPlan, desired } = desiredOf(intentOf(ports, hosts));
  const idOf = (name: string): number => tunnelPlan.tunnels.get(name)?.id ?? -1;
  const places = entries(desired.tables, 'ports_by_key').map(([key, value]) => {
    const { slot, tunnel } = decodePortPlace(value);
    return [decodePortKey(key).portKey, slot, tunnel];
  });
  t.deepEqual(places, [
    [0, 0, 0],
    [1, 1, 0],
    [2, 0, idOf('hv2')],
    [3, 0, idOf('hv3')],
    [4, 0, idOf('hv3')],
    [5, 0, 0],
  ]);
  const next = new Map(
    entries(desired.tables, 'remote_members').map(([key, value]) => [
      decodeRemoteMemberKey(key).tunnel,
      decodeRemoteMember(value).nextTunnel,
    ]),
  );
  const walked: number[] = [];
  for (let id = next.get(0) ?? 0; id !== 0; id = next.get(id) ?? 0) walked.push(id);
  t.deepEqual(walked, [idOf('hv2'), idOf('hv3')].sort());
  t.is(next.size, 3);
  const endpoints = entries(desired.tables, 'tunnel_endpoints').map(([key, value]) => [
    formatIp(decodeTunnelEndpointKey(key).address.subarray(0, 4)),
    decodeTunnelEndpoint(value).flags,
  ]);
  t.deepEqual(endpoints.sort(), [
    ['192.0.2.1', 1],
    ['192.0.2.2', 2],
    ['192.0.2.3', 2],
  ]);
  t.deepEqual([...desired.underlay].sort(), ['relay_ingress 9', 'tunnel_ingress 2']);
  const [tunnel] = tunnelPlan.tunnels.values();
  if (tunnel === undefined) throw new Error('no tunnel');
  t.is(tunnelMtu(tunnel), 1442);
  t.is(tunnelMtu({ ...tunnel, remote: bytes('2001:db8::2') }), 1422);
  t.is(tunnelMtu({ ...tunnel, type: 'vxlan' }), 1450);
  t.is(tunnelMtu({ ...tunnel, type: 'vxlan', remote: bytes('2001:db8::2') }), 1430);
});

test('a disabled port makes nobody a member', (t) => {
  const { desired } = desiredOf(intentOf([port('lp2', 2, 'hv2', { enabled: false })], hosts));
  t.is(desired.tables.get('remote_members')?.size, 0);
});

const bothTypes = [...geneveOnly, encap('vxlan', '192.0.2.1')];
const mixed: Intent['chassis'] = new Map([
  ['hv2', chassis('hv2', ['geneve', '192.0.2.2'], ['vxlan', '192.0.2.2'])],
  ['hv3', chassis('hv3', ['vxlan', '192.0.2.3'])],
]);

test('types side by side: each tunnel leads to its device, and packets are taken by both', (t) => {
  const withVxlan = { ...underlay, guards: new Map([['vxlan', vxlanDevice] as const]) };
  const { tunnelPlan, desired } = desiredOf(intentOf(ports, mixed), withVxlan, new Map(), bothTypes);
  const devices = [...tunnelPlan.tunnels.values()].map(({ chassis, type, device }) => [
    chassis,
    type,
    device,
  ]);
  t.deepEqual(devices, [
    ['hv2', 'geneve', 2],
    ['hv3', 'vxlan', 6],
  ]);
  t.deepEqual([...desired.underlay].sort(), ['relay_ingress 9', 'tunnel_ingress 2', 'vxlan_ingress 6']);
  const contents = { tables: desired.tables, attachments: new Map(), underlay: new Map() };
  t.deepEqual(recoverTunnelIds(contents), tunnelPlan.ids);
  t.deepEqual([...tunnelTypes(mixed, bothTypes)].sort(), ['geneve', 'vxlan']);
  t.deepEqual([...tunnelTypes(mixed, geneveOnly)], ['geneve']);
});

test('without a VXLAN device its chassis are named once it is known that there will be none', (t) => {
  const plan = (reason: string | undefined) => {
    const way: Underlay['way'] = (type) =>
      type === 'vxlan' ? { by: 'none', reason } : { by: 'program', reason: '' };
    return planTunnels(intentOf([], mixed), bothTypes, { ...underlay, way }, new Map());
  };
  t.deepEqual([...plan(undefined).tunnels.keys()], ['hv2']);
  t.deepEqual(plan(undefined).problems, []);
  t.deepEqual(
    plan('not supported').problems.map(({ name, message }) => `${name}: ${message}`),
    ['hv3: there is no VXLAN device: not supported'],
  );
});

test('Geneve by device: tunnels lead to it, and the underlay is left alone', (t) => {
  const guards = new Map([['geneve', geneveDevice] as const]);
  const byDevice: Underlay = { ...underlay, guards, way: () => ({ by: 'device', device: geneveDevice }) };
  const { tunnelPlan, desired } = desiredOf(intentOf(ports, hosts), byDevice);
  for (const tunnel of tunnelPlan.tunnels.values()) t.is(tunnel.device, geneveDevice);
  const values = entries(desired.tables, 'tunnels').map(([, value]) => decodeTunnel(value));
  t.true(values.length > 0);
  for (const { type, flags, ifindex } of values) {
    t.is(type, tunnelType.TUNNEL_GENEVE);
    t.is(flags & tunnelFlags.TUNNEL_BY_DEVICE, tunnelFlags.TUNNEL_BY_DEVICE);
    t.is(ifindex, geneveDevice);
  }
  t.deepEqual([...desired.underlay].sort(), ['geneve_ingress 5', 'relay_ingress 9']);
});

test('while the Geneve device is not up, it is guarded and our own program goes on', (t) => {
  const guards = new Map([['geneve', geneveDevice] as const]);
  const { tunnelPlan, desired } = desiredOf(intentOf(ports, hosts), { ...underlay, guards });
  for (const { device, byDevice } of tunnelPlan.tunnels.values())
    t.deepEqual([device, byDevice], [eth0, false]);
  t.deepEqual([...desired.underlay].sort(), ['geneve_ingress 5', 'relay_ingress 9', 'tunnel_ingress 2']);
});

test('what VXLAN can not carry has no tunnel, and is named', (t) => {
  t.true(canCarry('geneve', 2 ** 24 - 1, 65_535));
  t.true(canCarry('vxlan', 4095, 2047));
  t.true(canCarry('vxlan', 4095, 32_768 + 2047));
  t.false(canCarry('vxlan', 4096, 1));
  t.false(canCarry('vxlan', 1, 2048));
  t.false(canCarry('vxlan', 1, 32_768 + 2048));

  const far = [
    port('lp1', 1, 'hv1'),
    port('lp2', 2048, 'hv3'),
    port('lp3', 2047, 'hv3'),
    port('lp4', 4000, 'hv2'),
  ];
  const one = desiredOf(intentOf(far, mixed), underlay, new Map(), bothTypes);
  const tunnelOf = (portKey: number): number => {
    const entry = entries(one.desired.tables, 'ports_by_key').find(
      ([key]) => decodePortKey(key).portKey === portKey,
    );
    return entry === undefined ? -1 : decodePortPlace(entry[1]).tunnel;
  };
  t.is(tunnelOf(2048), 0);
  t.is(tunnelOf(2047), one.tunnelPlan.tunnels.get('hv3')?.id ?? -2);
  t.is(tunnelOf(4000), one.tunnelPlan.tunnels.get('hv2')?.id ?? -2);
  t.deepEqual(
    one.desired.problems.map(({ kind, name, code }) => `${kind} ${name} ${code}`),
    ['Port lp2 unreachable'],
  );

  const intent = intentOf(far, mixed);
  const great = {
    ...intent,
    switches: new Map([...intent.switches].map(([id, each]) => [id, { ...each, datapathKey: 4096 }])),
  };
  const two = desiredOf(great, underlay, new Map(), bothTypes).desired;
  t.deepEqual(
    two.problems.map(({ kind, name, code }) => `${kind} ${name} ${code}`),
    ['Switch sw0 unreachable', 'Port lp2 unreachable'],
  );
});

test('a port that migrates is reached at all its places, by a list under its own key', (t) => {
  const migrating = [
    port('lp1', 1, 'hv1', { additionalChassis: ['hv2'] }),
    port('lp2', 2, 'hv2', { additionalChassis: ['hv3'] }),
    port('lp3', 3, 'hv3', { additionalChassis: ['nowhere'] }),
  ];
  const { tunnelPlan, desired } = desiredOf(intentOf(migrating, hosts));
  const idOf = (name: string): number => tunnelPlan.tunnels.get(name)?.id ?? -1;
  const places = entries(desired.tables, 'ports_by_key').map(([key, value]) => {
    const { slot, tunnel } = decodePortPlace(value);
    return [decodePortKey(key).portKey, slot, tunnel];
  });
  t.deepEqual(places, [
    [0, 0, 0],
    [1, 1, constants.SEVERAL_PLACES],
    [2, 0, constants.SEVERAL_PLACES],
    [3, 0, idOf('hv3')],
  ]);
  const remotes = entries(desired.tables, 'remote_members').map(([key]) => {
    const { groupKey, tunnel } = decodeRemoteMemberKey(key);
    return `${groupKey} ${tunnel}`;
  });
  const [hv2, hv3] = [idOf('hv2'), idOf('hv3')];
  const expected = [
    '1 0',
    `1 ${hv2}`,
    '2 0',
    `2 ${hv2}`,
    `2 ${hv3}`,
    '32768 0',
    `32768 ${hv2}`,
    `32768 ${hv3}`,
  ];
  t.deepEqual(remotes.sort(), expected.sort());
  const locals = entries(desired.tables, 'multicast_members').map(([key]) => {
    const { groupKey, slot } = decodeMemberKey(key);
    return `${groupKey} ${slot}`;
  });
  t.deepEqual(locals.sort(), ['1 0', '1 1', '32768 0', '32768 1']);
});

test('what a port at several places sends to other nodes goes by tunnels, also where there is a physical network', (t) => {
  const wayOf = (more: Partial<PortIntent>): number => {
    const localnet = port('ln', 9, '', { type: 'localnet', networkName: 'net' });
    const intent = intentOf([port('lp1', 1, 'hv1', more), port('lp2', 2, 'hv2'), localnet], hosts);
    const interfaces = [vif('lp1', 5)];
    const uplink = { interfaceName: 'eth1', device: makeLink('eth1', 6), awaits: [] };
    const localPorts = [
      ...findLocalPorts(intent, interfaces, 'hv1'),
      ...localPort(intent, localnet, uplink, ''),
    ];
    const slots = new Map<SlotKey, number>([
      ['7/1', 1],
      ['7/9', 2],
    ]);
    const plan = planTunnels(intent, geneveOnly, underlay, new Map());
    const { tables } = computeDesired(intent, interfaces, localPorts, slots, plan);
    const value = tables.get('ports')?.get(Buffer.from(encodeUint32(1)).toString('hex'));
    return decodePort(value ?? new Uint8Array()).localnetSlot;
  };
  t.is(wayOf({}), 2);
  t.is(wayOf({ additionalChassis: ['hv2'] }), 0);
});

const several: Intent['chassis'] = new Map([
  ['hv2', chassis('hv2', ['geneve', '192.0.2.2'], ['geneve', '198.51.100.2'], ['vxlan', '198.51.100.2'])],
]);
const twoSources = [...geneveOnly, encap('geneve', '198.51.100.1')];

test('a port is reached at the address that it asks for, and a group at the default one', (t) => {
  const asking = [
    port('lp1', 1, 'hv1', { encapIps: [bytes('198.51.100.1')] }),
    port('lp2', 2, 'hv2', { encapIps: [bytes('198.51.100.2')] }),
    port('lp3', 3, 'hv2', { encapIps: [bytes('192.0.2.2')] }),
    port('lp4', 4, 'hv2', { encapIps: [bytes('203.0.113.9')] }),
  ];
  const { tunnelPlan, desired } = desiredOf(intentOf(asking, several), underlay, new Map(), twoSources);
  const tunnels = new Map(
    entries(desired.tables, 'tunnels').map(([key, value]) => {
      const { local, remote } = decodeTunnel(value);
      return [key.readUInt32LE(0), [local, remote].map((each) => formatIp(each.subarray(0, 4))).join(' ')];
    }),
  );
  const [source] = entries(desired.tables, 'ports').map(([, value]) => decodePort(value).flags >>> 29);
  t.is(source, 1);
  const ways = entries(desired.tables, 'ports_by_key').map(([key, value]) => {
    const { tunnel } = decodePortPlace(value);
    const from = [0, 1].map((number) => tunnels.get(tunnel + number * constants.MAX_TUNNELS) ?? '');
    return [decodePortKey(key).portKey, ...from];
  });
  t.deepEqual(ways, [
    [0, '', ''],
    [1, '', ''],
    [2, '192.0.2.1 198.51.100.2', '198.51.100.1 198.51.100.2'],
    [3, '192.0.2.1 192.0.2.2', '198.51.100.1 192.0.2.2'],
    [4, '192.0.2.1 192.0.2.2', '198.51.100.1 192.0.2.2'],
  ]);
  const members = entries(desired.tables, 'remote_members').map(([key]) => decodeRemoteMemberKey(key).tunnel);
  t.deepEqual(members, [0, tunnelPlan.tunnels.get('hv2')?.id ?? -1], 'one copy');
  const contents = { tables: desired.tables, attachments: new Map(), underlay: new Map() };
  t.deepEqual(recoverTunnelIds(contents), tunnelPlan.ids);
});

test('an address without a route is named, and its ports are reached at the default one', (t) => {
  const from: Underlay = {
    ...underlay,
    routeTo: (address) => (address[0] === 198 ? undefined : { ifindex: eth0, mtu: 1500 }),
  };
  const asking = [port('lp2', 2, 'hv2', { encapIps: [bytes('198.51.100.2')] })];
  const { tunnelPlan, desired } = desiredOf(intentOf(asking, several), from);
  t.deepEqual(
    desired.problems.map(({ kind, name, message }) => `${kind} ${name}: ${message}`),
    ['Chassis hv2: there is no route to 198.51.100.2'],
  );
  const place = entries(desired.tables, 'ports_by_key').at(-1)?.[1];
  t.is(place && decodePortPlace(place).tunnel, tunnelPlan.tunnels.get('hv2')?.id);
  const quiet = desiredOf(intentOf([port('lp2', 2, 'hv2')], several), from);
  t.deepEqual(quiet.desired.problems, [], 'nobody asks for it');
});

test('the default addresses are preferred on both sides, and sources of another family are no sources', (t) => {
  const options = { is_default: 'true' };
  const local = [encap('geneve', '192.0.2.1'), { ...encap('geneve', '192.0.2.9'), options }];
  const far = chassis('hv2', ['geneve', '192.0.2.2'], ['geneve', '192.0.2.3']);
  const [first, second] = far.encaps;
  if (first === undefined || second === undefined) throw new Error('there are two');
  const choice = chooseTunnel(local, { ...far, encaps: [first, { ...second, isDefault: true }] });
  t.is(choice.ok && `${formatIp(choice.local)} ${formatIp(choice.remote)}`, '192.0.2.9 192.0.2.3');
  const mixedFamilies = [...local, encap('geneve', '2001:db8::1')];
  const { tunnelPlan, desired } = desiredOf(intentOf(ports, several), underlay, new Map(), mixedFamilies);
  t.deepEqual(tunnelPlan.sources.map(formatIp), ['192.0.2.9', '192.0.2.1', '2001:db8::1']);
  const locals = entries(desired.tables, 'tunnels').map(([, value]) =>
    formatIp(decodeTunnel(value).local.subarray(0, 4)),
  );
  t.deepEqual(locals, ['192.0.2.9', '192.0.2.1', '192.0.2.9']);
});

test('a node that shares no switch with anybody has no tunnels and touches no underlay', (t) => {
  const { desired } = desiredOf(intentOf(ports, new Map()));
  for (const table of ['tunnels', 'tunnel_endpoints', 'ports_by_key', 'remote_members'] as const) {
    t.is(desired.tables.get(table)?.size, 0, table);
  }
  t.is(desired.underlay.size, 0);
});

test('a chassis without a route, or with nothing in common, is named and does not stop the others', (t) => {
  const strange = new Map([...hosts, ['hv4', chassis('hv4', ['vxlan', '192.0.2.4'])] as const]);
  const from: Underlay = {
    ...underlay,
    routeTo: (address) => (address[3] === 2 ? undefined : { ifindex: eth0, mtu: 1500 }),
  };
  const { tunnelPlan, desired } = desiredOf(intentOf(ports, strange), from);
  t.deepEqual([...tunnelPlan.tunnels.keys()], ['hv3']);
  t.deepEqual(
    desired.problems.map(({ kind, name, code }) => `${kind} ${name} ${code}`),
    ['Chassis hv2 unreachable', 'Chassis hv4 unreachable'],
  );
});

test('numbers are kept over a restart, and one that is given up is not taken at once', (t) => {
  const { tunnelPlan, desired } = desiredOf(intentOf(ports, hosts));
  const contents = { tables: desired.tables, attachments: new Map(), underlay: new Map() };
  t.deepEqual(recoverTunnelIds(contents), tunnelPlan.ids);
  const moved = new Map([...hosts, ['hv2', chassis('hv2', ['geneve', '192.0.2.77'])] as const]);
  const after = desiredOf(intentOf(ports, moved), underlay, tunnelPlan.ids).tunnelPlan;
  t.is(after.tunnels.get('hv3')?.id, tunnelPlan.tunnels.get('hv3')?.id);
  t.false([...tunnelPlan.ids.values()].includes(after.tunnels.get('hv2')?.id ?? -1));
  t.true((after.tunnels.get('hv2')?.id ?? 0) < constants.MAX_TUNNELS);
});

test('property: while a plan is carried out nothing leads to a tunnel that is not there', (t) => {
  const worlds = fc.record({
    on: fc.array(fc.constantFrom('hv1', 'hv2', 'hv3', ''), { minLength: 4, maxLength: 4 }),
    present: fc.subarray(['hv2', 'hv3']),
    address: fc.integer({ min: 10, max: 12 }),
  });
  fc.assert(
    fc.property(worlds, worlds, (before, after) => {
      const intents = [before, after].map(({ on, present, address }) =>
        intentOf(
          on.map((host, index) => port(`lp${index + 1}`, index + 1, host)),
          new Map(
            present.map((name) => [
              name,
              chassis(name, ['geneve', name === 'hv2' ? `192.0.2.${address}` : '192.0.2.3']),
            ]),
          ),
        ),
      );
      const [from = emptyIntent, to = emptyIntent] = intents;
      const first = desiredOf(from);
      const second = desiredOf(to, underlay, first.tunnelPlan.ids);
      const tables = new Map(
        [...first.desired.tables].map(([name, table]) => [name, new Map(table)] as const),
      );
      const known = new Set<number>([0]);
      const check = (): void => {
        known.clear();
        known.add(0);
        for (const [key] of entries(tables, 'tunnels')) known.add(key.readUInt32LE(0));
        for (const [, value] of entries(tables, 'ports_by_key'))
          t.true(known.has(decodePortPlace(value).tunnel));
        for (const [, value] of entries(tables, 'remote_members'))
          t.true(known.has(decodeRemoteMember(value).nextTunnel));
      };
      const contents = { tables, attachments: new Map([[5 as Ifindex, true]]), underlay: new Map() };
      for (const operation of plan(second.desired, contents)) {
        if (operation.kind === 'write')
          for (const [key, value] of operation.entries) tables.get(operation.table)?.set(key, value);
        if (operation.kind === 'delete')
          for (const key of operation.keys) tables.get(operation.table)?.delete(key);
        check();
      }
      t.deepEqual(tables.get('ports_by_key'), second.desired.tables.get('ports_by_key'));
    }),
    { numRuns: 60 },
  );
});
