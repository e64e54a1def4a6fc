import test, { type ExecutionContext } from 'ava';

import { macBytes } from '../../common/addresses.js';
import { constants, dropReasons, portFlags } from '../../generated/bpf/layouts.js';
import {
  arp,
  broadcast,
  ethernet,
  icmp,
  ipv4,
  ipv6,
  mac,
  neighbourAdvertisement,
  type Payload,
  raw,
  udp,
} from '../support/packets.js';
import { enterPrivateNamespaces } from '../support/private-namespace.js';
import { verdicts } from './harness.js';
import { datapathKey, ip4Of, ip6Of, macOf, TestSwitch } from './switch.js';

enterPrivateNamespaces();

const ping4 = (source = ip4Of(1), destination = ip4Of(2)): Payload => ipv4({ source, destination }, icmp());
const datagram6 = (source = ip6Of(1), destination = ip6Of(2)): Payload =>
  ipv6({ source, destination }, udp({ source: 1024, destination: 53 }));
const request = (senderMac: string, senderIp: string): Payload =>
  arp({ operation: 'request', senderMac, senderIp, targetIp: '10.0.0.9' });

function frame(payload: Payload, destination = macOf(2), source = macOf(1)): Uint8Array {
  return ethernet({ source, destination }, payload);
}

/** Bytes of a frame with some of them replaced. */
function patched(bytes: Uint8Array, offset: number, ...values: readonly number[]): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy.set(values, offset);
  return copy;
}

interface Case {
  /** As generated from bpf/drop_reasons.h. */
  readonly reason: string;
  readonly title: string;
  readonly frame: Uint8Array;
  readonly arrange?: (network: TestSwitch) => void;
  /** Slot that the drop is counted under; the sender's, which is 1, when absent. */
  readonly slot?: number;
}

const malformedIp4 = patched(frame(ping4()), 14, 0x44);
const malformedIp6 = patched(frame(datagram6()), 18, 0xff, 0xff);

/** Blocks a port until it sends a RARP. */
function block(network: TestSwitch, port: number): void {
  network.setFlags(port, portFlags.PORT_ENABLED | portFlags.PORT_AWAITS_RARP);
}

