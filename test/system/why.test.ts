import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';

import test from 'ava';

import { executable } from '../../testbed/controller.js';
import type { Hypervisor } from '../../testbed/hypervisor.js';
import { type CommandResult, run, runOk } from '../../testbed/process.js';
import { waitFor } from '../../testbed/wait.js';
import { type Network, openPair } from '../support/network.js';

/** `iovn` that asks the agent, as an operator of the hypervisor types it. */
function iovnOnNode({ stateFolder }: Hypervisor, ...args: string[]): Promise<CommandResult> {
  return run([executable('iovn'), '--state-dir', stateFolder, ...args]);
}

/** The files of a bundle, without the folder that all are in. */
async function filesOf(bundle: string): Promise<readonly string[]> {
  const names = (await runOk(['tar', '-tzf', bundle])).split('\n');
  return names.map((name) => name.replace(/^[^/]*\//, '')).filter((name) => /[^/]$/.test(name));
}

/** A follower that runs until the test is over; `log()` is what it has printed. */
function follower({ bed, central }: Network, name: string, ...args: string[]) {
  const command = central.namespace.command([executable('iovn'), '--insecure', ...args]);
  const daemon = bed.daemon({ name, command });
  daemon.start();
  return daemon;
}

interface ShownDrop {
  readonly port: string;
  readonly reason: string;
  readonly packets: number;
  readonly row_uuid: string;
  readonly row_column: string;
  readonly packet: string;
}

test.serial('a VM with a wrong address: what is dropped, by which row, and as it happens', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const { central, controller, hypervisor } = network;
  t.is((await vm1.ping(vm2.address)).received, 1);
  t.is((await controller.iovn('drops', '--port', 'vm2')).stdout, 'nothing was dropped\n');
  const followed = follower(network, 'drops', 'drops', '--follow', '--port', 'vm2');
  const monitored = follower(network, 'monitor', 'monitor', '--type', 'drop,link,intent', '--json');

  await vm2.changeAddress('10.0.0.99/24');
  await waitFor('a drop is shown as it happens', async () => {
    await vm2.ping(vm1.address);
    return followed.log().includes('port_security_arp: ') && monitored.log().includes('"port_security_arp"');
  });
  t.regex(
    followed.log(),
    /hv1 drop vm2@\S+ port_security_arp: 02:00:00:00:00:02 > ff:ff:ff:ff:ff:ff, ARP who-has 10\.0\.0\.1 tell 10\.0\.0\.99/,
  );
  const { stdout } = await controller.iovn('drops', '--port', 'vm2', '--json');
  const [of] = JSON.parse(stdout) as { drops: ShownDrop[] }[];
  const drop = of?.drops.find(({ reason }) => reason === 'port_security_arp');
  t.like(drop, {
    port: 'vm2',
    row_table: 'Logical_Switch_Port',
    row_name: 'vm2',
    row_column: 'port_security',
    row_uuid: await central.nbctl('get', 'Logical_Switch_Port', 'vm2', '_uuid'),
    direction: 'from port',
  });
  t.true((drop?.packets ?? 0) > 0);

  const why = await controller.iovn('why', 'vm2');
  t.is(why.status, 0, why.stderr);
  t.regex(why.stdout, /^Port +vm2 of switch sw0$/m);
  t.regex(why.stdout, /^Bound +to hv1, whose agent is connected for \d+ s$/m);
  t.regex(why.stdout, /^Programmed +yes: slot \d, hook (tcx|clsact)$/m);
  t.regex(
    why.stdout,
    new RegExp(
      `port_security_arp .*Logical_Switch_Port vm2 ${drop?.row_uuid ?? '-'} port_security "02:00:00:00:00:02 10.0.0.2"$`,
      'm',
    ),
  );
  t.regex(why.stdout, /last: .*ARP who-has 10\.0\.0\.1 tell 10\.0\.0\.99/);
  t.regex(why.stdout, /ovn-nbctl lsp-set-port-security vm2/);
  const similar = await controller.iovn('why', 'vm22');
  t.deepEqual(
    [similar.status, similar.stderr],
    [1, "iovn: there is no logical port 'vm22'; did you mean 'vm2'?\n"],
  );

  await central.nbctl('--wait=hv', 'lsp-set-enabled', 'vm1', 'disabled');
  await waitFor('new intent is shown', () => monitored.log().includes('"intent"'));
  await runOk(['ip', '-n', hypervisor.namespace.name, 'link', 'set', vm1.tap, 'down']);
  await waitFor('the link is shown', () => /"link".*"vm1"/.test(monitored.log()));
});

test.serial(
  'what is in the kernel is verified, and said by the agent alone when no controller is left',
  async (t) => {
    const { network } = await openPair(t);
    const { controller, hypervisor } = network;
    const clean = await controller.iovn('verify');
    t.is(clean.status, 0);
    t.regex(clean.stdout, /^hv1: \d+ compared, 0 differ/);

    const generation = readdirSync(hypervisor.bpffs).find((name) => /^[0-9a-f]{16}$/.test(name)) ?? '';
    const pinned = path.join(hypervisor.bpffs, generation, 'maps', 'destinations');
    const [entry] = JSON.parse(await runOk(['bpftool', '-j', 'map', 'dump', 'pinned', pinned])) as {
      key: string[];
    }[];
    /* The agent repairs it every few seconds. */
    const found = await waitFor('the difference is found', async () => {
      await run(['bpftool', 'map', 'delete', 'pinned', pinned, 'key', ...(entry?.key ?? [])]);
      const verified = await controller.iovn('verify');
      return verified.status === 1 && verified;
    });
    t.regex(found.stdout, /hv1 +missing +destinations +\{"datapathKey":\d+,"mac":"02:.*Port vm[12]/);
    await waitFor('it is repaired', async () => (await controller.iovn('verify')).status === 0);

    await controller.daemon.stop();
    t.is((await controller.iovn('drops')).status, 1);
    const mapping = await iovnOnNode(hypervisor, 'mapping', 'vm1');
    t.is(mapping.status, 0, mapping.stderr);
    t.regex(mapping.stdout, /vm1 +sw0 +hv1 +\S+ +(tcx|clsact) +\d+ +\d+\/\d+ +l2-switch: ports/);
    t.is((await iovnOnNode(hypervisor, 'verify')).status, 0);
    const bundle = path.join(hypervisor.stateFolder, 'own.tar.gz');
    const made = await iovnOnNode(hypervisor, 'support-bundle', '-o', bundle);
    t.deepEqual([made.status, made.stderr], [0, '']);
    t.true((await filesOf(bundle)).includes('nodes/this-node/tables/ports.jsonl'));
    t.regex((await iovnOnNode(hypervisor, 'why', 'vm1')).stdout, /^ +- hv1 has no controller \(\S+\)/m);
    const modules = await iovnOnNode(hypervisor, 'modules', '--json');
    const [own] = JSON.parse(modules.stdout) as {
      programs: { name: string; verified_instructions: number; interfaces: string[] }[];
    }[];
    const vif = own?.programs.find(({ name }) => name === 'vif_ingress');
    t.true((vif?.verified_instructions ?? 0) > 1000);
    t.is(vif?.interfaces.length, 2);
    const dump = await iovnOnNode(hypervisor, 'tables', 'dump', 'ports_by_interface');
    t.regex(dump.stdout, /^\{"ifindex":\d+,"vlanId":0\} \{"slot":\d\}$/m);
    const unknown = await iovnOnNode(hypervisor, 'mapping', 'vm11');
    t.deepEqual(
      [unknown.status, unknown.stderr],
      [1, "iovn: no node has a port 'vm11'; did you mean 'vm1'?\n"],
    );
    const refused = await iovnOnNode(hypervisor, 'status');
    t.deepEqual(
      [refused.status, refused.stderr],
      [2, 'iovn: only a controller can answer this: leave --agent and --state-dir away\n'],
    );
  },
);

test.serial('the log says more when it is told to, and a node that is gone says since when', async (t) => {
  const { network } = await openPair(t);
  const { controller, hypervisor } = network;
  t.regex((await controller.iovn('log-level')).stdout, /^controller +- +debug\nagent +hv1 +info$/m);
  const own = await controller.iovn('log-level', 'info', '--controller-only');
  t.deepEqual([own.status, own.stdout.includes('agent')], [0, false]);
  t.regex((await controller.iovn('log-level', 'debug')).stdout, /^controller +- +debug\nagent +hv1 +debug$/m);
  const monitored = follower(network, 'monitor', 'monitor', '--type', 'intent,applied', '--port', 'vm3');
  const [vm3] = await network.plugVms(3);
  let changes = 0;
  /* Again and again, as nobody says when the follower has begun to hear. */
  await waitFor('new intent of a port is shown', async () => {
    changes += 1;
    const addresses = `${vm3?.mac ?? ''} 10.0.0.3 10.0.1.${changes}`;
    await network.central.nbctl('lsp-set-addresses', 'vm3', addresses);
    return /\bhv1 +intent +vm3 +update \d+ changes it/.test(monitored.log());
  });
  const shown = await controller.iovn('switch', 'show', 'sw0');
  t.regex(shown.stdout, /^Ports +3, 3 of them up$/m);
  t.regex(shown.stdout, /flood: broadcast and multicast +32768 +3 +vm1 vm2 vm3$/m);
  const bundle = path.join(hypervisor.stateFolder, 'bundle.tar.gz');
  const made = await controller.iovn('support-bundle', '-o', bundle);
  t.deepEqual([made.status, made.stderr], [0, '']);
  t.is(statSync(bundle).mode & 0o777, 0o600);
  const files = await filesOf(bundle);
  for (const name of [
    'status.json',
    'switches.json',
    'about.json',
    'settings.json',
    'log.jsonl',
    'metrics.txt',
  ])
    t.true(files.includes(`controller/${name}`), name);
  for (const name of [
    'ports.json',
    'drops.json',
    'verify.json',
    'modules.json',
    'kernel.json',
    'log.jsonl',
    'metrics.txt',
  ])
    t.true(files.includes(`nodes/hv1/${name}`), name);
  for (const map of ['ports', 'destinations', 'tunnels', 'fdb', 'activations', 'port_counters', 'drops'])
    t.true(files.includes(`nodes/hv1/tables/${map}.jsonl`), map);
  await waitFor('a message of level debug', () => hypervisor.agent.log().includes('"level":"debug"'));
  const top = await controller.iovn('top', '--once', '--json');
  t.deepEqual((JSON.parse(top.stdout) as { port: string }[]).map(({ port }) => port).sort(), [
    'vm1',
    'vm2',
    'vm3',
  ]);

  await hypervisor.agent.kill();
  const gone = await waitFor('the controller knows', async () => {
    const asked = await controller.iovn('drops');
    return asked.stderr.includes('not connected') && asked;
  });
  t.is(gone.status, 3);
  t.regex(gone.stderr, /^iovn: node hv1: its agent is not connected since 20\d\d-\S+Z\n$/);
});
