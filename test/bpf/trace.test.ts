import test, { type ExecutionContext } from 'ava';

import type { RecordedStep } from '../../agent/trace/trace-source.js';
import type { TunnelMetadata } from '../../agent/trace/tunnel-packet.js';
import { type Ifindex, macBytes } from '../../common/addresses.js';
import {
  constants,
  dropReasons,
  ipFamily,
  portFlags,
  traceEvent,
  tunnelEndpointFlags,
  tunnelType,
} from '../../generated/bpf/layouts.js';
import { arp, broadcast, ethernet, icmp, ip, ipv4, mac } from '../support/packets.js';
import { openPacketReceiver } from '../support/packet-receiver.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { BpfHarness } from './harness.js';
import { datapathKey, ip4Of, macOf, TestSwitch } from './switch.js';
import { plainPort } from '../support/plain-port.js';

enterPrivateNamespaces();

const { PORT_ENABLED, PORT_LEARNS, PORT_LOCALNET } = portFlags;
const nested = { slot: 9, vlanId: 42 } as const;
const names = new Map<number, string>(
  Object.entries(traceEvent).map(([name, number]) => [number, name.slice('TRACE_'.length).toLowerCase()]),
);

function ping(from: number, to: string, source = ip4Of(from)): Uint8Array {
  return ethernet({ source: macOf(from), destination: to }, ipv4({ source, destination: ip4Of(2) }, icmp()));
}

function tracerOf(t: ExecutionContext, sw: TestSwitch) {
  const tracer = sw.harness.openTracer();
  t.teardown(() => tracer.close());
  return (port: number, frame: Uint8Array): readonly RecordedStep[] =>
    tracer.run({ program: 'vif_ingress', frame, ifindex: sw.deviceOf(port) });
}

/** `event slot detail`, and the name of a drop's reason. */
function told(steps: readonly RecordedStep[]): readonly string[] {
  return steps.map(({ event, slot, detail }) => {
    const what = event === traceEvent.TRACE_DROP ? dropReasons[detail]?.name : detail;
    return `${names.get(event) ?? ''} ${slot} ${what ?? ''}`;
  });
}

test('a trace tells each decision about a unicast frame, and its bytes at the end', (t) => {
  const sw = TestSwitch.open(t, 2);
  sw.secure(1, ip4Of(1));
  const trace = tracerOf(t, sw);
  const frame = ping(1, macOf(2));
  const steps = trace(1, frame);
  const delivered = `deliver 2 ${sw.deviceOf(2)}`;
  t.deepEqual(told(steps), ['from_port 1 11', 'port_security 1 0', 'unicast 2 12', delivered]);
  t.deepEqual(steps.at(-1)?.frame, frame);
  t.deepEqual(told(trace(1, ping(1, macOf(2), ip4Of(7)))), ['from_port 1 11', 'drop 1 port_security_ip4']);
  sw.secure(2, ip4Of(2));
  const passed = 'egress_port_security 2 0';
  t.deepEqual(told(trace(1, frame)), [
    'from_port 1 11',
    'port_security 1 0',
    'unicast 2 12',
    passed,
    delivered,
  ]);
  t.true(told(trace(1, ping(1, broadcast))).includes(passed));
});

test('a trace sees what changes in the tables', (t) => {
  const sw = TestSwitch.open(t, 2);
  const trace = tracerOf(t, sw);
  t.is(told(trace(1, ping(1, macOf(2)))).at(-1), `deliver 2 ${sw.deviceOf(2)}`);
  sw.setFlags(2, 0);
  t.is(told(trace(1, ping(1, macOf(2)))).at(-1), 'drop 2 egress_port_disabled');
});

