import test, { type ExecutionContext } from 'ava';

import { Places } from '../../agent/inspect/places.js';
import { traceHop } from '../../agent/trace/trace-hop.js';
import type { RecordedStep, TraceSource } from '../../agent/trace/trace-source.js';
import { dropReason, traceEvent } from '../../generated/bpf/layouts.js';
import { makeTunnelPacket } from '../../agent/trace/tunnel-packet.js';
import { arp, ethernet, icmp, icmp6, ip, ipv4, ipv6 } from '../support/packets.js';
import { mac, makeUpdate, portResource, portSecurityEntry, switchResource } from './support/intents.js';
import { Rig } from './support/rig.js';

const frame = Buffer.alloc(60, 1);

/** A node with lp1 on tap1, and lp2 of the same switch elsewhere; the plane says `steps`. */
async function openNode(
  t: ExecutionContext,
  ...steps: readonly (Omit<RecordedStep, 'frame'> & { readonly frame?: Uint8Array })[]
) {
  const rig = new Rig();
  t.teardown(() => rig.close());
  rig.start();
  rig.devices.add('tap1', 5);
  rig.database.plug('tap1', 'lp1');
  const elsewhere = portResource('lp2', 2, { chassis: 'hv9', nb_uuid: 'uuid of lp2' });
  const security = [
    '02:00:00:00:00:01 10.0.0.1 fd00::/64',
    '02:00:00:00:00:01 10.0.9.0/24',
    '02:00:00:00:00:0a',
  ];
  const here = portResource('lp1', 1, {
    nb_uuid: 'uuid of lp1',
    port_security: security.map(portSecurityEntry),
    neighbours: [{ address: Buffer.from(ip('10.0.0.1')), mac: mac('02:00:00:00:00:01') }],
  });
  rig.update(makeUpdate([switchResource('sw0', 7), here, elsewhere]));
  await rig.settled();
  const runs: unknown[] = [];
  const dataPlane: TraceSource = {
    trace: ({ program, frame: { length }, ifindex, tunnel }) => {
      runs.push([program, length, ifindex, ...(tunnel ? [tunnel.vni] : [])]);
      return steps.map((step) => ({ frame, ...step }));
    },
  };
  const view = () => rig.reconciler.view;
  const places = new Places(view, () => rig.devices.links);
  return { runs, rig, options: { dataPlane, view, places } };
}

const {
  TRACE_FROM_PORT,
  TRACE_UNICAST,
  TRACE_DROP,
  TRACE_FROM_TUNNEL,
  TRACE_DELIVER,
  TRACE_PORT_SECURITY,
  TRACE_EGRESS_PORT_SECURITY,
  TRACE_ANSWER,
  TRACE_FLOOD,
  TRACE_LEARN,
  TRACE_TUNNEL,
} = traceEvent;

test('steps are told in terms of the network, with the NB row that decided', async (t) => {
  const { runs, options } = await openNode(
    t,
    { event: TRACE_FROM_PORT, slot: 1, detail: 1 },
    { event: TRACE_UNICAST, slot: 0, detail: 2 },
    { event: TRACE_DROP, slot: 1, detail: dropReason.DROP_PORT_SECURITY_IP4 },
  );
  const { program, interface: name, steps = [] } = traceHop({ frame, port: 'lp1' }, options);
  t.deepEqual([program, name, runs], ['vif_ingress', 'tap1', [['vif_ingress', 60, 5]]]);
  t.like(steps[0], { event: 'from port', port: 'lp1', switch: 'sw0', row_uuid: 'uuid of lp1' });
  t.like(steps[1], { event: 'unicast', port: 'lp2', key: 2, text: 'learnt' });
  t.like(steps[2], {
    event: 'drop',
    reason: 'port_security_ip4',
    row_table: 'Logical_Switch_Port',
    row_column: 'port_security',
    row_uuid: 'uuid of lp1',
  });
});

test('a tunnel packet is told with its sender, which is elsewhere', async (t) => {
  const { runs, options } = await openNode(
    t,
    { event: TRACE_FROM_TUNNEL, slot: 2 * 2 ** 16 + 1, detail: 7 },
    { event: TRACE_DELIVER, slot: 1, detail: 5 },
  );
  const { program, steps = [] } = traceHop({ frame, port: '' }, options);
  t.deepEqual([program, runs], ['tunnel_ingress', [['tunnel_ingress', 60, 1]]]);
  t.like(steps[0], { event: 'from tunnel', port: 'lp2', key: 1, switch: 'sw0', row_uuid: 'uuid of lp2' });
  t.like(steps[1], { event: 'deliver', port: 'lp1', interface: 'tap1', frame });
});

