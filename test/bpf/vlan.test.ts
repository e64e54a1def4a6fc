import test, { type ExecutionContext } from 'ava';

import { macBytes } from '../../common/addresses.js';
import { constants, portFlags } from '../../generated/bpf/layouts.js';
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
  tagged,
  udp,
  type VlanTag,
} from '../support/packets.js';
import { enterPrivateNamespaces } from '../support/private-namespace.js';
import { verdicts } from './harness.js';
import { datapathKey, ip4Of, ip6Of, macOf, TestSwitch } from './switch.js';
import { plainPort } from '../support/plain-port.js';

enterPrivateNamespaces();

const { PORT_ENABLED, PORT_SECURITY, PORT_VLAN_PASSTHRU } = portFlags;
const serviceTag = 0x88a8;
const nestedTag = 42;
const nestedSlot = 9;

function frame(payload: Payload, from: number, to: string): Uint8Array {
  return ethernet({ source: macOf(from), destination: to }, payload);
}

function ping(from: number, to: number, source = ip4Of(from)): Uint8Array {
  return frame(ipv4({ source, destination: ip4Of(to) }, icmp()), from, macOf(to));
}

/** Ports 1 and 2, and port 9, which is nested in port 1. */
function openNested(t: ExecutionContext): TestSwitch {
  const network = TestSwitch.open(t, 2);
  const ifindex = network.deviceOf(1);
  const { harness } = network;
  const port = {
    ...plainPort,
    datapathKey,
    portKey: 10 + nestedSlot,
    ifindex,
    flags: PORT_ENABLED,
    vlanId: nestedTag,
  };
  harness.put('ports', nestedSlot, port);
  harness.put('ports_by_interface', { ifindex, vlanId: nestedTag }, nestedSlot);
  const destination = { portKey: 10 + nestedSlot, slot: nestedSlot };
  harness.put('destinations', { datapathKey, mac: macBytes(mac(macOf(nestedSlot))) }, destination);
  harness.putGroup(datapathKey, constants.MULTICAST_FLOOD, [1, 2, nestedSlot]);
  return network;
}

const ownTags: Readonly<Record<string, VlanTag>> = {
  'an 802.1Q tag': { tci: nestedTag },
  'a tag with priority and drop eligibility': { tci: 0xf000 | nestedTag },
  'an 802.1ad tag': { etherType: serviceTag, tci: nestedTag },
};
for (const [title, tag] of Object.entries(ownTags)) {
  test(`${title} leads to the nested port, and is taken off`, (t) => {
    const network = openNested(t);
    const packet = ping(nestedSlot, 2);
    const run = network.send(1, tagged(packet, tag));
    t.is(run.verdict, verdicts.redirect);
    t.deepEqual(run.packet, packet);
    const { receivedPackets, receivedBytes } = network.harness.counters(nestedSlot);
    t.deepEqual([receivedPackets, receivedBytes], [1n, BigInt(packet.length)]);
    t.is(network.harness.counters(1).receivedPackets, 0n);
    t.deepEqual(network.sent(), [0, 1]);
  });
}

test('parent and nested port reach each other behind one interface', (t) => {
  const network = openNested(t);
  t.is(network.send(1, ping(1, nestedSlot)).verdict, verdicts.redirect);
  t.is(network.harness.counters(nestedSlot).sentPackets, 1n);
  t.is(network.send(1, tagged(ping(nestedSlot, 1), { tci: nestedTag })).verdict, verdicts.redirect);
  t.is(network.harness.counters(1).sentPackets, 1n);
  network.send(1, tagged(ping(nestedSlot, nestedSlot), { tci: nestedTag }));
  t.deepEqual(network.harness.drops(nestedSlot), { hairpin: 1 }, 'but not itself');
});

test('a broadcast of a nested port reaches its parent, and one of the parent the nested port', (t) => {
  const network = openNested(t);
  const payload = raw(0x88b5, new Uint8Array(46));
  network.send(1, tagged(frame(payload, nestedSlot, broadcast), { tci: nestedTag }));
  t.deepEqual(network.sent(), [1, 1]);
  t.is(network.harness.counters(nestedSlot).sentPackets, 0n);
  const packet = frame(payload, 1, broadcast);
  t.deepEqual(network.send(1, packet).packet, packet, 'the tag for the copy is gone again');
  t.is(network.harness.counters(nestedSlot).sentPackets, 1n);
});

const foreignTags: Readonly<Record<string, readonly VlanTag[]>> = {
  'a tag that no nested port has': [{ tci: 99 }],
  'a priority without a VLAN': [{ tci: 0x6000 }],
};
for (const [title, tags] of Object.entries(foreignTags)) {
  test(`${title} is the parent's, which may not send any`, (t) => {
    const network = openNested(t);
    t.is(network.send(1, tagged(ping(1, 2), ...tags)).verdict, verdicts.drop);
    t.deepEqual(network.harness.drops(1), { vlan_tagged: 1 });
  });
}

test('a second tag behind that of a nested port is dropped', (t) => {
  const network = openNested(t);
  network.send(1, tagged(ping(nestedSlot, 2), { tci: nestedTag }, { tci: 7 }));
  t.deepEqual(network.harness.drops(nestedSlot), { vlan_tagged: 1 });
});