test('a trace knows what is learnt, and that it would be learnt', (t) => {
  const sw = TestSwitch.open(t, 3);
  const trace = tracerOf(t, sw);
  sw.setFlags(1, PORT_ENABLED | PORT_LEARNS);
  const [own, other] = ['0a:00:00:00:00:01', '0a:00:00:00:00:03'];
  const frame = ethernet(
    { source: own, destination: other },
    ipv4({ source: ip4Of(1), destination: ip4Of(3) }, icmp()),
  );
  t.deepEqual(told(trace(1, frame)).slice(1, 3), ['learn 1 11', `flood 1 ${constants.MULTICAST_UNKNOWN}`]);
  const learn = (address: string, port: number): void =>
    sw.harness.put(
      'fdb',
      { datapathKey, mac: macBytes(mac(address)) },
      { portKey: 10 + port, slot: port, seenNs: 1n },
    );
  learn(own, 1);
  learn(other, 3);
  t.deepEqual(told(trace(1, frame)), ['from_port 1 11', 'unicast 3 13', `deliver 3 ${sw.deviceOf(3)}`]);
  const toItself = ethernet(
    { source: '0a:00:00:00:00:05', destination: '0a:00:00:00:00:05' },
    arp({
      operation: 'request',
      senderMac: own,
      senderIp: ip4Of(1),
      targetIp: ip4Of(3),
    }),
  );
  t.is(told(trace(1, toItself)).at(-1), 'drop 1 hairpin');
});

test('a trace sends nothing, counts nothing and learns nothing', async (t) => {
  const sw = TestSwitch.open(t, 3);
  const trace = tracerOf(t, sw);
  sw.setFlags(1, PORT_ENABLED | PORT_LEARNS);
  sw.harness.put('fdb', { datapathKey, mac: macBytes(mac(macOf(1))) }, { portKey: 11, slot: 1, seenNs: 1n });
  const receivers = [2, 3].map((port) => openPacketReceiver(sw.vmEndOf(port)));
  for (const receiver of receivers) t.teardown(() => receiver.close());
  const before = sw.harness.contents();
  const stranger = ethernet(
    { source: '0a:00:00:00:00:09', destination: broadcast },
    ipv4({ source: ip4Of(1), destination: ip4Of(3) }, icmp()),
  );
  for (const frame of [ping(1, macOf(2)), ping(1, broadcast), stranger, ping(1, macOf(1)), ping(1, macOf(7))])
    t.true(trace(1, frame).length > 1);
  t.deepEqual(sw.harness.contents(), before);
  const marker = ping(1, broadcast, '10.0.0.99');
  sw.send(1, marker);
  for (const receiver of receivers) t.deepEqual(await receiver.waitForFrames(1), [marker]);
  t.notDeepEqual(sw.harness.contents(), before);
});

test('a flood is told member by member, with the tag of a nested port', async (t) => {
  const sw = TestSwitch.open(t, 3);
  const trace = tracerOf(t, sw);
  const ifindex = sw.deviceOf(2);
  const port = {
    ...plainPort,
    datapathKey,
    portKey: 19,
    ifindex,
    flags: PORT_ENABLED,
    vlanId: nested.vlanId,
  };
  sw.harness.put('ports', nested.slot, port);
  sw.harness.putGroup(datapathKey, constants.MULTICAST_FLOOD, [1, nested.slot, 3]);
  const receiver = openPacketReceiver(sw.vmEndOf(3));
  t.teardown(() => receiver.close());
  const frame = ping(1, broadcast);
  const delivered = trace(1, frame).filter(({ event }) => event === traceEvent.TRACE_DELIVER);
  const tagged = ethernet(
    { source: macOf(1), destination: broadcast, vlan: nested.vlanId },
    ipv4({ source: ip4Of(1), destination: ip4Of(2) }, icmp()),
  );
  t.deepEqual(
    delivered.map(({ slot }) => slot),
    [nested.slot, 3],
  );
  t.deepEqual(
    delivered.map((step) => step.frame),
    [tagged, frame],
  );
  sw.send(1, frame);
  t.deepEqual(await receiver.waitForFrames(1), [delivered[1]?.frame]);
});

