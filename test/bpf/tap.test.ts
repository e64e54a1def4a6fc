import test, { type ExecutionContext } from 'ava';

import { portFlags } from '../../generated/bpf/layouts.js';
import { arp, broadcast, ethernet, icmp, ipv4, ipv6, udp } from '../support/packets.js';
import { enterPrivateNamespaces, runSync } from '../support/private-namespace.js';
import { openTap, type Tap } from '../support/tap.js';
import { datapathKey, ip4Of, ip6Of, macOf, TestSwitch } from './switch.js';
import { plainPort } from '../support/plain-port.js';

/* Frames on the real way in: BPF_PROG_TEST_RUN takes none whose IP header is cut off, and leaves VLAN tags in place. */

enterPrivateNamespaces();
runSync('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');

const ethernetHeaderBytes = 14;
const ping = ethernet(
  { source: macOf(1), destination: macOf(2) },
  ipv4({ source: ip4Of(1), destination: ip4Of(2) }, icmp()),
);
const datagram = ethernet(
  { source: macOf(1), destination: macOf(2) },
  ipv6({ source: ip6Of(1), destination: ip6Of(2) }, udp({ source: 1, destination: 2 })),
);
const question = ethernet(
  { source: macOf(1), destination: broadcast },
  arp({ operation: 'request', senderMac: macOf(1), senderIp: ip4Of(1), targetIp: ip4Of(2) }),
);

/** Ports 1 and 2 are TAPs; port 1 has the program, and port security for its addresses. */
function openTaps(
  t: ExecutionContext,
  name: string,
): { readonly network: TestSwitch; readonly from: Tap; readonly to: Tap } {
  const [from, to] = [openTap(`${name}a`), openTap(`${name}b`)];
  const network = TestSwitch.open(t, 2, [from.ifindex, to.ifindex]);
  network.secure(1, ip4Of(1), ip6Of(1));
  network.harness.attach(from.ifindex);
  t.teardown(() => {
    from.close();
    to.close();
  });
  return { network, from, to };
}

test('a frame goes from TAP to TAP unchanged', async (t) => {
  const { network, from, to } = openTaps(t, 'plain');
  for (const frame of [ping, datagram]) {
    from.send(frame);
    t.deepEqual(await to.receive(), frame);
  }
  t.deepEqual(network.sent(), [0, 2]);
});

test('a broadcast is copied, and an answer comes back', async (t) => {
  const { network, from, to } = openTaps(t, 'flood');
  from.send(question);
  t.deepEqual(await to.receive(), question);
  network.answerFor(2, ip4Of(2));
  from.send(question);
  const reply = arp({
    operation: 'reply',
    senderMac: macOf(2),
    senderIp: ip4Of(2),
    targetMac: macOf(1),
    targetIp: ip4Of(1),
  });
  t.deepEqual(await from.receive(), ethernet({ source: macOf(2), destination: macOf(1) }, reply));
});

for (const [protocol, frame, headerBytes, reason] of [
  ['IPv4', ping, 20, 'malformed_ip4'],
  ['IPv6', datagram, 40, 'malformed_ip6'],
] as const) {
  test(`${protocol}: a frame cut off anywhere in its header is dropped`, (t) => {
    const { network, from } = openTaps(t, protocol.toLowerCase());
    for (let length = ethernetHeaderBytes; length < ethernetHeaderBytes + headerBytes; length++)
      from.send(frame.subarray(0, length));
    t.deepEqual(network.harness.drops(1), { [reason]: headerBytes });
    t.is(network.harness.counters(1).receivedPackets, BigInt(headerBytes));
    t.deepEqual(network.sent(), [0, 0]);
  });
}

test('ARP that is cut off is dropped', (t) => {
  const { network, from } = openTaps(t, 'arp');
  for (let length = ethernetHeaderBytes; length < question.length; length++)
    from.send(question.subarray(0, length));
  t.deepEqual(network.harness.drops(1), { port_security_arp: question.length - ethernetHeaderBytes });
});

test('a tag that the kernel has taken off is seen all the same', (t) => {
  const { network, from } = openTaps(t, 'tag');
  from.send(
    ethernet(
      { source: macOf(1), destination: macOf(2), vlan: 5 },
      ipv4({ source: ip4Of(1), destination: ip4Of(2) }, icmp()),
    ),
  );
  t.deepEqual(network.harness.drops(1), { vlan_tagged: 1 });
});

test('a disabled TAP gets nothing from the program', (t) => {
  const { network, from } = openTaps(t, 'off');
  network.harness.put('ports', 2, {
    ...plainPort,
    datapathKey,
    portKey: 12,
    ifindex: network.deviceOf(2),
    flags: portFlags.PORT_SECURITY,
  });
  from.send(ping);
  t.deepEqual(network.harness.drops(2), { egress_port_disabled: 1 });
  t.deepEqual(network.sent(), [0, 0]);
});
