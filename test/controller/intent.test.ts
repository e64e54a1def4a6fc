import test from 'ava';

import { formatIp, macFromBytes } from '../../common/addresses.js';
import { v1 } from '../../common/proto.js';
import { datapathIntent } from '../../controller/intent.js';
import { Model } from '../../controller/model.js';
import { type PortWish, type SwitchIds, World } from './support/world.js';

function intentOf(world: World, { datapath }: SwitchIds) {
  const model = new Model(world.nb.tables, world.sb.tables);
  const { resources, invalid } = datapathIntent(model, world.sb.tables.datapathBinding.get(datapath));
  const port = (name: string) => {
    const body = resources.get(`Port/${name}`)?.body;
    return body === undefined ? undefined : v1.Port.deserialize(Buffer.from(body));
  };
  return { resources, invalid, port };
}

function onePort(wish: PortWish, prepare: (world: World) => void = () => undefined) {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  const ids = world.addPort(sw0, 'lp1', wish);
  prepare(world);
  const { port, invalid } = intentOf(world, sw0);
  return { world, ids, invalid, port: port('lp1') };
}

const macsOf = (port: ReturnType<typeof onePort>['port']) => port?.macs.map(macFromBytes);

test('a switch and its ports, with keys, groups and place', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  const lp1 = world.addPort(sw0, 'lp1', { addresses: ['00:00:00:00:00:01'] });
  const chassis = world.addVanillaChassis('hv9', '192.0.2.9');
  world.sb.put('portBinding', { chassis }, lp1.binding);
  world.sb.put('multicastGroup', {
    datapath: sw0.datapath,
    name: '_MC_unknown',
    tunnel_key: 32_769,
    ports: [lp1.binding],
  });
  const { resources, port } = intentOf(world, sw0);
  t.deepEqual([...resources.keys()], [`Switch/${sw0.datapath}`, 'Port/lp1']);
  const body = resources.get(`Switch/${sw0.datapath}`)?.body ?? new Uint8Array();
  t.like(v1.Switch.deserialize(Buffer.from(body)), { name: 'sw0', datapath_key: 1, nb_uuid: sw0.nb });
  t.like(port('lp1'), {
    switch: sw0.datapath,
    type: '',
    enabled: true,
    chassis: 'hv9',
    binding: lp1.binding,
    nb_uuid: lp1.nb,
    multicast_groups: [32_768, 32_769],
  });
});

test('both ways in which OVN names the switch of a datapath', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  world.sb.put(
    'datapathBinding',
    { external_ids: new Map(), type: 'logical-switch', nb_uuid: sw0.nb },
    sw0.datapath,
  );
  t.is(intentOf(world, sw0).resources.size, 1);
  world.sb.put('datapathBinding', { type: 'logical-router' }, sw0.datapath);
  t.is(intentOf(world, sw0).resources.size, 0);
});

test('destination MACs', (t) => {
  const macs = (wish: PortWish, prepare?: (world: World) => void) => macsOf(onePort(wish, prepare).port);
  t.deepEqual(macs({ addresses: ['00:00:00:00:00:02 10.0.0.2', '00:00:00:00:00:01', 'unknown'] }), [
    '00:00:00:00:00:01',
    '00:00:00:00:00:02',
  ]);
  t.deepEqual(macs({ addresses: ['00:00:00:00:00:01'], enabled: false }), ['00:00:00:00:00:01']);
  t.deepEqual(macs({ addresses: ['dynamic'] }), []);
  const allocated = (world: World) => {
    for (const row of world.nb.tables.logicalSwitchPort) {
      world.nb.put('logicalSwitchPort', { dynamic_addresses: '0a:00:00:00:00:01 10.0.0.2' }, row._uuid);
    }
  };
  t.deepEqual(macs({ addresses: ['dynamic'] }, allocated), ['0a:00:00:00:00:01']);
  t.deepEqual(macs({ addresses: ['00:00:00:00:00:07 dynamic'] }), ['00:00:00:00:00:07']);
  const router = { addresses: ['router'], type: 'router', options: { 'router-port': 'lrp0' } };
  t.deepEqual(macs(router), []);
  t.deepEqual(
    macs(router, (world) => world.nb.put('logicalRouterPort', { name: 'lrp0', mac: '00:00:00:00:ff:01' })),
    ['00:00:00:00:ff:01'],
  );
});