test('a flood of more members than one run serves is told to its end', (t) => {
  const harness = new BpfHarness(undefined, 1200);
  t.teardown(() => harness.close());
  const device = createDevice('many');
  const [sender, ...members] = Array.from({ length: 1100 }, (_, index) => index + 1);
  for (const slot of [1, ...members])
    harness.put('ports', slot, {
      ...plainPort,
      datapathKey,
      portKey: slot,
      ifindex: device,
      flags: PORT_ENABLED,
    });
  harness.put('ports_by_interface', { ifindex: device, vlanId: 0 }, sender ?? 0);
  harness.putGroup(datapathKey, constants.MULTICAST_FLOOD, [1, ...members]);
  const tracer = harness.openTracer();
  t.teardown(() => tracer.close());
  const steps = tracer.run({ program: 'vif_ingress', frame: ping(1, broadcast), ifindex: device });
  const delivered = steps.filter(({ event }) => event === traceEvent.TRACE_DELIVER);
  t.deepEqual(
    delivered.map(({ slot }) => slot),
    members,
  );
});

const underlay = { here: '192.0.2.1', there: '192.0.2.2', tunnel: 3 } as const;

function padded(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(ip(text));
  return bytes;
}

/** Tells the node of `sw` where it is itself, and that port `port` is behind the tunnel to the other. */
function connect(
  sw: TestSwitch,
  local: string,
  remote: string,
  port: number,
  ifindex: Ifindex,
  type: number,
): void {
  const { harness } = sw;
  const family = ipFamily.FAMILY_IP4;
  harness.put('tunnels', underlay.tunnel, {
    remote: padded(remote),
    local: padded(local),
    family,
    ifindex,
    relayIfindex: ifindex,
    mtu: 1500,
    type,
    flags: 0,
  });
  const { ENDPOINT_LOCAL, ENDPOINT_REMOTE } = tunnelEndpointFlags;
  harness.put('tunnel_endpoints', { family, type, address: padded(local) }, { flags: ENDPOINT_LOCAL });
  harness.put('tunnel_endpoints', { family, type, address: padded(remote) }, { flags: ENDPOINT_REMOTE });
  harness.put('ports_by_key', { datapathKey, portKey: 0 }, { slot: 0, tunnel: 0 });
  for (const local of sw.ports)
    harness.put('ports_by_key', { datapathKey, portKey: 10 + local }, { slot: local, tunnel: 0 });
  harness.put('ports_by_key', { datapathKey, portKey: 10 + port }, { slot: 0, tunnel: underlay.tunnel });
  harness.put(
    'destinations',
    { datapathKey, mac: macBytes(mac(macOf(port))) },
    { portKey: 10 + port, slot: 0 },
  );
  const group = { datapathKey, groupKey: constants.MULTICAST_FLOOD };
  harness.put('remote_members', { ...group, tunnel: 0 }, { nextTunnel: underlay.tunnel });
  harness.put('remote_members', { ...group, tunnel: underlay.tunnel }, { nextTunnel: 0 });
}

for (const [name, type, program] of [
  ['Geneve', tunnelType.TUNNEL_GENEVE, 'tunnel_ingress'],
  ['VXLAN', tunnelType.TUNNEL_VXLAN, 'vxlan_ingress'],
] as const) {
  test(`what leaves through a tunnel goes on at the other node, ${name}`, (t) => {
    const [here, there] = [TestSwitch.open(t, 1), TestSwitch.open(t, 2)];
    const device = createDevice(`wire-${name}`);
    connect(here, underlay.here, underlay.there, 2, device, type);
    there.harness.remove('destinations', { datapathKey, mac: macBytes(mac(macOf(1))) });
    connect(there, underlay.there, underlay.here, 1, device, type);
    there.harness.putGroup(datapathKey, constants.MULTICAST_FLOOD, [2]);
    const send = tracerOf(t, here);
    const receiver = there.harness.openTracer();
    t.teardown(() => receiver.close());
    const arrive = (frame: Uint8Array, tunnel?: TunnelMetadata): readonly RecordedStep[] =>
      receiver.run({ program, ifindex: device, frame, ...(tunnel && { tunnel }) });
    const delivered = `deliver 2 ${there.deviceOf(2)}`;
    /* VXLAN has no room for the ingress port. */
    const sender = name === 'VXLAN' ? 0 : 11;
    for (const [destination, key] of [
      [macOf(2), 12],
      [broadcast, constants.MULTICAST_FLOOD],
    ] as const) {
      const frame = ping(1, destination);
      const out = send(1, frame).at(-1);
      t.is(out?.event, traceEvent.TRACE_TUNNEL);
      t.is(out?.detail, underlay.tunnel);
      t.is(out?.tunnel === undefined, name === 'Geneve');
      const steps = arrive(out?.frame ?? new Uint8Array(0), out?.tunnel);
      t.deepEqual(told(steps), [`from_tunnel ${sender * 2 ** 16 + key} ${datapathKey}`, delivered]);
      t.deepEqual(steps.at(-1)?.frame, frame);
    }
    if (name === 'Geneve') return;
    const tunnel = {
      vni: 12 * 2 ** 12 + datapathKey,
      source: ip(underlay.here),
      destination: ip(underlay.there),
      options: new Uint8Array(0),
    };
    const last = (changed: Partial<TunnelMetadata>): string | undefined =>
      told(arrive(ping(1, macOf(2)), { ...tunnel, ...changed })).at(-1);
    t.is(last({}), delivered);
    t.is(last({ source: ip('192.0.2.77') }), 'drop 0 tunnel_unknown_source');
    t.is(last({ vni: 19 * 2 ** 12 + datapathKey }), 'drop 0 tunnel_unknown_port');
    t.is(last({ source: ip('fd00::1'), destination: ip('fd00::2') }), 'drop 0 tunnel_unknown_source');
    t.deepEqual(
      told(arrive(ping(1, macOf(2)))),
      ['drop 0 tunnel_malformed'],
      'nothing is left of those before',
    );
  });
}

