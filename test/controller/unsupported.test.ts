import test from 'ava';

import { newUuid } from './support/memory-database.js';
import { World } from './support/world.js';
import { Model } from '../../controller/model.js';
import { listUnsupported } from '../../controller/unsupported.js';

function shown(world: World): readonly string[] {
  return listUnsupported(new Model(world.nb.tables, world.sb.tables)).map(
    ({ kind, object }) => `${kind}: ${object}`,
  );
}

test('a network of VIFs with port security asks for nothing that is not done', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  world.addPort(sw0, 'lp1', {
    addresses: ['00:00:00:00:00:01 10.0.0.1'],
    portSecurity: ['00:00:00:00:00:01 10.0.0.1'],
    options: { 'requested-chassis': 'hv1' },
  });
  t.deepEqual(shown(world), []);
});

test('each table of things not done is listed by kind and object', (t) => {
  const world = new World();
  const { nb } = world;
  const sw0 = world.addSwitch('sw0');
  const acl = nb.put('acl', { priority: 1, direction: 'to-lport', match: 'ip4', action: 'drop' });
  nb.put('logicalSwitch', { acls: [acl] }, sw0.nb);
  nb.put('acl', { name: 'web', action: 'allow' });
  nb.put('portGroup', { name: 'pg0', acls: [acl] });
  nb.put('portGroup', { name: 'without' });
  nb.put('qos', { match: 'ip4' });
  nb.put('loadBalancer', { name: 'lb0', vips: new Map([['10.0.0.1:80', '10.0.0.2:80']]) });
  nb.put('loadBalancerGroup', { name: 'lbg0' });
  nb.put('loadBalancerHealthCheck', { vip: '10.0.0.1:80' });
  nb.put('logicalRouter', { name: 'lr0' });
  nb.put('logicalRouterPort', { name: 'lrp0', mac: '00:00:00:00:ff:01' });
  nb.put('staticRoute', { ip_prefix: '0.0.0.0/0', nexthop: '10.0.0.254' });
  nb.put('routerPolicy', { match: 'ip4' });
  nb.put('nat', { type: 'snat', external_ip: '1.1.1.1', logical_ip: '10.0.0.0/24' });
  nb.put('dhcpOptions', { cidr: '10.0.0.0/24' });
  nb.put('dns', { records: new Map([['vm1', '10.0.0.1']]) });
  nb.put('meter', { name: 'm0' });
  nb.put('mirror', { name: 'mirror0' });
  nb.put('forwardingGroup', { name: 'fg0' });
  nb.put('gatewayChassis', { name: 'gw0' });
  nb.put('haChassisGroup', { name: 'ha0' });
  nb.put('bfd', { logical_port: 'lrp0', dst_ip: '1.1.1.2' });
  nb.put('copp', { name: 'copp0' });
  nb.put('staticMacBinding', { logical_port: 'lrp0', ip: '1.1.1.3' });
  t.deepEqual(shown(world), [
    'ACL: to-lport 1 ip4',
    'ACL: web',
    'BFD: lrp0 1.1.1.2',
    'Copp: copp0',
    'DHCP_Options: 10.0.0.0/24',
    'DNS: vm1',
    'Forwarding_Group: fg0',
    'Gateway_Chassis: gw0',
    'HA_Chassis_Group: ha0',
    'Load_Balancer: lb0',
    'Load_Balancer_Group: lbg0',
    'Load_Balancer_Health_Check: 10.0.0.1:80',
    'Logical_Router: lr0',
    'Logical_Router_Policy: ip4',
    'Logical_Router_Port: lrp0',
    'Logical_Router_Static_Route: 0.0.0.0/0 via 10.0.0.254',
    'Meter: m0',
    'Mirror: mirror0',
    'NAT: snat 1.1.1.1 10.0.0.0/24',
    'Port_Group: pg0',
    'QoS: ip4',
    'Static_MAC_Binding: lrp0 1.1.1.3',
  ]);
  const [first] = listUnsupported(new Model(nb.tables, world.sb.tables));
  t.regex(first?.detail ?? '', /drop, on (switch sw0|port group pg0)/);
  t.is(first?.uuid, acl);
});

test('what a port asks for', (t) => {
  const world = new World();
  const sw0 = world.addSwitch('sw0');
  world.addPort(sw0, 'net', { type: 'localnet' });
  world.addPort(sw0, 'gw', { type: 'l2gateway' });
  const lp1 = world.addPort(sw0, 'lp1', { options: { arp_proxy: '10.0.0.9', qos_max_rate: '1000' } });
  world.nb.put('logicalSwitchPort', { dhcpv4_options: newUuid(), mirror_rules: [newUuid()] }, lp1.nb);
  const kinds = shown(world);
  for (const kind of [
    'Logical_Switch_Port type l2gateway: gw',
    'Logical_Switch_Port options:arp_proxy: lp1',
    'Logical_Switch_Port options:qos_max_rate: lp1',
    'Logical_Switch_Port dhcpv4_options: lp1',
    'Logical_Switch_Port mirror_rules: lp1',
  ]) {
    t.true(kinds.includes(kind), kind);
  }
});
