import test from 'ava';

import { readFileSync } from 'node:fs';
import path from 'node:path';

import { KernelState } from '../../agent/kernel-state.js';
import { EventFeed, type FeedEvent } from '../../agent/inspect/event-feed.js';
import { linkChanges, linkStates } from '../../agent/inspect/link-changes.js';
import { reportPorts } from '../../agent/inspect/port-report.js';
import { Places } from '../../agent/inspect/places.js';
import { byteTables, keyText, valueText } from '../../agent/inspect/table-text.js';
import { intentChanges } from '../../agent/inspect/intent-changes.js';
import { programMaps } from '../../agent/inspect/program-maps.js';
import { pieces, programMapUsage, type ReadablePlane, readTable } from '../../agent/inspect/table-reader.js';
import { verify } from '../../agent/inspect/verify.js';
import { type Ifindex, macBytes } from '../../common/addresses.js';
import { packageRoot } from '../../common/package-root.js';
import {
  encodeAllowedMac,
  encodeAllowedPrefixKey,
  encodeFdbEntry,
  encodeMacKey,
  encodeNeighbourKey,
  encodePort,
  encodeTunnel,
  portFlags,
  tunnelFlags,
  tunnelType,
} from '../../generated/bpf/layouts.js';
import { ip, mac } from '../support/packets.js';
import { FakeDataPlane } from './support/fake-data-plane.js';
import { FakeLearningPlane } from './support/fake-learning-plane.js';
import { makeLink } from './support/fake-devices.js';
import { makeUpdate, portSecurityEntry, portResource, switchResource } from './support/intents.js';
import { Rig } from './support/rig.js';
import { plainPort } from '../support/plain-port.js';

/** A node with lp1 on tap1, in place. */
async function openNode(): Promise<Rig> {
  const rig = new Rig();
  rig.start();
  rig.devices.add('tap1', 5);
  rig.database.plug('tap1', 'lp1');
  const security = [portSecurityEntry('02:00:00:00:00:01 10.0.0.1')];
  rig.update(
    makeUpdate([
      switchResource('sw0', 7),
      portResource('lp1', 1, { port_security: security, nb_uuid: 'uuid of lp1' }),
    ]),
  );
  await rig.settled();
  return rig;
}

function placesOf(rig: Rig): Places {
  return new Places(
    () => rig.reconciler.view,
    () => rig.devices.links,
  );
}

test('verify: nothing differs after a round; every kind of difference is found, with whom it concerns', async (t) => {
  const rig = await openNode();
  const { wanted } = rig.reconciler.view;
  if (wanted === undefined) throw new Error('it is not known what is wanted');
  const check = () => verify(wanted, new KernelState(rig.plane), (ifindex) => `if${ifindex}`);
  t.deepEqual(check().differences, []);
  t.true(check().entriesCompared > 5);

  const destinations = rig.plane.table('destinations');
  const [[missing] = ['']] = destinations;
  destinations.delete(missing);
  const extra = Buffer.from(encodeMacKey({ datapathKey: 9, mac: macBytes(mac('02:00:00:00:00:99')) }));
  destinations.set(extra.toString('hex'), new Uint8Array(8));
  const macs = rig.plane.table('allowed_macs');
  for (const key of macs.keys()) macs.set(key, encodeAllowedMac({ flags: 1 }));
  rig.plane.attached.clear();
  t.deepEqual(
    check().differences.map(({ kind, map = '', key, owner = '', wanted: should, actual }) => ({
      kind,
      map,
      key,
      owner,
      should,
      actual,
    })),
    [
      {
        kind: 'different',
        map: 'allowed_macs',
        key: '{"slot":1,"mac":"02:00:00:00:00:01"}',
        owner: 'Port lp1',
        should: '{"flags":["allowed_ip4","allowed_any_nd_target"]}',
        actual: '{"flags":["allowed_any_address"]}',
      },
      {
        kind: 'missing',
        map: 'destinations',
        key: '{"datapathKey":7,"mac":"02:00:00:00:00:01"}',
        owner: 'Port lp1',
        should: '{"portKey":1,"slot":1}',
        actual: '',
      },
      { kind: 'not attached', map: '', key: 'if5', owner: '', should: undefined, actual: undefined },
      {
        kind: 'unexpected',
        map: 'destinations',
        key: '{"datapathKey":9,"mac":"02:00:00:00:00:99"}',
        owner: '',
        should: '',
        actual: '{"portKey":0,"slot":0}',
      },
    ],
  );
  await rig.close();
});

