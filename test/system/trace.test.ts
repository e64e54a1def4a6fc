import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';

import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';

import { Capture, sendFrames } from '../../testbed/frames.js';
import type { Hypervisor } from '../../testbed/hypervisor.js';
import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { frameArbitrary } from '../differential/frames.js';
import {
  addressesColumn,
  ownIp4,
  ownIp6,
  ownMac,
  type PortDescription,
  portSecurityColumn,
} from '../differential/network.js';
import { Network } from '../support/network.js';
import { broadcast, ethernet, ipv4, udp } from '../support/packets.js';

//   vm1 ── hv1 ── underlay ── hv2 ── vm2
//   vm3 ─┘

interface TracedStep {
  readonly event: string;
  readonly port: string;
  readonly chassis: string;
  readonly frame: string;
  readonly row_uuid: string;
  readonly reason: string;
}

interface Trace {
  readonly frame: string;
  readonly hops: readonly {
    readonly node: string;
    readonly program: string;
    readonly steps: readonly TracedStep[];
  }[];
}

/** Ports whose addresses are not their VMs', so that these answer nothing. */
const described: readonly PortDescription[] = ['vm1', 'vm2', 'vm3'].map((name, index) => {
  const entry = { mac: ownMac(index), addresses: [{ address: ownIp4(index) }, { address: ownIp6(index) }] };
  const portSecurity = name === 'vm3' ? [] : [entry];
  return { name, enabled: true, unknown: false, addresses: [entry], portSecurity, nonsense: [] };
});

function hex(frame: Uint8Array): string {
  return Buffer.from(frame).toString('hex');
}

/** Short frames have padding on a wire. */
function unpadded(frame: string): string {
  return frame.replace(/(00)+$/, '');
}

/** What vm1 sends: mostly close to what port security and the switch decide about, each once. */
function randomFrames(seed: number): readonly Uint8Array[] {
  const description = { name: 'sw0', vlanPassthru: false, ports: described };
  const sampled = fc.sample(frameArbitrary(description), { seed, numRuns: 200 });
  const ofFirst = sampled.filter(({ port }) => port === 'vm1').map(({ bytes }) => bytes);
  return [...new Map(ofFirst.map((bytes) => [unpadded(hex(bytes)), bytes])).values()];
}

/** A capture file of them (pcap-savefile(5)). */
function pcapOf(frames: readonly Uint8Array[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  const records = frames.map((frame) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return Buffer.concat([record, frame]);
  });
  return Buffer.concat([header, ...records]);
}

async function traceAll(network: Network, frames: readonly Uint8Array[]): Promise<readonly Trace[]> {
  const file = network.bed.file('frames.pcap');
  writeFileSync(file, pcapOf(frames));
  const { status, stdout, stderr } = await network.controller.iovn(
    ...['trace', 'sw0', '--pcap', file, '--inport', 'vm1', '--json'],
  );
  if (status !== 0) throw new Error(`the trace fails: ${stderr}`);
  return JSON.parse(stdout) as Trace[];
}

/** What vm1 may send, and everybody gets. */
function toEverybody(text: string): Uint8Array {
  const datagram = udp({ source: 7, destination: 7 }, Buffer.from(text));
  return ethernet(
    { source: ownMac(0), destination: broadcast },
    ipv4({ source: ownIp4(0), destination: '255.255.255.255' }, datagram),
  );
}

/** Traces random frames of vm1, then sends them, and compares who gets what. */
async function agreesWithWire(
  t: ExecutionContext,
  network: Network,
  vms: readonly [Vm, Vm, Vm],
  program: string,
): Promise<void> {
  const seed = randomInt(2 ** 30);
  t.log(`${program}: seed ${seed}`);
  const marker = toEverybody(program);
  const frames = randomFrames(seed);
  const traces = await traceAll(network, [...frames, marker]);
  const told = (vm: Vm): readonly string[] => {
    const steps = traces.flatMap(({ hops }) => hops.flatMap((hop) => hop.steps));
    const delivered = steps.filter(({ event, port }) => event === 'deliver' && port === vm.name);
    return [...new Set(delivered.map(({ frame }) => unpadded(frame)))].sort();
  };
  const [vm1, ...receivers] = vms;
  const captures = await Promise.all(receivers.map((vm) => Capture.start(network.bed, vm.namespace, 'eth0')));
  await sendFrames(vm1.namespace, 'eth0', frames);
  await sendFrames(vm1.namespace, 'eth0', [marker]);
  for (const [index, vm] of receivers.entries()) {
    const sent = new Set([...frames.map((frame) => unpadded(hex(frame))), ...told(vm)]);
    const seen = (): readonly string[] => {
      const arrived = captures[index]?.frames().map((frame) => unpadded(hex(frame))) ?? [];
      return [...new Set(arrived.filter((frame) => sent.has(frame)))].sort();
    };
    t.true(told(vm).length > 3, 'too few frames pass to say anything');
    await captures[index]?.waitForFrame(marker);
    t.deepEqual(seen(), told(vm), `${vm.name}, ${program}, seed ${seed}`);
  }
  t.true(traces.some(({ hops }) => hops[1]?.program === program));
}

