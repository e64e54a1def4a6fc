import test, { type ExecutionContext } from 'ava';

import type { TestContext } from '../../agent/libbpf/kernel-program.js';
import { macBytes } from '../../common/addresses.js';
import { constants, portFlags } from '../../generated/bpf/layouts.js';
import { arp, broadcast, ethernet, icmp, ipv4, mac, tagged } from '../support/packets.js';
import { enterPrivateNamespaces } from '../support/private-namespace.js';
import { type Run, verdicts } from './harness.js';
import { datapathKey, ip4Of, macOf, TestSwitch } from './switch.js';
import { plainPort } from '../support/plain-port.js';

enterPrivateNamespaces();

// Ports 1 and 2 are VIFs, 3 is the localnet port; port 9 is on another node and has no slot.
const localnet = 3;
const serviceTag = 0x88a8;
const outside = '02:66:00:00:00:01';
const { PORT_ENABLED, PORT_LOCALNET, PORT_LEARNS, PORT_SERVICE_TAG, PORT_VLAN_PASSTHRU } = portFlags;

interface Options {
  readonly vlanId?: number;
  readonly flags?: number;
  readonly unknown?: readonly number[];
}

interface Provider {
  readonly sw: TestSwitch;
  readonly arrive: (frame: Uint8Array, context?: TestContext) => Run;
}

function open(t: ExecutionContext, { vlanId = 0, flags = 0, unknown = [localnet] }: Options = {}): Provider {
  const sw = TestSwitch.open(t, 3);
  const { harness } = sw;
  const uplink = sw.deviceOf(localnet);
  const port = (number: number, more: number, vlan: number) => ({
    ...plainPort,
    datapathKey,
    portKey: 10 + number,
    ifindex: sw.deviceOf(number),
    flags: PORT_ENABLED | more,
    vlanId: vlan,
    localnetSlot: localnet,
  });
  const passthru = flags & PORT_VLAN_PASSTHRU;
  for (const number of [1, 2]) harness.put('ports', number, port(number, passthru, 0));
  harness.put('ports', localnet, port(localnet, PORT_LOCALNET | flags, vlanId));
  harness.remove('ports_by_interface', { ifindex: uplink, vlanId: 0 });
  harness.put('ports_by_interface', { ifindex: uplink, vlanId }, localnet);
  harness.remove('destinations', { datapathKey, mac: macBytes(mac(macOf(localnet))) });
  harness.put('destinations', { datapathKey, mac: macBytes(mac(macOf(9))) }, { portKey: 19, slot: 0 });
  harness.putGroup(datapathKey, constants.MULTICAST_UNKNOWN, unknown);
  const arrive = (frame: Uint8Array, context: TestContext = {}): Run =>
    harness.run(frame, { ingressIfindex: uplink, ifindex: uplink, ...context }, 'uplink_ingress');
  return { sw, arrive };
}

const ping = ipv4({ source: '10.0.0.200', destination: ip4Of(1) }, icmp());
const from = (destination: string, source = outside): Uint8Array => ethernet({ source, destination }, ping);
const question = ethernet(
  { source: outside, destination: broadcast },
  arp({ operation: 'request', senderMac: outside, senderIp: '10.0.0.200', targetIp: ip4Of(1) }),
);

function isUntouched(t: ExecutionContext, { verdict, packet }: Run, frame: Uint8Array): void {
  t.is(verdict, verdicts.unspecified);
  t.deepEqual(packet, frame);
}

test('a frame to a VM of this node is taken', (t) => {
  const { sw, arrive } = open(t);
  const run = arrive(from(macOf(1)));
  t.is(run.verdict, verdicts.redirect);
  t.deepEqual(run.packet, from(macOf(1)));
  t.deepEqual(sw.sent(), [1, 0, 0]);
  t.is(sw.harness.counters(localnet).receivedPackets, 1n);
});

test('a frame to a VM of another node, or to the uplink’s network, is nobody’s here', (t) => {
  const { sw, arrive } = open(t);
  isUntouched(t, arrive(from(macOf(9))), from(macOf(9)));
  sw.harness.put('fdb', { datapathKey, mac: macBytes(mac(macOf(8))) }, { portKey: 13, slot: 3, seenNs: 0n });
  isUntouched(t, arrive(from(macOf(8))), from(macOf(8)));
  t.deepEqual(sw.sent(), [0, 0, 0]);
  t.is(sw.harness.counters(localnet).receivedPackets, 0n);
});

test('a broadcast reaches every VM here and the host, and nobody answers for the VMs', (t) => {
  const { sw, arrive } = open(t);
  sw.answerFor(1, ip4Of(1));
  isUntouched(t, arrive(question), question);
  t.deepEqual(sw.sent(), [1, 1, 0]);
  t.deepEqual(sw.harness.drops(localnet), {});
});

test('a frame to a MAC that nobody has goes to those who take unknown ones, but not back', (t) => {
  const { sw, arrive } = open(t, { unknown: [2, localnet] });
  const frame = from('02:77:00:00:00:01');
  isUntouched(t, arrive(frame), frame);
  t.deepEqual(sw.sent(), [0, 1, 0]);
});

