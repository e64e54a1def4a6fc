import test from 'ava';

import type { Ifindex } from '../../common/addresses.js';
import { constants, decodePort, portFlags } from '../../generated/bpf/layouts.js';
import type { Link } from '../../agent/links.js';
import { computeDesired } from '../../agent/desired.js';
import { findLocalnets } from '../../agent/localnet/localnets.js';
import { findLocalPorts, slotKey } from '../../agent/local-ports.js';
import { setPromiscuity } from '../../agent/localnet/promiscuity.js';
import { findUplinks, parseBridgeMappings, type Uplinks } from '../../agent/vswitch/bridge-mappings.js';
import { readTopology } from '../../agent/vswitch/topology.js';
import { FakeDatabase } from './support/fake-database.js';
import { FakeDevices, makeLink } from './support/fake-devices.js';
import { chassisName, makeIntent, portResource, switchResource } from './support/intents.js';
import { vif } from './support/vif.js';

function parse(text: string): readonly [mappings: Record<string, string>, warnings: readonly string[]] {
  const warnings: string[] = [];
  return [Object.fromEntries(parseBridgeMappings(text, warnings)), warnings];
}

test('mappings are read, and what is none is named', (t) => {
  t.deepEqual(parse(''), [{}, []]);
  t.deepEqual(parse(' a:br-a, b:eth1 ,'), [{ a: 'br-a', b: 'eth1' }, []]);
  const [mappings, warnings] = parse('a,b:,:c,d:e:f,x:y,x:z');
  t.deepEqual(mappings, { x: 'y' });
  t.deepEqual(
    warnings.map((warning) => /'(.*?)'/.exec(warning)?.[1]),
    ['a', 'b:', ':c', 'd:e:f', 'x:z'],
  );
});

function uplink(prepare: (database: FakeDatabase) => void, name: string, ...links: readonly Link[]): string {
  const database = new FakeDatabase();
  database.init({});
  database.addBridge('br-int');
  prepare(database);
  const byName = new Map(links.map((link) => [link.name, link]));
  const found = findUplinks(new Map([['net', name]]), readTopology(database.tables), 'br-int', byName);
  const first = found.get('net');
  return first === undefined ? 'none' : 'device' in first ? first.device.name : first.error;
}

function bridgeOf(...ports: readonly string[]): (database: FakeDatabase) => void {
  return (database) => {
    database.addBridge('br-ex');
    for (const port of ports)
      database.addPort('br-ex', port, port.startsWith('patch') ? { type: 'patch' } : {});
  };
}

test('the uplink is the device in the bridge, or the device itself', (t) => {
  const nothing = (): void => undefined;
  const eth1 = makeLink('eth1', 3, { kind: '' });
  const eth2 = makeLink('eth2', 4, { kind: '' });
  const veth = makeLink('veth0', 5, { kind: 'veth' });
  t.is(uplink(bridgeOf('eth1', 'patch0', 'gone'), 'br-ex', eth1, makeLink('patch0', 9)), 'eth1');
  t.is(uplink(bridgeOf('veth0'), 'br-ex', veth), 'veth0');
  t.is(uplink(bridgeOf('veth0', 'eth1'), 'br-ex', veth, eth1), 'eth1', 'the only one that is not virtual');
  t.regex(uplink(bridgeOf('eth1', 'eth2'), 'br-ex', eth1, eth2), /which of eth1, eth2 .* can not be told/);
  t.regex(uplink(bridgeOf('eth1'), 'br-ex', makeLink('br-ex', 7)), /no port that is a network device/);
  t.is(uplink(nothing, 'eth1', eth1), 'eth1');
  t.regex(uplink(nothing, 'br-ex', eth1), /neither a bridge nor a network device br-ex/);
  t.regex(uplink(nothing, 'br-int', eth1), /integration bridge/);
});

const localnet = (name: string, portKey: number, parts = {}) =>
  portResource(name, portKey, {
    type: 'localnet',
    chassis: '',
    macs: [],
    network_name: 'net',
    multicast_groups: [32_768, 32_769],
    ...parts,
  });
const eth1 = makeLink('eth1', 3, { kind: 'veth', peerInOtherNamespace: true });
const uplinks: Uplinks = new Map([
  ['net', { device: eth1 }],
  ['broken', { error: 'bridge br-x has no port that is a network device' }],
]);
const switches = [switchResource('sw0', 1), switchResource('sw1', 2)];

test('localnet ports are where their network is, and those of a switch told apart by their VLAN', (t) => {
  const intent = makeIntent(
    ...switches,
    localnet('a', 1),
    localnet('b', 2, { tag: 5 }),
    localnet('c', 3, { tag: 5 }),
    localnet('c2', 3, { switch: 'sw1', tag: 5 }),
    localnet('d', 4, { network_name: 'elsewhere' }),
    localnet('e', 5, { network_name: 'broken' }),
    localnet('f', 6, { network_name: '' }),
    portResource('vm', 7),
  );
  const { ports, problems } = findLocalnets(intent, uplinks);
  t.deepEqual(
    ports.map(({ port, device, vlanId }) => `${port.name} ${device.name} ${vlanId}`),
    ['a eth1 0', 'b eth1 5', 'c2 eth1 5'],
  );
  const found = Object.fromEntries(problems.map(({ name, code, message }) => [name, `${code}: ${message}`]));
  t.deepEqual(Object.keys(found), ['c', 'd', 'e']);
  t.is(found['c'], "invalid: tag 5 on eth1 is b's of the same switch");
  t.regex(
    found['d'] ?? '',
    /^no_uplink: bridge not found for localnet port 'd' with network name 'elsewhere'/,
  );
  t.regex(found['e'] ?? '', /br-x has no port/);
  const [first] = findLocalnets(intent, uplinks, new Set([eth1.ifindex])).problems;
  t.regex(first?.message ?? '', /eth1 is the interface of another logical port/);
});

