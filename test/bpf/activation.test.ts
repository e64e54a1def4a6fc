import test, { type ExecutionContext } from 'ava';

import { macBytes } from '../../common/addresses.js';
import { allowedAddressFlags, constants, ipFamily, portFlags } from '../../generated/bpf/layouts.js';
import {
  arp,
  broadcast,
  ethernet,
  icmp,
  icmp6,
  ip,
  ipv4,
  ipv6,
  mac,
  neighbourAdvertisement,
  neighbourSolicitation,
  type Payload,
  raw,
  tagged,
} from '../support/packets.js';
import { enterPrivateNamespaces } from '../support/private-namespace.js';
import { datapathKey, ip4Of, ip6Of, macOf, TestSwitch } from './switch.js';

enterPrivateNamespaces();

const { PORT_AWAITS_GARP, PORT_AWAITS_NA, PORT_AWAITS_RARP, PORT_ENABLED } = portFlags;

/** As QEMU sends it from where a VM goes on running (RFC 903, operation 3). */
const rarp = raw(0x8035, Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 3, ...new Uint8Array(20)));
const arpOf = (operation: 'request' | 'reply', senderIp: string, targetIp: string): Payload =>
  arp({ operation, senderMac: macOf(1), senderIp, targetIp });
const nd = (transport: ReturnType<typeof neighbourAdvertisement>, source = ip6Of(1)): Payload =>
  ipv6({ source, destination: 'ff02::1' }, transport);
const toAllNodes = '33:33:00:00:00:01';
const advertised = (target: string, targetMac = macOf(1), source = target): Uint8Array =>
  from1(nd(neighbourAdvertisement({ target, linkLayerAddress: targetMac }), source), toAllNodes);
const foreignMac = '02:00:00:00:00:99';
const garpWith = (senderMac: string, ip4: string): Payload =>
  arp({ operation: 'request', senderMac, senderIp: ip4, targetIp: ip4 });
const ping = ipv4({ source: ip4Of(1), destination: ip4Of(2) }, icmp());

function from1(payload: Payload, destination: string = broadcast): Uint8Array {
  return ethernet({ source: macOf(1), destination }, payload);
}

/** Port 1 waits for what the flags say. */
function openBlocked(t: ExecutionContext, flags: number): TestSwitch {
  const network = TestSwitch.open(t, 3);
  network.setFlags(1, PORT_ENABLED | flags);
  for (const text of [ip4Of(1), ip6Of(1)]) {
    const [bytes, address] = [ip(text), new Uint8Array(16)];
    address.set(bytes);
    const family =
      (bytes.length === 4 ? ipFamily.FAMILY_IP4 : ipFamily.FAMILY_IP6) | constants.ACTIVATING_FAMILY;
    const key = { slot: 1, mac: macBytes(mac(macOf(1))), family, address };
    network.harness.put('allowed_addresses', key, { flags: allowedAddressFlags.ALLOWED_SOURCE });
  }
  return network;
}

const frames: readonly (readonly [string, Uint8Array])[] = [
  ['rarp', from1(rarp)],
  ['tagged rarp', tagged(from1(rarp), { tci: 7 })],
  ['garp request', from1(arpOf('request', ip4Of(1), ip4Of(1)))],
  ['garp reply', from1(arpOf('reply', ip4Of(1), ip4Of(1)))],
  ['arp request', from1(arpOf('request', ip4Of(1), ip4Of(9)))],
  ['cut off arp', from1(raw(0x0806, Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1)))],
  ['garp for another', from1(arpOf('request', ip4Of(9), ip4Of(9)))],
  ['garp of another MAC', from1(garpWith(foreignMac, ip4Of(1)))],
  [
    'garp in a frame of another MAC',
    ethernet({ source: foreignMac, destination: broadcast }, garpWith(macOf(1), ip4Of(1))),
  ],
  ['na', advertised(ip6Of(1))],
  ['na for another', advertised(ip6Of(9))],
  ['na of another MAC', advertised(ip6Of(1), foreignMac)],
  ['na without a MAC', from1(nd(neighbourAdvertisement({ target: ip6Of(1) })), toAllNodes)],
  ['na from another address', advertised(ip6Of(1), macOf(1), ip6Of(9))],
  ['ns', from1(nd(neighbourSolicitation({ target: ip6Of(9) })), toAllNodes)],
  ['other icmp6', from1(nd(icmp6(128, new Uint8Array(4))), toAllNodes)],
  ['ping', from1(ping, macOf(2))],
];

const awaited: readonly (readonly [number, readonly string[]])[] = [
  [PORT_AWAITS_RARP, ['rarp', 'tagged rarp']],
  [PORT_AWAITS_GARP, ['garp request', 'garp reply']],
  [PORT_AWAITS_NA, ['na']],
  [
    PORT_AWAITS_RARP | PORT_AWAITS_GARP | PORT_AWAITS_NA,
    ['rarp', 'tagged rarp', 'garp request', 'garp reply', 'na'],
  ],
];

for (const [flags, expected] of awaited) {
  test(`flags ${flags.toString(16)}: ${expected.join(', ')} activate, and nothing else`, (t) => {
    const network = openBlocked(t, flags);
    const dropped = (): number => network.harness.drops(1)['awaits_activation'] ?? 0;
    const activating = frames.filter(([, frame]) => {
      network.harness.remove('activations', { datapathKey, portKey: 11 });
      const before = dropped();
      network.send(1, frame);
      const isActivated = network.harness.activations().length > 0;
      t.is(dropped() - before, isActivated ? 0 : 1);
      return isActivated;
    });
    t.deepEqual(
      activating.map(([name]) => name),
      expected,
    );
  });
}

test('the frame that activates reaches the others, and the port is open both ways from then on', (t) => {
  const network = openBlocked(t, PORT_AWAITS_RARP);
  const toPort1 = ethernet({ source: macOf(2), destination: macOf(1) }, ping);
  const toAll = ethernet({ source: macOf(2), destination: broadcast }, raw(0x88b5, new Uint8Array(46)));
  network.send(2, toPort1);
  network.send(2, toAll);
  network.send(1, from1(ping, macOf(3)));
  t.deepEqual(network.sent(), [0, 0, 1], 'the broadcast reaches port 3 only');
  t.deepEqual(network.harness.drops(1), { awaits_activation: 1, egress_awaits_activation: 2 });
  network.send(1, from1(rarp));
  t.deepEqual(network.sent(), [0, 1, 2]);
  t.deepEqual(network.harness.activations(), [{ datapathKey, portKey: 11, ifindex: network.deviceOf(1) }]);
  network.send(2, toPort1);
  network.send(2, toAll);
  network.send(1, from1(ping, macOf(3)));
  t.deepEqual(network.sent(), [2, 1, 4]);
});

test('a disabled port is activated all the same, as in OVN', (t) => {
  const network = openBlocked(t, PORT_AWAITS_RARP);
  network.setFlags(1, PORT_AWAITS_RARP);
  network.send(1, from1(rarp));
  t.is(network.harness.activations().length, 1);
  t.deepEqual(network.harness.drops(1), { port_disabled: 1 });
});

test('an activation on another interface counts for nothing', (t) => {
  const network = openBlocked(t, PORT_AWAITS_RARP);
  network.harness.put('activations', { datapathKey, portKey: 11 }, network.deviceOf(1) + 1000);
  network.send(1, from1(ping, macOf(2)));
  t.deepEqual(network.harness.drops(1), { awaits_activation: 1 });
  network.send(1, from1(rarp));
  network.send(1, from1(ping, macOf(2)));
  t.deepEqual(network.sent(), [0, 2, 1]);
});