for (const type of [0x8100, serviceTag]) {
  const flags = type === serviceTag ? PORT_SERVICE_TAG : 0;
  const withTag = (frame: Uint8Array, tci = 0xa064): Uint8Array => tagged(frame, { tci, etherType: type });

  test(`a VLAN (${type.toString(16)}): its tag is taken off and put on, other frames are not the port's`, (t) => {
    const { sw, arrive } = open(t, { vlanId: 100, flags });
    const run = arrive(withTag(from(macOf(1))));
    t.is(run.verdict, verdicts.redirect);
    t.deepEqual(run.packet, from(macOf(1)));
    // The tag is put back beside the packet, where the kernel keeps it, and what a test run shows is the packet.
    isUntouched(t, arrive(withTag(question)), question);
    t.deepEqual(sw.sent(), [2, 1, 0]);
    isUntouched(t, arrive(question), question);
    isUntouched(t, arrive(withTag(question, 101)), withTag(question, 101));
    t.deepEqual(sw.sent(), [2, 1, 0]);

    const out = sw.send(1, ethernet({ source: macOf(1), destination: macOf(9) }, ping));
    t.is(out.verdict, verdicts.redirect);
    t.is(sw.harness.counters(localnet).sentPackets, 1n);
  });
}

test('without a VLAN: a priority tag is taken off, other tags are another network’s', (t) => {
  const { sw, arrive } = open(t);
  const priority = tagged(from(macOf(1)), { tci: 0xe000 });
  const run = arrive(priority);
  t.deepEqual(run.packet, from(macOf(1)));
  const other = tagged(question, { tci: 5 });
  isUntouched(t, arrive(other), other);
  t.deepEqual(sw.sent(), [1, 0, 0]);
});

test('a second tag does not enter, but where the switch lets tags pass', (t) => {
  const twice = tagged(from(macOf(1)), { tci: 100 }, { tci: 5 });
  const strict = open(t, { vlanId: 100 });
  t.is(strict.arrive(twice).verdict, verdicts.drop);
  t.deepEqual(strict.sw.harness.drops(localnet), { vlan_tagged: 1 });
  const loose = open(t, { flags: PORT_VLAN_PASSTHRU });
  const run = loose.arrive(twice);
  t.is(run.verdict, verdicts.redirect);
  t.deepEqual(run.packet, twice);
});

test('what VMs send to other nodes, to everybody, and to nobody leaves by the uplink', (t) => {
  const { sw } = open(t);
  const send = (destination: string): Run => sw.send(1, ethernet({ source: macOf(1), destination }, ping));
  t.is(send(macOf(9)).verdict, verdicts.redirect);
  t.deepEqual(sw.sent(), [0, 0, 1]);
  send(broadcast);
  t.deepEqual(sw.sent(), [0, 1, 2]);
  send('02:77:00:00:00:01');
  t.deepEqual(sw.sent(), [0, 1, 3]);
  t.deepEqual(sw.harness.drops(1), {});
});

test('a disabled port: VMs get nothing, the host gets everything', (t) => {
  const { sw, arrive } = open(t);
  sw.setFlags(localnet, PORT_LOCALNET);
  t.is(arrive(from(macOf(1))).verdict, verdicts.drop);
  isUntouched(t, arrive(question), question);
  t.deepEqual(sw.sent(), [0, 0, 0]);
  t.deepEqual(sw.harness.drops(localnet), { port_disabled: 2 });
});

test('the receiver’s port security holds', (t) => {
  const { sw, arrive } = open(t);
  sw.secure(1, '10.9.9.9');
  t.is(arrive(from(macOf(1))).verdict, verdicts.drop);
  t.deepEqual(sw.harness.drops(1), { egress_port_security_ip4: 1 });
});

test('MACs outside are learnt where the port learns; one of a VM stays the VM’s', (t) => {
  const { sw, arrive } = open(t, { flags: PORT_LEARNS });
  const send = (destination: string): void =>
    void sw.send(1, ethernet({ source: macOf(1), destination }, ping));
  arrive(question);
  send(outside);
  t.deepEqual(sw.sent(), [1, 1, 1], 'not to the members of _MC_unknown');
  const moved = '02:66:00:00:00:02';
  sw.harness.put('fdb', { datapathKey, mac: macBytes(mac(moved)) }, { portKey: 12, slot: 2, seenNs: 0n });
  arrive(from(broadcast, moved));
  send(moved);
  t.deepEqual(sw.sent(), [2, 3, 1]);
});

test('an interface without a localnet port, and a multicast source', (t) => {
  const { sw, arrive } = open(t);
  const strange = from(macOf(1), '03:00:00:00:00:01');
  t.is(arrive(strange).verdict, verdicts.drop);
  t.deepEqual(sw.harness.drops(localnet), { multicast_source: 1 });
  sw.harness.remove('ports_by_interface', { ifindex: sw.deviceOf(localnet), vlanId: 0 });
  isUntouched(t, arrive(question), question);
});