test('switches that share an uplink and a VLAN pass frames on in a circle, as many as there may be', (t) => {
  const numbers = Array.from({ length: constants.MAX_LOCALNETS_OF_PLACE + 1 }, (_, index) => index + 1);
  const intent = makeIntent(
    ...numbers.map((number) => switchResource(`many${number}`, number)),
    ...numbers.map((number) =>
      localnet(`ln${String(number).padStart(2, '0')}`, 2, { switch: `many${number}`, tag: 5 }),
    ),
    localnet('alone', 3, { switch: 'many1', tag: 6 }),
  );
  const { ports: localPorts, problems } = findLocalnets(intent, uplinks);
  t.deepEqual(
    problems.map(({ name, code, message }) => `${name} ${code} ${message}`),
    ['ln17 invalid tag 5 on eth1 is that of 16 other switches, which is the most there can be'],
  );
  const slots = new Map(localPorts.map(({ key, datapathKey, vlanId }) => [key, vlanId * 100 - datapathKey]));
  const { tables } = computeDesired(intent, [], localPorts, slots);
  const bySlot = new Map(
    [...(tables.get('ports') ?? [])].map(([key, value]) => [
      Buffer.from(key, 'hex').readUInt32LE(),
      decodePort(value),
    ]),
  );
  const alone = bySlot.get(599);
  t.deepEqual([alone?.sharers, alone?.nextSharer], [0, 0]);
  const entries = [...(tables.get('ports_by_interface')?.values() ?? [])].map((value) =>
    Buffer.from(value).readUInt32LE(),
  );
  t.deepEqual(entries.sort(), [484, 599]);
  const round: number[] = [];
  for (let slot = 484; !round.includes(slot); slot = bySlot.get(slot)?.nextSharer ?? 0) round.push(slot);
  t.deepEqual(
    round,
    Array.from({ length: 16 }, (_, index) => 484 + index),
  );
  t.true(round.every((slot) => bySlot.get(slot)?.sharers === 15));
});

test('on a switch with a localnet port all others know it; its uplink has its program, and no tunnel is used', (t) => {
  const intent = makeIntent(
    ...switches,
    portResource('vm', 7),
    portResource('other', 8, { switch: 'sw1' }),
    localnet('ln', 2, { tag: 5, ethtype: 0x88a8 }),
    localnet('before', 3),
  );
  const interfaces = [vif('vm', 10), vif('other', 11)];
  const localPorts = [
    ...findLocalPorts(intent, interfaces, chassisName),
    ...findLocalnets(intent, uplinks).ports,
  ];
  const slots = new Map(
    localPorts.map(({ datapathKey, port }, index) => [slotKey(datapathKey, port.portKey), index + 1]),
  );
  const desired = computeDesired(intent, interfaces, localPorts, slots);
  const slotOf = (datapathKey: number, portKey: number): number =>
    slots.get(slotKey(datapathKey, portKey)) ?? 0;
  const ports = [...(desired.tables.get('ports')?.values() ?? [])].map(decodePort);
  const shown = Object.fromEntries(ports.map(({ portKey, localnetSlot }) => [portKey, localnetSlot]));
  t.deepEqual(shown, { 2: slotOf(1, 3), 3: slotOf(1, 3), 7: slotOf(1, 3), 8: 0 }, 'of two the first by name');
  const { PORT_ENABLED, PORT_LOCALNET, PORT_SERVICE_TAG, PORT_REDIRECT_PEER } = portFlags;
  const flags = ports.find(({ portKey }) => portKey === 2)?.flags ?? 0;
  t.is(
    flags & (PORT_ENABLED | PORT_LOCALNET | PORT_SERVICE_TAG),
    PORT_ENABLED | PORT_LOCALNET | PORT_SERVICE_TAG,
  );
  t.is(flags & PORT_REDIRECT_PEER, 0);
  t.deepEqual([...desired.underlay], ['uplink_ingress 3']);
  t.deepEqual([...desired.attachments], [10 as Ifindex, 11 as Ifindex]);
  t.deepEqual(
    desired
      .behind(eth1.ifindex)
      .map(({ name }) => name)
      .sort(),
    ['before', 'ln'],
  );
});

test('uplinks are promiscuous as long as they are uplinks', (t) => {
  const devices = new FakeDevices();
  for (const [index, name] of ['new', 'former', 'foreign'].entries())
    devices.add(name, index + 1, { promiscuous: name !== 'new' });
  t.is(setPromiscuity(devices, new Set([1 as Ifindex]), new Set([2 as Ifindex])).size, 0);
  t.deepEqual(
    [...devices.links.values()].map(({ name, promiscuous }) => `${name} ${promiscuous}`),
    ['new true', 'former false', 'foreign true'],
  );
  devices.setPromiscuous = () => {
    throw new Error('no');
  };
  t.deepEqual([...setPromiscuity(devices, new Set(), new Set([1 as Ifindex]))], [['new', 'no']]);
});
