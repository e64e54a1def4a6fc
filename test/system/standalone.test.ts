import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { packageRoot } from '../../common/package-root.js';
import { executable } from '../../testbed/controller.js';
import { Capture } from '../../testbed/frames.js';
import type { NetworkNamespace } from '../../testbed/namespace.js';
import { PhysicalNetwork } from '../../testbed/physical-network.js';
import { type Daemon, run } from '../../testbed/process.js';
import type { Testbed } from '../../testbed/testbed.js';
import { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { openTestbed } from '../support/network.js';

/** A machine with taps and an agent that has a copy of an example, and neither OVN nor a database. */
class Machine {
  readonly bed: Testbed;
  readonly namespace: NetworkNamespace;
  readonly file: string;
  readonly command: readonly string[];
  readonly agent: Daemon;
  readonly #stateDir: string;

  private constructor(bed: Testbed, namespace: NetworkNamespace, example: string) {
    this.bed = bed;
    this.namespace = namespace;
    this.file = bed.file('network.yaml');
    this.#stateDir = bed.file('state');
    copyFileSync(path.join(packageRoot, 'docs', 'examples', example), this.file);
    const places = ['--state-dir', this.#stateDir, '--bpffs', bed.bpffs('machine')];
    const flags = ['--standalone', this.file, '--metrics', '127.0.0.1:9651', ...places];
    this.command = namespace.command([executable('iovn-agent'), ...flags]);
    this.agent = bed.daemon({ name: 'agent', command: this.command });
  }

  static async create(t: ExecutionContext, example: string): Promise<Machine> {
    const bed = await openTestbed(t);
    return new Machine(bed, await bed.namespace('machine'), example);
  }

  /** A VM behind the interface `tap<index>`. */
  async addVm(index: number): Promise<Vm> {
    const { bed, namespace } = this;
    const nothing = (): Promise<void> => Promise.resolve();
    const host = { name: 'machine', namespace, plug: nothing, unplug: nothing };
    const mac = `02:00:00:00:00:0${index}`;
    const vm = await Vm.create(bed, host, { name: `vm${index}`, mac, ip: `10.0.0.${index}/24` });
    await namespace.ip('link', 'set', vm.tap, 'down');
    await namespace.ip('link', 'set', vm.tap, 'name', `tap${index}`);
    await namespace.ip('link', 'set', `tap${index}`, 'up');
    return vm;
  }

  async start(): Promise<void> {
    this.agent.start();
    await this.isHealthy(true);
  }

  async isHealthy(wanted: boolean): Promise<void> {
    await waitFor(`the agent is ${wanted ? 'healthy' : 'not healthy'}`, async () => {
      const { status } = await this.namespace.get('http://127.0.0.1:9651/healthz');
      return (status === 200) === wanted;
    });
  }

  edit(change: (text: string) => string): void {
    writeFileSync(this.file, change(readFileSync(this.file, 'utf8')));
  }

  async iovn(...args: string[]): Promise<string> {
    const socket = path.join(this.#stateDir, 'agent.sock');
    const { stdout, stderr } = await run([executable('iovn'), '--agent', socket, ...args]);
    return stdout + stderr;
  }
}

test.serial('a file is a network: in force, edited, faulty, restarted, taken out', async (t) => {
  const machine = await Machine.create(t, 'two-ports.yaml');
  const vm1 = await machine.addVm(1);
  const vm2 = await machine.addVm(2);
  await machine.start();
  await vm1.canReach(vm2.address);

  await vm2.changeAddress('10.0.0.22/24');
  t.is((await vm2.ping(vm1.address)).received, 0, 'port security');
  t.regex(await machine.iovn('drops'), /vm2 .*port_security_arp/);
  const kept = readFileSync(machine.file, 'utf8');
  machine.edit((text) => text.replace(/ +port_security: .*02:00:00:00:00:02.*\n?/, ''));
  await vm2.canReach(vm1.address);

  const ping = vm2.startPing(vm1.address, 20);
  await ping.more(5);
  machine.edit((text) => text.replace('interface: tap1', 'interfaces: tap1'));
  await machine.isHealthy(false);
  t.regex(await machine.iovn('why', 'vm1'), /network\.yaml:5: .*unknown key 'interfaces'/);
  await ping.more(5);
  machine.edit((text) => text.replace('interfaces: tap1', 'interface: tap1'));
  await machine.isHealthy(true);
  await machine.agent.kill();
  await ping.more(5);
  await machine.start();
  await ping.more(5);
  const { sent, received } = await ping.stop();
  t.is(received, sent);

  writeFileSync(machine.file, kept);
  await waitFor('port security is back', async () => (await vm2.ping(vm1.address)).received === 0);
  const { status, stderr } = await run([...machine.command, '--decommission']);
  t.is(status, 0, stderr);
  const filters = await machine.namespace.runOk(['bpftool', 'net', 'show']);
  t.notRegex(filters, /vif_ingress/);
});

test.serial('a port of the world outside, and one that takes all MACs', async (t) => {
  const machine = await Machine.create(t, 'outside.yaml');
  const lan = await PhysicalNetwork.create(machine.bed);
  await lan.connect(machine.namespace, 'eth1');
  const outside = await lan.addHost('outside', '10.0.0.200/24');
  const vm1 = await machine.addVm(1);
  const bridge = await machine.addVm(3);
  const capture = await Capture.start(machine.bed, outside.namespace, 'eth0');
  await machine.start();
  await vm1.canReach(bridge.address);
  await vm1.ping(outside.address);
  const asked = (): boolean =>
    capture.frames().some((frame) => Buffer.from(frame).readUInt32BE(12) === 0x81000064);
  await t.notThrowsAsync(waitFor("the VM's broadcast is outside, on VLAN 100", asked));
});

test.serial('wrong uses are refused', async (t) => {
  const machine = await Machine.create(t, 'two-ports.yaml');
  const both = await run([...machine.command, '--controller', '127.0.0.1:1']);
  t.is(both.status, 2);
  t.regex(both.stderr, /--standalone is for an agent without --controller/);
  machine.edit(() => 'switches: 1');
  const faulty = await run([...machine.command]);
  t.is(faulty.status, 2);
  t.regex(faulty.stderr, /network\.yaml:1: switches: must be array/);
});