const cases: readonly Case[] = [
  {
    reason: 'awaits_activation',
    title: 'a sender that has not been activated',
    frame: frame(ping4()),
    arrange: (network) => block(network, 1),
  },
  {
    reason: 'egress_awaits_activation',
    title: 'a receiver that has not been activated',
    frame: frame(ping4()),
    arrange: (network) => block(network, 2),
    slot: 2,
  },
  {
    reason: 'no_logical_port',
    title: 'an interface without a port',
    frame: frame(ping4()),
    arrange: (network) =>
      network.harness.remove('ports_by_interface', { ifindex: network.deviceOf(1), vlanId: 0 }),
    slot: 0,
  },
  {
    reason: 'port_disabled',
    title: 'a disabled sender',
    frame: frame(ping4()),
    arrange: (network) => network.setFlags(1, 0),
  },
  {
    reason: 'vlan_tagged',
    title: '802.1Q',
    frame: ethernet({ source: macOf(1), destination: macOf(2), vlan: 5 }, ping4()),
  },
  {
    reason: 'vlan_tagged',
    title: '802.1ad',
    frame: frame(raw(0x88a8, Uint8Array.of(0, 5, 8, 0, ...ping4().bytes))),
  },
  {
    reason: 'multicast_source',
    title: 'a multicast source',
    frame: frame(ping4(), macOf(2), '03:00:00:00:00:01'),
  },
  {
    reason: 'port_security_mac',
    title: 'a foreign source MAC',
    frame: frame(ping4(), macOf(2), macOf(3)),
    arrange: (network) => network.secure(1),
  },
  {
    reason: 'port_security_ip4',
    title: 'a foreign IPv4 source',
    frame: frame(ping4('10.0.0.3')),
    arrange: (network) => network.secure(1, ip4Of(1)),
  },
  {
    reason: 'port_security_ip4',
    title: 'IPv4 where only IPv6 is listed',
    frame: frame(ping4()),
    arrange: (network) => network.secure(1, ip6Of(1)),
  },
  {
    reason: 'port_security_ip6',
    title: 'a foreign IPv6 source',
    frame: frame(datagram6('fd00::3')),
    arrange: (network) => network.secure(1, ip6Of(1)),
  },
  {
    reason: 'port_security_ip6',
    title: 'IPv6 where only IPv4 is listed',
    frame: frame(datagram6()),
    arrange: (network) => network.secure(1, ip4Of(1)),
  },
  {
    reason: 'port_security_arp',
    title: 'a foreign ARP sender MAC',
    frame: frame(request(macOf(3), ip4Of(1)), broadcast),
    arrange: (network) => network.secure(1),
  },
  {
    reason: 'port_security_arp',
    title: 'a foreign ARP sender address',
    frame: frame(request(macOf(1), '10.0.0.3'), broadcast),
    arrange: (network) => network.secure(1, ip4Of(1)),
  },
  {
    reason: 'port_security_arp',
    title: 'ARP that does not speak of IPv4',
    frame: patched(frame(request(macOf(1), ip4Of(1)), broadcast), 16, 0x86, 0xdd),
    arrange: (network) => network.secure(1, ip4Of(1)),
  },
  {
    reason: 'port_security_arp',
    title: 'a foreign sender in a SNAP frame',
    frame: frame(inSnap(request(macOf(3), ip4Of(1))), broadcast),
    arrange: (network) => network.secure(1),
  },
  {
    reason: 'port_security_nd',
    title: 'an advertisement for a foreign address',
    frame: frame(
      ipv6(
        { source: ip6Of(1), destination: 'ff02::1' },
        neighbourAdvertisement({ target: 'fd00::3', linkLayerAddress: macOf(1) }),
      ),
      '33:33:00:00:00:01',
    ),
    arrange: (network) => network.secure(1, ip6Of(1)),
  },
  {
    reason: 'port_security_nd',
    title: 'an advertisement of a foreign MAC',
    frame: frame(
      ipv6(
        { source: ip6Of(1), destination: 'ff02::1' },
        neighbourAdvertisement({ target: ip6Of(1), linkLayerAddress: macOf(3) }),
      ),
      '33:33:00:00:00:01',
    ),
    arrange: (network) => network.secure(1, ip6Of(1)),
  },
  {
    reason: 'port_security_ethertype',
    title: 'neither IP nor ARP',
    frame: frame(raw(0x88cc, new Uint8Array(46)), '01:80:c2:00:00:0e'),
    arrange: (network) => network.secure(1, ip4Of(1)),
  },
  {
    reason: 'malformed_ip4',
    title: 'a header of four words, from a port',
    frame: malformedIp4,
    arrange: (network) => network.secure(1, ip4Of(1)),
  },
  {
    reason: 'malformed_ip4',
    title: 'a header of four words, to a port',
    frame: malformedIp4,
    arrange: (network) => network.secure(2, ip4Of(2)),
    slot: 2,
  },
  {
    reason: 'malformed_ip4',
    title: 'a total length beyond the frame',
    frame: patched(frame(ping4()), 16, 0xff, 0xff),
    arrange: (network) => network.secure(1, ip4Of(1)),
  },
  {
    reason: 'malformed_ip6',
    title: 'a payload length beyond the frame, from a port',
    frame: malformedIp6,
    arrange: (network) => network.secure(1, ip6Of(1)),
  },
  {
    reason: 'malformed_ip6',
    title: 'a payload length beyond the frame, to a port',
    frame: malformedIp6,
    arrange: (network) => network.secure(2, ip6Of(2)),
    slot: 2,
  },
  {
    reason: 'malformed_ip6',
    title: 'more extension headers than are looked at',
    frame: frame(
      ipv6(
        {
          source: ip6Of(1),
          destination: ip6Of(2),
          extensions: Array.from({ length: 9 }, () => ({ protocol: 60, rest: new Uint8Array(7) })),
        },
        udp({ source: 1, destination: 2 }),
      ),
    ),
    arrange: (network) => network.secure(1, ip6Of(1)),
  },
  { reason: 'unknown_destination', title: 'a MAC that nobody has', frame: frame(ping4(), macOf(9)) },
  { reason: 'hairpin', title: 'to the sender itself', frame: frame(ping4(), macOf(1)) },
  {
    reason: 'destination_not_plugged',
    title: 'to a port that is elsewhere',
    frame: frame(ping4()),
    arrange: (network) =>
      network.harness.put(
        'destinations',
        { datapathKey, mac: macBytes(mac(macOf(2))) },
        { portKey: 12, slot: 0 },
      ),
  },
  {
    reason: 'localport_leaves_node',
    title: 'from a localport to a port that is elsewhere',
    frame: frame(ping4(), macOf(9)),
    arrange: (network) => {
      network.setFlags(1, portFlags.PORT_ENABLED | portFlags.PORT_LOCALPORT);
      network.harness.put(
        'destinations',
        { datapathKey, mac: macBytes(mac(macOf(9))) },
        { portKey: 19, slot: 0 },
      );
    },
  },
  {
    reason: 'localport_leaves_node',
    title: 'from a localport to a physical network',
    frame: frame(ping4()),
    arrange: (network) => {
      network.setFlags(1, portFlags.PORT_ENABLED | portFlags.PORT_LOCALPORT);
      network.setFlags(2, portFlags.PORT_ENABLED | portFlags.PORT_LOCALNET);
    },
  },
  {
    reason: 'no_receiver',
    title: 'a broadcast with nobody else there',
    frame: frame(ping4(), broadcast),
    arrange: (network) => network.harness.putGroup(datapathKey, constants.MULTICAST_FLOOD, [1]),
  },
  {
    reason: 'egress_port_disabled',
    title: 'to a disabled port',
    frame: frame(ping4()),
    arrange: (network) => network.setFlags(2, 0),
    slot: 2,
  },
  {
    reason: 'egress_port_security_mac',
    title: 'to a MAC that port security does not list',
    frame: frame(ping4()),
    arrange: securedForOther,
    slot: 2,
  },
  {
    reason: 'egress_port_security_ip4',
    title: 'to an IPv4 address that is not listed',
    frame: frame(ping4(ip4Of(1), '10.0.0.3')),
    arrange: (network) => network.secure(2, ip4Of(2)),
    slot: 2,
  },
  {
    reason: 'egress_port_security_ip4',
    title: 'IPv4 in a SNAP frame to an address that is not listed',
    frame: frame(inSnap(ping4(ip4Of(1), '10.0.0.3'))),
    arrange: (network) => network.secure(2, ip4Of(2)),
    slot: 2,
  },
  {
    reason: 'egress_port_security_ip6',
    title: 'to an IPv6 address that is not listed',
    frame: frame(datagram6(ip6Of(1), 'fd00::3')),
    arrange: (network) => network.secure(2, ip6Of(2)),
    slot: 2,
  },
  {
    reason: 'delivery_failed',
    title: 'to a port without a device',
    frame: frame(ping4()),
    arrange: (network) => network.setFlags(2, portFlags.PORT_ENABLED, 0),
    slot: 2,
  },
  {
    reason: 'multicast_list_changed',
    title: 'a list that breaks off',
    frame: frame(ping4(), broadcast),
    arrange: (network) =>
      network.harness.remove('multicast_members', {
        datapathKey,
        groupKey: constants.MULTICAST_FLOOD,
        slot: 2,
      }),
  },
];