test('a port is reported with its place, its maps and what passed', async (t) => {
  const rig = await openNode();
  const drops = [1n, 2n];
  const counters = { receivedPackets: 5n, receivedBytes: 500n, sentPackets: 2n, sentBytes: 200n, drops };
  const [report] = reportPorts(placesOf(rig).all(), rig.reconciler.view, new Map([[1, counters]]));
  t.like(report, {
    name: 'lp1',
    switch: 'sw0',
    slot: 1,
    interface: 'tap1',
    ifindex: 5,
    port_uuid: 'uuid of lp1',
    installed: true,
    problem: '',
    received_packets: '5',
    dropped_packets: '3',
    port_security: ['02:00:00:00:00:01 10.0.0.1'],
  });
  const modules = Object.fromEntries((report?.modules ?? []).map(({ name = '', maps }) => [name, maps]));
  t.deepEqual(modules['port-security'], ['allowed_macs', 'allowed_addresses']);
  t.true(modules['l2-switch']?.includes('ports'));
  await rig.close();
});

test('places: by slot, by keys, and interfaces that are gone by number', async (t) => {
  const rig = await openNode();
  const places = placesOf(rig);
  t.is(places.bySlot(1)?.plugged.port.name, 'lp1');
  t.is(places.bySlot(2), undefined);
  t.is(places.byKeys(7, 1)?.owner?.name, 'sw0');
  t.is(places.byKeys(7, 2), undefined);
  t.deepEqual([places.interfaceName(5), places.interfaceName(77)], ['tap1', '#77']);
  await rig.close();
});

test('entries are shown with names, addresses and flags as people write them', (t) => {
  const address = Uint8Array.from({ length: 16 }, (_, index) => ip('10.0.0.1')[index] ?? 0);
  const ofPrefix = { slot: 1, mac: macBytes(mac('02:00:00:00:00:01')), family: 4, address };
  t.is(
    keyText('allowed_prefixes', encodeAllowedPrefixKey({ prefixLength: 120, address: ofPrefix })),
    '{"prefixLength":120,"address":{"slot":1,"mac":"02:00:00:00:00:01","family":4,"address":"10.0.0.1"}}',
  );
  t.is(
    keyText('neighbours', encodeNeighbourKey({ datapathKey: 7, family: 6, address: ip('fd00::1') })),
    '{"datapathKey":7,"family":6,"address":"fd00::1"}',
  );
  const flags = portFlags.PORT_ENABLED | portFlags.PORT_SECURITY | 0x40000000;
  t.is(
    valueText(
      'ports',
      encodePort({
        ...plainPort,
        datapathKey: 7,
        portKey: 1,
        ifindex: 5,
        flags,
      }),
    ),
    '{"datapathKey":7,"portKey":1,"ifindex":5,"flags":["port_enabled","port_security",1073741824],"vlanId":0,"sharers":0,"localnetSlot":0,"nextSharer":0}',
  );
  t.is(
    valueText('fdb', encodeFdbEntry({ portKey: 1, slot: 2, seenNs: 3n })),
    '{"portKey":1,"slot":2,"seenNs":3}',
  );
});

function readable(kernel: FakeDataPlane, fdb = new FakeLearningPlane()): ReadablePlane {
  return {
    slotCount: kernel.slotCount,
    readTable: (table) => kernel.readTable(table),
    readActivations: () => kernel.readActivations(),
    readCounters: (slots) => kernel.readCounters(slots),
    lostDropSamples: () => 3n,
    fdb,
  };
}

test('every map of the programs can be shown, but for the ring buffer and the programs’ own notes', (t) => {
  const header = readFileSync(path.join(packageRoot, 'bpf/maps.h'), 'utf8');
  const maps = Array.from(header.matchAll(/^} (\w+) SEC\("\.maps"\);$/gm), ([, name = '']) => name);
  const shown: readonly string[] = [...byteTables, ...programMaps];
  t.deepEqual(maps.filter((name) => !shown.includes(name)).sort(), ['drop_sampled_ms', 'events']);
  t.deepEqual(
    shown.filter((name) => !maps.includes(name)),
    [],
  );
});