test('port security as OVN reads it', (t) => {
  const { port } = onePort({ portSecurity: ['00:00:00:00:00:02', '00:00:00:00:00:01 10.0.0.1/24 fd00::1'] });
  const shown = port?.port_security.map(({ mac, addresses }) => [
    macFromBytes(mac),
    ...addresses.map(({ address, prefix_length: length }) => `${formatIp(address)}/${length}`),
  ]);
  t.deepEqual(shown, [['00:00:00:00:00:01', '10.0.0.1/24', 'fd00::1/128'], ['00:00:00:00:00:02']]);
});

test('nonsense is listed, and neither the rest of the port nor its neighbours suffer', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  world.addPort(sw0, 'lp1', { addresses: ['nonsense', '00:00:00:00:00:01 10.0.0.1 x'], portSecurity: ['?'] });
  world.addPort(sw0, 'lp2', { addresses: ['00:00:00:00:00:02'], portSecurity: ['00:00:00:00:00:02', '?'] });
  const { invalid, port } = intentOf(world, sw0);
  t.deepEqual(macsOf(port('lp1')), ['00:00:00:00:00:01']);
  t.deepEqual(port('lp1')?.port_security, []);
  t.is(port('lp2')?.port_security.length, 1);
  const shown = invalid.map(({ object, column, value }) => `${object} ${column} ${value}`);
  t.deepEqual(shown.sort(), [
    'lp1 addresses 00:00:00:00:00:01 10.0.0.1 x',
    'lp1 addresses nonsense',
    'lp1 port_security ?',
    'lp2 port_security ?',
  ]);
  t.regex(
    invalid.find(({ object, value }) => object === 'lp1' && value === '?')?.reason ?? '',
    /no port security at all/,
  );
  t.notRegex(invalid.find(({ object }) => object === 'lp2')?.reason ?? '', /at all/);
});

test('the order of rows does not matter', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  const wish = {
    addresses: ['00:00:00:00:00:02', '00:00:00:00:00:01'],
    portSecurity: ['b', '00:00:00:00:00:01'],
  };
  const lp1 = world.addPort(sw0, 'lp1', wish);
  const before = intentOf(world, sw0).resources;
  const turned = {
    addresses: [...wish.addresses].reverse(),
    port_security: [...wish.portSecurity].reverse(),
  };
  world.nb.put('logicalSwitchPort', turned, lp1.nb);
  t.deepEqual(intentOf(world, sw0).resources, before);
});

test('what a physical network is told of a port, and what activates it', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  const options = { 'activation-strategy': 'garp,na' };
  const two = ['00:00:00:00:00:01 fd00::1 10.0.0.1 10.0.0.2', '00:00:00:00:00:02 10.0.0.3'];
  world.addPort(sw0, 'two', { addresses: two, options });
  world.addPort(sw0, 'six', { addresses: ['00:00:00:00:00:04 fd00::4', 'unknown'] });
  world.addPort(sw0, 'none', { addresses: ['unknown'] });
  world.addPort(sw0, 'silent', {
    addresses: ['00:00:00:00:00:05'],
    options: { disable_garp_rarp: 'true' },
  });
  world.addPort(sw0, 'lp', { addresses: ['00:00:00:00:00:06'], type: 'localport' });
  const shown = ({ address, mac }: { address: Uint8Array; mac: Uint8Array }): string =>
    `${macFromBytes(mac)} ${address.length === 0 ? '' : formatIp(address)}`.trim();
  const announced = (): Record<string, string | undefined> => {
    const { port } = intentOf(world, sw0);
    const texts = ['two', 'six', 'none', 'silent', 'lp'].map((name) => {
      const found = port(name)?.announced;
      return [name, found ? shown(found) : undefined] as const;
    });
    return Object.fromEntries(texts.filter(([, text]) => text !== undefined));
  };
  t.deepEqual(announced(), {}, 'there is no physical network');
  world.addPort(sw0, 'ln', { type: 'localnet', addresses: ['unknown'], options: { network_name: 'net' } });
  t.deepEqual(announced(), { two: '00:00:00:00:00:01 10.0.0.1', six: '00:00:00:00:00:04' });
  t.deepEqual(intentOf(world, sw0).port('two')?.activating.map(shown), [
    '00:00:00:00:00:01 10.0.0.1',
    '00:00:00:00:00:01 10.0.0.2',
    '00:00:00:00:00:02 10.0.0.3',
    '00:00:00:00:00:01 fd00::1',
  ]);
  t.deepEqual(intentOf(world, sw0).port('six')?.activating, []);
});