/** IEEE 802.2 SNAP, in which the type stands behind eight more bytes. */
function inSnap(payload: Payload): Payload {
  const content = Uint8Array.of(
    0xaa,
    0xaa,
    3,
    0,
    0,
    0,
    payload.etherType >> 8,
    payload.etherType & 0xff,
    ...payload.bytes,
  );
  return raw(content.length, content);
}

/** Port 2 has port security for another MAC than the one by which the switch finds it. */
function securedForOther(network: TestSwitch): void {
  network.secure(2);
  network.harness.remove('allowed_macs', { slot: 2, mac: macBytes(mac(macOf(2))) });
}

function isDropped(t: ExecutionContext, { reason, frame: bytes, arrange, slot = 1 }: Case): void {
  const network = TestSwitch.open(t, 3);
  arrange?.(network);
  const run = network.send(1, bytes);
  t.is(run.verdict, verdicts.drop);
  t.deepEqual(run.packet, bytes, 'the frame stays as it is');
  t.deepEqual(network.harness.drops(slot), { [reason]: 1 });
  for (const other of [0, 1, 2, 3].filter((each) => each !== slot))
    t.deepEqual(network.harness.drops(other), {}, `slot ${other}`);
  const copies = reason === 'multicast_list_changed' ? [0, 1, 0] : [0, 0, 0];
  t.deepEqual(network.sent(), copies);
}

for (const each of cases) test(`${each.reason}: ${each.title}`, (t) => isDropped(t, each));

test('frame_too_short: no frame shorter than an Ethernet header gets as far as a program', (t) => {
  const network = TestSwitch.open(t, 2);
  t.throws(() => network.send(1, frame(ping4()).subarray(0, 13)), { message: /EINVAL/ });
});

test('a GSO packet counts as its segments, whether or not the kernel has counted them', (t) => {
  const network = TestSwitch.open(t, 2);
  const large = frame(raw(0x88b5, new Uint8Array(3000)), macOf(9));
  network.send(1, large, { gsoSegments: 3, gsoSize: 1000 });
  t.is(network.harness.counters(1).receivedPackets, 3n);
  t.deepEqual(network.harness.drops(1), { unknown_destination: 3 });
  t.is(network.harness.counters(1).receivedBytes, BigInt(large.length));
  network.send(1, large, { gsoSegments: 0, gsoSize: 1000 });
  t.is(network.harness.counters(1).receivedPackets, 6n);
});

test('every drop reason but those of tunnels has a test', (t) => {
  const tested = new Set([...cases.map(({ reason }) => reason), 'frame_too_short']);
  const names = dropReasons.map(({ name }) => name).filter((name) => !name.startsWith('tunnel_'));
  t.deepEqual([...tested].sort(), names.sort());
});
