import test, { type ExecutionContext } from 'ava';

import { parseMetrics, sumOf } from '../../testbed/metrics.js';
import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { Network } from '../support/network.js';

//        hv1
//   vm1 ── tap-vm1 ┐   configured
//   vm2 ── tap-vm2 ├ sw0   takes unknown addresses; nobody configured its MAC
//   vm3 ── tap-vm3 ┘   takes unknown addresses, and sees what is flooded

interface LearningNetwork {
  readonly network: Network;
  readonly vm1: Vm;
  readonly vm2: Vm;
  readonly vm3: Vm;
}

async function openLearning(t: ExecutionContext): Promise<LearningNetwork> {
  const network = await Network.open(t);
  const vms: Vm[] = [];
  for (const number of [1, 2, 3]) {
    const vm = await network.createVm(number);
    // Nothing but what the test sends.
    await vm.namespace.runOk(['sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1']);
    await network.addPort(vm, { portSecurity: false });
    if (number > 1) await network.central.nbctl('lsp-set-addresses', vm.name, 'unknown');
    await network.hypervisor.plug(vm.tap, vm.name);
    vms.push(vm);
  }
  await network.sync();
  const [vm1, vm2, vm3] = vms;
  if (vm1 === undefined || vm2 === undefined || vm3 === undefined) throw new Error('three VMs were made');
  return { network, vm1, vm2, vm3 };
}

async function sentTo({ network }: LearningNetwork, vm: Vm): Promise<number> {
  const { body } = await network.hypervisor.get('/metrics');
  return sumOf(parseMetrics(body), 'iovn_agent_port_sent_packets_total', { port: vm.name });
}

async function agentMetric({ network }: LearningNetwork, name: string): Promise<number> {
  const { body } = await network.hypervisor.get('/metrics');
  return sumOf(parseMetrics(body), name);
}

/** Port key of the FDB row, '' when there is none. */
function row({ network }: LearningNetwork, mac: string): Promise<string> {
  return network.central.sbctl('--bare', '--columns=port_key', 'find', 'FDB', `mac="${mac}"`);
}

function portKey({ network }: LearningNetwork, vm: Vm): Promise<string> {
  const columns = ['--bare', '--columns=tunnel_key'];
  return network.central.sbctl(...columns, 'find', 'Port_Binding', `logical_port=${vm.name}`);
}

test.serial('a MAC that nobody configured is learnt: no more flooding, and a row in FDB', async (t) => {
  const bed = await openLearning(t);
  const { network, vm1, vm2, vm3 } = bed;
  t.is((await vm1.ping(vm2.address)).received, 1);
  const before = await sentTo(bed, vm3);
  const pings = 20;
  t.is((await vm1.ping(vm2.address, { count: pings, intervalMs: 50 })).received, pings);
  t.true((await sentTo(bed, vm3)) - before <= 1, 'vm3 does not see the pings of the others');

  const key = await portKey(bed, vm2);
  await waitFor('the row', async () => (await row(bed, vm2.mac)) === key);
  const { stdout } = await network.controller.iovn('fdb', '--switch', 'sw0', '--json');
  const { entries } = JSON.parse(stdout) as { entries: { mac: string; port: string; node: string }[] };
  t.like(
    entries.find(({ mac }) => mac === vm2.mac),
    { port: 'vm2', node: 'hv1' },
  );
  t.is(await row(bed, vm1.mac), '', 'a configured port does not learn');

  const { stdout: status } = await network.controller.iovn('status', '--json');
  t.notRegex(status, /addresses unknown/);
});

test.serial('a move is followed: in the kernel, and in FDB', async (t) => {
  const bed = await openLearning(t);
  const { vm1, vm2, vm3 } = bed;
  t.is((await vm1.ping(vm2.address)).received, 1);
  const key2 = await portKey(bed, vm2);
  await waitFor('the row', async () => (await row(bed, vm2.mac)) === key2);

  await vm2.namespace.ip('link', 'set', 'eth0', 'down');
  await vm3.namespace.ip('link', 'set', 'eth0', 'address', vm2.mac);
  await vm3.changeAddress(`${vm2.address}/24`);
  t.is((await vm3.ping(vm1.address)).received, 1);
  t.is((await vm1.ping(vm2.address)).received, 1);
  const key3 = await portKey(bed, vm3);
  await waitFor('the row has moved', async () => (await row(bed, vm2.mac)) === key3);
  t.is(await agentMetric(bed, 'iovn_agent_fdb_moved_total'), 1);
});

test.serial('a row of somebody else is used, and its removal followed', async (t) => {
  const bed = await openLearning(t);
  const { network, vm1, vm2, vm3 } = bed;
  const foreign = '02:00:00:00:00:77';
  const target = '10.0.0.77';
  const neighbour = [target, 'lladdr', foreign, 'dev', 'eth0', 'nud', 'permanent'];
  await vm1.namespace.ip('neigh', 'add', ...neighbour);
  const pings = async (): Promise<readonly [number, number]> => {
    const before = [await sentTo(bed, vm2), await sentTo(bed, vm3)] as const;
    await vm1.ping(target, { count: 5, intervalMs: 10, timeoutMs: 100 });
    return [(await sentTo(bed, vm2)) - before[0], (await sentTo(bed, vm3)) - before[1]];
  };
  t.deepEqual(await pings(), [5, 5], 'flooded');

  const datapath = await network.central.sbctl('--bare', '--columns=tunnel_key', 'list', 'Datapath_Binding');
  const values = [`mac="${foreign}"`, `dp_key=${datapath}`, `port_key=${await portKey(bed, vm3)}`];
  const uuid = await network.central.sbctl('create', 'FDB', ...values);
  await network.sync();
  t.deepEqual(await pings(), [0, 5], 'to vm3 alone');

  await network.central.sbctl('destroy', 'FDB', uuid);
  await network.sync();
  t.deepEqual(await pings(), [5, 5], 'flooded again');
});

test.serial(
  'what is learnt survives the agent, and comes back to FDB when it was deleted there',
  async (t) => {
    const bed = await openLearning(t);
    const { network, vm1, vm2, vm3 } = bed;
    t.is((await vm1.ping(vm2.address)).received, 1);
    const key = await portKey(bed, vm2);
    await waitFor('the row', async () => (await row(bed, vm2.mac)) === key);

    await network.hypervisor.agent.kill();
    await network.hypervisor.startAgent();
    await waitFor(
      'the entry is found again',
      async () => (await agentMetric(bed, 'iovn_agent_fdb_entries')) >= 1,
    );
    const learned = await agentMetric(bed, 'iovn_agent_fdb_learned_total');
    const before = await sentTo(bed, vm3);
    t.is((await vm1.ping(vm2.address, { count: 10, intervalMs: 20 })).received, 10);
    t.true((await sentTo(bed, vm3)) - before <= 1, 'not flooded');
    t.is(
      await agentMetric(bed, 'iovn_agent_fdb_learned_total'),
      learned,
      'it did not have to be learnt again',
    );

    await network.central.sbctl('--all', 'destroy', 'FDB');
    await waitFor('the row is written again', async () => {
      await vm1.ping(vm2.address);
      return (await row(bed, vm2.mac)) === key;
    });
  },
);

test.serial('an agent that is stopped ends in time, events or not', async (t) => {
  const { network } = await openLearning(t);
  const startMs = performance.now();
  await network.hypervisor.agent.stop();
  t.true(performance.now() - startMs < 2000);
  t.is(network.hypervisor.agent.exitStatus, 0);
});