test('what programs write is shown by name: activations, counters, drops by reason', (t) => {
  const kernel = new FakeDataPlane();
  kernel.activate({ datapathKey: 7, portKey: 2, ifindex: 5 as Ifindex });
  const traffic = { receivedPackets: 5n, receivedBytes: 500n, sentPackets: 0n, sentBytes: 0n };
  kernel.counters.set(3, { ...traffic, drops: [0n, 4n] });
  const plane = readable(kernel);
  const shown = (map: string): string[] =>
    [...readTable(plane, map, 0)].flat().map(({ key = '', value = '' }) => `${key} ${value}`);
  t.deepEqual(shown('activations'), ['{"datapathKey":7,"portKey":2} {"ifindex":5}']);
  t.deepEqual(shown('port_counters'), [
    '{"slot":3} {"receivedPackets":5,"receivedBytes":500,"sentPackets":0,"sentBytes":0}',
  ]);
  t.deepEqual(shown('drops'), ['{"slot":3} {"no_logical_port":4}']);
  t.deepEqual(shown('learning_counters'), ['{"index":0} {"learned":0,"moved":0,"lostEvents":0}']);
  t.deepEqual(shown('drop_sampling'), ['{"index":0} {"lostSamples":3}']);
  const address = Uint8Array.from({ length: 16 }, (_, index) => ip('192.0.2.1')[index] ?? 0);
  kernel.table('tunnels').set(
    '01000000',
    encodeTunnel({
      remote: address,
      local: address,
      type: tunnelType.TUNNEL_VXLAN,
      flags: tunnelFlags.TUNNEL_CHECKSUM,
      family: 4,
      ifindex: 2,
      relayIfindex: 3,
      mtu: 1450,
    }),
  );
  t.deepEqual(shown('tunnels'), [
    '{"tunnel":1} {"remote":"192.0.2.1","local":"192.0.2.1","type":"tunnel_vxlan","flags":["tunnel_checksum"],"family":4,"ifindex":2,"relayIfindex":3,"mtu":1450}',
  ]);
  t.deepEqual(programMapUsage(plane)[1], { name: 'activations', entries: 1, capacity: 64 });
});

test('new intent is told as a whole, and port by port where there are few', (t) => {
  const changes = (ports: readonly string[]) =>
    intentChanges(
      makeUpdate([switchResource('sw0', 7), ...ports.map((name, index) => portResource(name, index + 1))]),
    );
  t.deepEqual(
    changes(['lp1', 'lp2']).map(({ port = '', text }) => `${port}: ${text.replace(/ \d+/, ' N')}`),
    [': snapshot N: 3 changed, 0 removed', 'lp1: snapshot N changes it', 'lp2: snapshot N changes it'],
  );
  t.is(changes(Array.from({ length: 101 }, (_, index) => `lp${index}`)).length, 1);
});

test('a map is read in pieces, up to a limit, and one that is not there is named with those that are', (t) => {
  const kernel = new FakeDataPlane();
  const plane = readable(kernel);
  const entries = new Map(
    Array.from({ length: 1200 }, (_, slot) => [
      Buffer.from(Uint32Array.of(slot).buffer).toString('hex'),
      encodePort({
        ...plainPort,
        datapathKey: 1,
        portKey: slot,
        ifindex: 1,
        flags: 0,
      }),
    ]),
  );
  kernel.tables.set('ports', entries);
  t.deepEqual(
    Array.from(readTable(plane, 'ports', 0), ({ length }) => length),
    [500, 500, 200],
  );
  t.deepEqual(
    Array.from(readTable(plane, 'ports', 501), ({ length }) => length),
    [500, 1],
  );
  t.throws(() => [...readTable(plane, 'port', 0)], { code: 'unknown_map', message: /there are ports, / });
  t.deepEqual([...pieces([])], [[]]);
});

test('the feed: watchers get what they ask for, and whoever is slow is told what he missed', async (t) => {
  const feed = new EventFeed();
  let computed = 0;
  const publish = (event: FeedEvent): void =>
    feed.publish(() => {
      computed += 1;
      return event;
    });
  publish({ type: 'drop' });
  t.is(computed, 0, 'nobody watches');

  const abort = new AbortController();
  const ofPort = feed.watch({ port: 'lp1', types: ['drop'] }, abort.signal);
  const first = ofPort.next();
  publish({ type: 'mac', port: 'lp1' });
  publish({ type: 'drop', port: 'lp2' });
  publish({ type: 'drop', port: 'lp1', text: 'mine' });
  t.like(await first, { value: { text: 'mine' } });
  for (let i = 0; i < 1003; i++) publish({ type: 'drop', port: 'lp1' });
  const rest = [];
  for (let i = 0; i < 1000; i++) rest.push((await ofPort.next()).value as FeedEvent);
  t.is(
    rest.reduce((sum, { lost = 0 }) => sum + Number(lost), 0),
    3,
  );

  const last = ofPort.next();
  abort.abort();
  t.true((await last).done);
});

test('links that come, go and change', (t) => {
  const links = (...all: ReturnType<typeof makeLink>[]) =>
    linkStates(new Map(all.map((each) => [each.name, each])));
  const before = links(makeLink('a', 1, { operUp: true }), makeLink('b', 2, { operUp: true }));
  const after = links(makeLink('b', 2, { operUp: false, adminUp: true }), makeLink('c', 3, { operUp: true }));
  t.deepEqual(linkChanges(before, after), [
    { name: 'a', text: 'removed' },
    { name: 'b', text: 'no carrier (ifindex 2)' },
    { name: 'c', text: 'new: up (ifindex 3)' },
  ]);
  t.deepEqual(linkChanges(after, after), []);
});