test('what comes from a physical network, and what leaves for it', (t) => {
  const sw = TestSwitch.open(t, 3);
  const [localnet, vlanId] = [3, 100];
  const uplink = sw.deviceOf(localnet);
  const flags = PORT_ENABLED | PORT_LOCALNET | PORT_LEARNS;
  sw.harness.remove('ports_by_interface', { ifindex: uplink, vlanId: 0 });
  sw.harness.put('ports_by_interface', { ifindex: uplink, vlanId }, localnet);
  sw.harness.put('ports', localnet, {
    ...plainPort,
    datapathKey,
    portKey: 13,
    ifindex: uplink,
    flags,
    vlanId,
    localnetSlot: localnet,
  });
  const tracer = sw.harness.openTracer();
  t.teardown(() => tracer.close());
  const outside = '02:66:00:00:00:01';
  const arrive = (frame: Uint8Array): readonly string[] =>
    told(tracer.run({ program: 'uplink_ingress', frame, ifindex: uplink }));
  const from = (destination: string): Uint8Array =>
    ethernet(
      { source: outside, destination, vlan: vlanId },
      ipv4({ source: '10.0.0.200', destination: ip4Of(1) }, icmp()),
    );
  const before = sw.harness.contents();
  const learnt = ['from_port 3 13', 'learn 3 13'];
  t.deepEqual(arrive(from(macOf(1))), [...learnt, 'unicast 1 0', `deliver 1 ${sw.deviceOf(1)}`]);
  t.deepEqual(arrive(from(broadcast)), [
    ...learnt,
    `flood 3 ${constants.MULTICAST_FLOOD}`,
    `deliver 1 ${sw.deviceOf(1)}`,
    `deliver 2 ${sw.deviceOf(2)}`,
    'to_host 3 0',
  ]);
  t.deepEqual(arrive(ping(1, macOf(2))), ['to_host 0 0'], 'without the tag it is another network’s');
  const multicast = ethernet(
    { source: '03:00:00:00:00:01', destination: macOf(1), vlan: vlanId },
    ipv4({ source: '10.0.0.200', destination: ip4Of(1) }, icmp()),
  );
  t.deepEqual(arrive(multicast), ['from_port 3 13', 'drop 3 multicast_source']);
  t.deepEqual(sw.harness.contents(), before);

  const out = tracer.run({ program: 'vif_ingress', frame: ping(1, broadcast), ifindex: sw.deviceOf(1) });
  const left = out.filter(({ event, slot }) => event === traceEvent.TRACE_DELIVER && slot === localnet);
  t.deepEqual(
    left[0]?.frame,
    ethernet(
      { source: macOf(1), destination: broadcast, vlan: vlanId },
      ipv4({ source: ip4Of(1), destination: ip4Of(2) }, icmp()),
    ),
  );
});
