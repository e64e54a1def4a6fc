import test from 'ava';

import { readNodeConfig } from '../../agent/vswitch/node-config.js';
import { readTopology } from '../../agent/vswitch/topology.js';
import { FakeDatabase } from './support/fake-database.js';

const minimal = { 'system-id': 'hv1', 'ovn-encap-type': 'geneve', 'ovn-encap-ip': '192.0.2.1' };

function read(
  externalIds: Readonly<Record<string, string>>,
  prepare: (database: FakeDatabase) => void = () => undefined,
) {
  const database = new FakeDatabase();
  database.init(externalIds);
  prepare(database);
  return readNodeConfig(readTopology(database.tables), 'host.example');
}

test('the least a node needs, and what ovn-controller fills in', (t) => {
  t.deepEqual(read(minimal), {
    integrationBridge: 'br-int',
    bridgeMappings: new Map(),
    controller: undefined,
    chassis: {
      name: 'hv1',
      hostname: 'host.example',
      encaps: [{ type: 'geneve', ip: '192.0.2.1', options: { csum: 'true' } }],
      otherConfig: {
        'datapath-type': '',
        'iface-types': 'internal,system',
        'ovn-bridge-mappings': '',
        'ovn-cms-options': '',
        'ovn-chassis-mac-mappings': '',
        'is-interconn': 'false',
      },
      transportZones: [],
    },
    problem: undefined,
    warnings: [],
  });
});

test('everything that is configured goes into the chassis', (t) => {
  const ids = {
    ...minimal,
    hostname: 'compute-7',
    'ovn-encap-type': 'vxlan, geneve',
    'ovn-encap-ip': '192.0.2.2,2001:DB8::1',
    'ovn-encap-csum': 'false',
    'ovn-bridge': 'br-ovn',
    'ovn-bridge-mappings': 'physnet1:br-ex',
    'ovn-cms-options': 'enable-chassis-as-gw',
    'ovn-chassis-mac-mappings': 'physnet1:aa:bb:cc:dd:ee:ff',
    'ovn-transport-zones': 'tz2,tz1',
    'ovn-is-interconn': 'true',
    'iovn-controller': '192.0.2.9:6650',
  };
  const config = read(ids, (database) => {
    database.addBridge('br-ovn');
    const bridge = [...database.tables.bridge][0];
    if (bridge) database.tables.bridge.rows.set(bridge._uuid, { ...bridge, datapath_type: 'system' });
    database.setRoot({ iface_types: ['tap', 'geneve'] });
  });
  t.is(config.integrationBridge, 'br-ovn');
  t.is(config.controller, '192.0.2.9:6650');
  t.deepEqual([...config.bridgeMappings], [['physnet1', 'br-ex']]);
  const options = { csum: 'false' };
  t.deepEqual(config.chassis?.encaps, [
    { type: 'geneve', ip: '192.0.2.2', options },
    { type: 'geneve', ip: '2001:db8::1', options },
    { type: 'vxlan', ip: '192.0.2.2', options },
    { type: 'vxlan', ip: '2001:db8::1', options },
  ]);
  t.is(config.chassis?.hostname, 'compute-7');
  t.deepEqual(config.chassis?.transportZones, ['tz1', 'tz2']);
  t.deepEqual(config.chassis?.otherConfig, {
    'datapath-type': 'system',
    'iface-types': 'geneve,tap',
    'ovn-bridge-mappings': 'physnet1:br-ex',
    'ovn-cms-options': 'enable-chassis-as-gw',
    'ovn-chassis-mac-mappings': 'physnet1:aa:bb:cc:dd:ee:ff',
    'is-interconn': 'true',
  });
});

test('KEY-<system-id> is read before KEY', (t) => {
  const config = read({
    ...minimal,
    'ovn-bridge': 'br-int',
    'ovn-bridge-hv1': 'br-hv1',
    'ovn-encap-ip-hv1': '192.0.2.77',
    'iovn-controller-hv1': '192.0.2.9:1',
    'ovn-bridge-mappings': 'net:br-ex',
    'ovn-bridge-mappings-hv1': 'net:br-hv1',
    'hostname-hv1': 'mine',
    'hostname-hv2': 'not mine',
  });
  t.is(config.integrationBridge, 'br-hv1');
  t.is(config.bridgeMappings.get('net'), 'br-hv1');
  t.is(config.controller, '192.0.2.9:1');
  t.is(config.chassis?.encaps[0]?.ip, '192.0.2.77');
  t.is(config.chassis?.hostname, 'mine');
});

const problems: Record<string, readonly [ids: Readonly<Record<string, string>>, problem: RegExp]> = {
  'no system-id': [{ ...minimal, 'system-id': '' }, /system-id is not set/],
  'no encap type': [{ 'system-id': 'hv1', 'ovn-encap-ip': '192.0.2.1' }, /ovn-encap-type/],
  'no encap ip': [{ 'system-id': 'hv1', 'ovn-encap-type': 'geneve' }, /ovn-encap-ip/],
  'nothing usable': [{ ...minimal, 'ovn-encap-ip': 'here' }, /do not name a usable tunnel endpoint/],
};

for (const [name, [ids, problem]] of Object.entries(problems)) {
  test(`a node that can't be a chassis: ${name}`, (t) => {
    const config = read(ids);
    t.is(config.chassis, undefined);
    t.regex(config.problem ?? '', problem);
  });
}

test('an uninitialized database', (t) => {
  const config = readNodeConfig(readTopology(new FakeDatabase().tables), 'host.example');
  t.regex(config.problem ?? '', /no Open_vSwitch row/);
});

test('of several addresses one may be the default', (t) => {
  const several = { ...minimal, 'ovn-encap-type': 'geneve,vxlan', 'ovn-encap-ip': '192.0.2.1, 192.0.2.9' };
  const config = read({ ...several, 'ovn-encap-ip-default': '192.0.2.9' });
  t.deepEqual(
    config.chassis?.encaps.map(({ type, ip, options }) => [type, ip, options['is_default']]),
    [
      ['geneve', '192.0.2.1', undefined],
      ['geneve', '192.0.2.9', 'true'],
      ['vxlan', '192.0.2.1', undefined],
      ['vxlan', '192.0.2.9', 'true'],
    ],
  );
  const strange = read({ ...several, 'ovn-encap-ip-default': '192.0.2.3' });
  t.deepEqual(strange.warnings, ['ovn-encap-ip-default: 192.0.2.3 is not one of ovn-encap-ip']);
  t.is(strange.chassis?.encaps.length, 4);
  const many = Array.from({ length: 9 }, (_, index) => `192.0.2.${index + 1}`).join(',');
  t.deepEqual(read({ ...minimal, 'ovn-encap-ip': many }).warnings, [
    'ovn-encap-ip: ports can send from 8 of these addresses only',
  ]);
});

test('values that make no sense are left out and named', (t) => {
  const config = read({ ...minimal, 'ovn-encap-type': 'geneve,gre', 'ovn-encap-ip': '192.0.2.1,nowhere' });
  t.deepEqual(
    config.chassis?.encaps.map(({ type, ip }) => `${type} ${ip}`),
    ['geneve 192.0.2.1'],
  );
  t.deepEqual(config.warnings, [
    'ovn-encap-type: unknown tunnel type gre',
    'ovn-encap-ip: nowhere is not an IP address',
  ]);
});