test('the port security of a nested port', (t) => {
  const network = openNested(t);
  const key = { slot: nestedSlot, mac: macBytes(mac(macOf(nestedSlot))) };
  const port = {
    ...plainPort,
    datapathKey,
    portKey: 10 + nestedSlot,
    ifindex: network.deviceOf(1),
    vlanId: nestedTag,
  };
  network.harness.put('ports', nestedSlot, { ...port, flags: PORT_ENABLED | PORT_SECURITY });
  network.harness.put('allowed_macs', key, { flags: 1 });
  t.is(network.send(1, tagged(ping(nestedSlot, 2), { tci: nestedTag })).verdict, verdicts.redirect);
  t.is(network.send(1, tagged(ping(3, 2), { tci: nestedTag })).verdict, verdicts.drop);
  t.deepEqual(network.harness.drops(nestedSlot), { port_security_mac: 1 });
});

const stacks: readonly (readonly VlanTag[])[] = [
  [],
  [{ tci: 99 }],
  [{ tci: 0 }],
  [{ etherType: serviceTag, tci: 99 }],
  [{ etherType: serviceTag, tci: 99 }, { tci: 7 }],
];

/** Port 1 lists its addresses and so does port 2, on a switch that lets tags pass. */
function openTransparent(t: ExecutionContext): TestSwitch {
  const network = TestSwitch.open(t, 2);
  for (const port of network.ports) {
    network.secure(port, ip4Of(port), ip6Of(port));
    network.setFlags(port, PORT_ENABLED | PORT_SECURITY | PORT_VLAN_PASSTHRU);
  }
  return network;
}

const datagram = (source: string, destination = ip6Of(2)): Payload =>
  ipv6({ source, destination }, udp({ source: 1, destination: 2 }));
const request = (senderIp: string): Payload =>
  arp({ operation: 'reply', senderMac: macOf(1), senderIp, targetMac: macOf(2), targetIp: ip4Of(2) });
const advertisement = (target: string): Payload =>
  ipv6({ source: ip6Of(1), destination: ip6Of(2) }, neighbourAdvertisement({ target }));

const judged: Readonly<
  Record<string, { readonly frame: Uint8Array; readonly drop?: readonly [number, string] }>
> = {
  IPv4: { frame: ping(1, 2) },
  'a foreign IPv4 source': { frame: ping(1, 2, ip4Of(3)), drop: [1, 'port_security_ip4'] },
  'a foreign IPv4 destination': {
    frame: frame(ipv4({ source: ip4Of(1), destination: ip4Of(3) }, icmp()), 1, macOf(2)),
    drop: [2, 'egress_port_security_ip4'],
  },
  IPv6: { frame: frame(datagram(ip6Of(1)), 1, macOf(2)) },
  'a foreign IPv6 source': { frame: frame(datagram(ip6Of(3)), 1, macOf(2)), drop: [1, 'port_security_ip6'] },
  'a foreign IPv6 destination': {
    frame: frame(datagram(ip6Of(1), ip6Of(3)), 1, macOf(2)),
    drop: [2, 'egress_port_security_ip6'],
  },
  ARP: { frame: frame(request(ip4Of(1)), 1, macOf(2)) },
  'a foreign ARP sender': { frame: frame(request(ip4Of(3)), 1, macOf(2)), drop: [1, 'port_security_arp'] },
  'an advertisement': { frame: frame(advertisement(ip6Of(1)), 1, macOf(2)) },
  'a foreign advertisement': {
    frame: frame(advertisement(ip6Of(3)), 1, macOf(2)),
    drop: [1, 'port_security_nd'],
  },
};
for (const [title, { frame: packet, drop }] of Object.entries(judged)) {
  test(`where tags pass, port security looks behind them: ${title}`, (t) => {
    for (const stack of stacks) {
      const network = openTransparent(t);
      const sent = tagged(packet, ...stack);
      const run = network.send(1, sent);
      t.is(run.verdict, drop === undefined ? verdicts.redirect : verdicts.drop, JSON.stringify(stack));
      if (drop === undefined) t.deepEqual(run.packet, sent);
      else t.deepEqual(network.harness.drops(drop[0]), { [drop[1]]: 1 });
    }
  });
}

test('behind a third tag, or one that is cut off, there is no address to be found', (t) => {
  const network = openTransparent(t);
  const deep = tagged(ping(1, 2), { tci: 1 }, { tci: 2 }, { tci: 3 });
  const cut = tagged(ping(1, 2), { tci: 1 }).subarray(0, 17);
  for (const packet of [deep, cut]) t.is(network.send(1, packet).verdict, verdicts.drop);
  t.deepEqual(network.harness.drops(1), { port_security_ethertype: 2 });
});

test('a switch that lets tags pass answers no tagged question, and floods it', (t) => {
  const network = TestSwitch.open(t, 2);
  for (const port of network.ports) network.setFlags(port, PORT_ENABLED | PORT_VLAN_PASSTHRU);
  const question = arp({ operation: 'request', senderMac: macOf(1), senderIp: ip4Of(1), targetIp: ip4Of(2) });
  network.send(1, tagged(frame(question, 1, broadcast), { tci: 99 }));
  t.deepEqual(network.sent(), [0, 1]);
});
