import test from 'ava';

import { Network } from '../support/network.js';

//   vm1 ── hv1 ── underlay ── hv2 ── vm2

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
      ['hv2', 'tunnel_ingress', 'from tunnel', 'deliver'],
    ],
  );
  const delivered = trace?.hops[1]?.steps.at(-1);
  t.is(delivered?.frame, trace?.frame);
  t.is(delivered?.row_uuid, await central.nbctl('get', 'Logical_Switch_Port', 'vm2', '_uuid'));

  const spoofed = await controller.iovn('trace', flow('10.0.0.99'));
  t.regex(
    spoofed.stdout,
    /drop +port_security_ip4: .*, by vm1 \(Logical_Switch_Port vm1 [0-9a-f-]{36} port_security\)/,
  );
  t.regex(spoofed.stdout, /^output: nothing$/m);
  const wrong = await controller.iovn('trace', 'sw0', 'inport == "vm1" && ip4.src = 1');
  t.is(wrong.status, 1);
  t.regex(wrong.stderr, /\n {2}inport == "vm1" && ip4\.src = 1\n {29}\^\n$/);
  t.regex((await controller.iovn('trace', 'inport == "vm11"')).stderr, /did you mean 'vm1'\?/);
  t.regex((await controller.iovn('trace', 'sw9', flow(vm1.address))).stderr, /is of switch sw0/);
  t.is(await counted(), before);
});