test('what cannot be traced is said', async (t) => {
  const { options } = await openNode(t);
  t.throws(() => traceHop({ frame, port: 'lp7' }, options), { message: /lp7 is not in this node's kernel/ });
  t.throws(() => traceHop({ frame: Buffer.alloc(14), port: 'lp1' }, options), { message: /14 bytes/ });
  t.throws(() => traceHop({ frame: Buffer.alloc(2000), port: 'lp1' }, options), { message: /2000 bytes/ });
});

const [own, other] = ['02:00:00:00:00:01', '02:00:00:00:00:02'];

function packet(
  source: string,
  address: string,
  destination = other,
  to = '10.0.0.2',
  vlan?: number,
): Uint8Array {
  const tag = vlan === undefined ? {} : { vlan };
  return ethernet({ source, destination, ...tag }, ipv4({ source: address, destination: to }, icmp()));
}

test('the entry of the row that decides is told', async (t) => {
  const decided = async (event: number, sent: Uint8Array, detail = 0): Promise<unknown> => {
    const { options } = await openNode(t, { event, slot: 1, detail, frame: sent });
    const [step] = traceHop({ frame, port: 'lp1' }, options).steps ?? [];
    t.is(step?.row_uuid, 'uuid of lp1');
    return [step?.row_column, ...(step?.row_entries ?? [])];
  };
  const [first, second, third] = [`${own} 10.0.0.1 fd00::/64`, `${own} 10.0.9.0/24`, '02:00:00:00:00:0a'];
  const six = ethernet(
    { source: own, destination: other },
    ipv6({ source: 'fd00::7', destination: '::2' }, icmp6(128, new Uint8Array(4))),
  );
  const question = {
    operation: 'request',
    senderMac: own,
    senderIp: '10.0.9.9',
    targetIp: '10.0.0.2',
  } as const;
  const pass = TRACE_PORT_SECURITY;
  t.deepEqual(await decided(pass, packet(own, '10.0.0.1')), ['port_security', first]);
  t.deepEqual(await decided(pass, packet(own, '10.0.9.3', other, '10.0.0.2', 5)), ['port_security', second]);
  t.deepEqual(await decided(pass, six), ['port_security', first]);
  t.deepEqual(await decided(pass, ethernet({ source: own, destination: other }, arp(question))), [
    'port_security',
    second,
  ]);
  t.deepEqual(await decided(pass, packet('02:00:00:00:00:0a', '1.1.1.1')), ['port_security', third]);
  t.deepEqual(await decided(TRACE_EGRESS_PORT_SECURITY, packet(other, '1.1.1.1', own, '10.0.9.1')), [
    'port_security',
    second,
  ]);
  const spoofed = packet(own, '10.0.0.9');
  t.deepEqual(await decided(TRACE_DROP, spoofed, dropReason.DROP_PORT_SECURITY_IP4), [
    'port_security',
    first,
    second,
  ]);
  const stranger = packet('02:00:00:00:00:99', '10.0.0.1');
  t.deepEqual(await decided(TRACE_DROP, stranger, dropReason.DROP_PORT_SECURITY_MAC), [
    'port_security',
    first,
    second,
    third,
  ]);
  const misled = packet(other, '10.0.0.2', own, '10.0.0.9');
  t.deepEqual(await decided(TRACE_DROP, misled, dropReason.DROP_EGRESS_PORT_SECURITY_IP4), [
    'port_security',
    first,
    second,
  ]);
  t.deepEqual(await decided(TRACE_DROP, spoofed.subarray(0, 3), dropReason.DROP_PORT_SECURITY_IP4), [
    'port_security',
    first,
    second,
    third,
  ]);
  t.deepEqual(await decided(TRACE_DROP, spoofed, dropReason.DROP_PORT_DISABLED), ['enabled']);
  t.deepEqual(await decided(TRACE_UNICAST, packet(other, '10.0.0.2', own)), ['addresses', `${own} 10.0.0.1`]);
  t.deepEqual(await decided(TRACE_LEARN, spoofed), ['addresses', 'unknown']);
});

test('an answer is told with the port that has the address, a flood with its group', async (t) => {
  const reply = arp({ operation: 'reply', senderMac: own, senderIp: '10.0.0.1', targetIp: '10.0.0.2' });
  const { options } = await openNode(
    t,
    { event: TRACE_FROM_PORT, slot: 1, detail: 1 },
    { event: TRACE_ANSWER, slot: 1, detail: 0, frame: ethernet({ source: own, destination: other }, reply) },
    { event: TRACE_FLOOD, slot: 1, detail: 32769 },
    { event: TRACE_FLOOD, slot: 1, detail: 2 },
  );
  const { steps = [] } = traceHop({ frame, port: 'lp1' }, options);
  t.like(steps[1], {
    event: 'answer',
    port: 'lp1',
    row_column: 'addresses',
    row_entries: [`${own} 10.0.0.1`],
  });
  t.like(steps[2], { event: 'flood', key: 32769, port: undefined, row_table: 'Logical_Switch' });
  t.like(steps[3], { event: 'flood', key: 2, port: 'lp2', row_uuid: 'uuid of lp2' });
});

test('what comes by VXLAN is taken apart for its program, and what leaves by it is put together', async (t) => {
  const metadata = {
    vni: 0x1007,
    source: ip('192.0.2.9'),
    destination: ip('192.0.2.1'),
    options: new Uint8Array(0),
  };
  const { options, runs, rig } = await openNode(t, {
    event: TRACE_TUNNEL,
    slot: 1,
    detail: 4096 + 3,
    tunnel: metadata,
  });
  const wire = makeTunnelPacket({ type: 'vxlan', metadata, frame });
  const tunnel = { id: 3, chassis: 'hv9', type: 'vxlan' } as const;
  const view = () => ({ intent: rig.reconciler.view.intent, tunnels: [tunnel] });
  const { program, steps = [] } = traceHop({ frame: Buffer.from(wire), port: '' }, { ...options, view });
  t.deepEqual([program, runs], ['vxlan_ingress', [['vxlan_ingress', 60, 1, 0x1007]]]);
  t.like(steps[0], { event: 'tunnel', chassis: 'hv9', frame: wire });
});