function useVxlan(hypervisor: Hypervisor): Promise<string> {
  return hypervisor.vsctl('set', 'Open_vSwitch', '.', 'external_ids:ovn-encap-type=vxlan');
}

test.serial('a packet is traced from node to node, and nothing of it is left behind', async (t) => {
  const network = await Network.open(t);
  const [hv1, hv2] = [network.hypervisor, await network.addHypervisor(2)];
  const vm1 = await network.plugVm(1, hv1, { portSecurity: true });
  const vm2 = await network.plugVm(2, hv2, { portSecurity: true });
  await network.sync();
  await vm1.canReach(vm2.address);
  const { controller, central } = network;
  const flow = (source: string): string =>
    `inport == "vm1" && eth.src == ${vm1.mac} && eth.dst == ${vm2.mac} && ip4.src == ${source} && ip4.dst == ${vm2.address} && icmp4.type == 8`;
  const counted = async (): Promise<string> => {
    const { stdout } = await controller.iovn('mapping', '--json');
    const nodes = JSON.parse(stdout) as {
      ports: { name: string; received_packets: number; dropped_packets: number }[];
    }[];
    return JSON.stringify(
      nodes.flatMap(({ ports }) =>
        ports.map((port) => [port.name, port.received_packets, port.dropped_packets]),
      ),
    );
  };
  await vm1.namespace.ip('link', 'set', 'eth0', 'down');
  await vm2.namespace.ip('link', 'set', 'eth0', 'down');
  const before = await counted();

  const good = await controller.iovn('trace', 'sw0', flow(vm1.address), '--json');
  t.is(good.status, 0, good.stderr);
  const [trace] = JSON.parse(good.stdout) as Trace[];
  t.deepEqual(
    trace?.hops.map(({ node, program, steps }) => [node, program, ...steps.map(({ event }) => event)]),
    [
      ['hv1', 'vif_ingress', 'from port', 'port security', 'unicast', 'tunnel'],
      ['hv2', 'tunnel_ingress', 'from tunnel', 'egress port security', 'deliver'],
    ],
  );
  const delivered = trace?.hops[1]?.steps.at(-1);
  t.is(delivered?.frame, trace?.frame);
  t.is(delivered?.row_uuid, await central.nbctl('get', 'Logical_Switch_Port', 'vm2', '_uuid'));

  const spoofed = await controller.iovn('trace', flow('10.0.0.99'));
  t.regex(
    spoofed.stdout,
    /drop +port_security_ip4: .*, by vm1 \(Logical_Switch_Port vm1 [0-9a-f-]{36} port_security "02:00:00:00:00:01 10\.0\.0\.1"\)/,
  );
  t.regex(spoofed.stdout, /^output: nothing$/m);
  const wrong = await controller.iovn('trace', 'sw0', 'inport == "vm1" && ip4.src = 1');
  t.is(wrong.status, 1);
  t.regex(wrong.stderr, /\n {2}inport == "vm1" && ip4\.src = 1\n {29}\^\n$/);
  t.regex((await controller.iovn('trace', 'inport == "vm11"')).stderr, /did you mean 'vm1'\?/);
  t.regex((await controller.iovn('trace', 'sw9', flow(vm1.address))).stderr, /is of switch sw0/);
  t.is(await counted(), before);

  const vm3 = await network.plugVm(3, hv1);
  await vm1.namespace.ip('link', 'set', 'eth0', 'up');
  await vm2.namespace.ip('link', 'set', 'eth0', 'up');
  for (const port of described) {
    await central.nbctl('lsp-set-addresses', port.name, ...addressesColumn(port));
    await central.nbctl('lsp-set-port-security', port.name, ...portSecurityColumn(port));
  }
  await network.sync();
  await agreesWithWire(t, network, [vm1, vm2, vm3], 'tunnel_ingress');

  for (const hypervisor of [hv1, hv2]) await useVxlan(hypervisor);
  await waitFor('the tunnel is VXLAN', async () => {
    const [trace] = await traceAll(network, [toEverybody('vxlan')]);
    return trace?.hops.some(({ program }) => program === 'vxlan_ingress') === true;
  });
  await network.sync();
  await agreesWithWire(t, network, [vm1, vm2, vm3], 'vxlan_ingress');
});
