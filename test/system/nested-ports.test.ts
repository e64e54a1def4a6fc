import test from 'ava';

import { Capture, sendFrames } from '../../testbed/frames.js';
import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import { type Network, openPair } from '../support/network.js';
import { broadcast, ethernet, icmp, ipv4, tagged } from '../support/packets.js';

//   vm1 ── tap-vm1 ── sw0        c1: tag 42 behind vm1 ┐
//   vm2 ── tap-vm2 ── sw0        c2: tag 43 behind vm1 ├ sw1
//                                c3: tag 42 behind vm2 ┘

interface Nested {
  readonly name: string;
  readonly parent: string;
  readonly tag: number;
  readonly mac: string;
  readonly ip: string;
}

function nested(number: 1 | 2 | 3, parent: string, tag: number): Nested {
  return { name: `c${number}`, parent, tag, mac: `02:00:00:00:01:0${number}`, ip: `10.1.0.${number}` };
}

const c1 = nested(1, 'vm1', 42);
const c2 = nested(2, 'vm1', 43);
const c3 = nested(3, 'vm2', 42);

async function addNested(network: Network, ports: readonly Nested[]): Promise<void> {
  for (const { name, parent, tag, mac, ip } of ports) {
    await network.central.nbctl(
      ...['--may-exist', 'ls-add', 'sw1', '--', 'lsp-add', 'sw1', name, parent, String(tag)],
      ...['--', 'lsp-set-addresses', name, `${mac} ${ip}`],
      ...['--', 'lsp-set-port-security', name, `${mac} ${ip}`],
    );
  }
}

function frame(from: Nested, to: { readonly mac: string; readonly ip: string }): Uint8Array {
  const addresses = { source: from.mac, destination: to.mac };
  return ethernet(addresses, ipv4({ source: from.ip, destination: to.ip }, icmp(Uint8Array.of(from.tag))));
}

function send(vm: Vm, ...frames: readonly Uint8Array[]): Promise<void> {
  return sendFrames(vm.namespace, 'eth0', frames);
}

async function chassisOf(network: Network, port: string): Promise<string> {
  return network.central.sbctl('--bare', '--columns=chassis', 'find', 'Port_Binding', `logical_port=${port}`);
}

test.serial('nested ports are found by their tag, behind one tap and between two', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  await addNested(network, [c1, c2, c3]);
  await network.sync();
  for (const { name } of [c1, c2, c3]) {
    t.is(
      await network.central.nbctl('get', 'Logical_Switch_Port', name, 'up'),
      'true',
      `${name} after the sync`,
    );
  }
  const at1 = await Capture.start(network.bed, vm1.namespace, 'eth0');
  const at2 = await Capture.start(network.bed, vm2.namespace, 'eth0');

  await send(vm1, tagged(frame(c1, c3), { tci: 0xa02a }), tagged(frame(c1, c2), { tci: 42 }));
  await at2.waitForFrame(tagged(frame(c1, c3), { tci: 42 }));
  await at1.waitForFrame(tagged(frame(c1, c2), { tci: 43 }));

  const all = { mac: broadcast, ip: '10.1.0.255' };
  await send(vm1, tagged(frame(c2, all), { tci: 43 }));
  await at1.waitForFrame(tagged(frame(c2, all), { tci: 42 }));
  await at2.waitForFrame(tagged(frame(c2, all), { tci: 42 }));

  const spoofed = frame({ ...c1, ip: '10.1.0.99' }, c3);
  const foreign = frame(c1, { mac: vm2.mac, ip: vm2.address });
  await send(
    vm1,
    tagged(spoofed, { tci: 42 }),
    tagged(foreign, { tci: 99 }),
    tagged(frame(c1, c3), { tci: 42 }),
  );
  await waitFor('the last one has arrived', () => at2.frames().length >= 3);
  t.is(at2.frames().length, 3, 'a spoofed address and a tag that nobody has are dropped');
  t.is(at1.frames().length, 2);
  t.is((await vm1.ping(vm2.address)).received, 1, 'the parents talk without a tag');
});

test.serial('a nested port follows its parent', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  await addNested(network, [c1, c3]);
  await network.sync();
  const bound = await chassisOf(network, 'vm1');
  t.is(await chassisOf(network, 'c1'), bound);

  await network.hypervisor.unplug(vm1.tap);
  await network.waitUp('c1', false);
  t.is(await chassisOf(network, 'c1'), '');
  t.is(await chassisOf(network, 'c3'), bound, "the other parent's stays");

  await network.hypervisor.plug(vm1.tap, 'vm1');
  await network.sync();
  t.is(await network.central.nbctl('get', 'Logical_Switch_Port', 'c1', 'up'), 'true');

  const at2 = await Capture.start(network.bed, vm2.namespace, 'eth0');
  await network.central.nbctl('--wait=hv', 'set', 'Logical_Switch_Port', 'c3', 'tag_request=77');
  await send(vm1, tagged(frame(c1, c3), { tci: 42 }));
  await at2.waitForFrame(tagged(frame(c1, c3), { tci: 77 }));

  await network.central.nbctl('--wait=hv', 'lsp-del', 'c3');
  t.is(await chassisOf(network, 'c3'), '');
  await addNested(network, [{ ...c3, parent: 'vm1', tag: 43 }]);
  await network.sync();
  const at1 = await Capture.start(network.bed, vm1.namespace, 'eth0');
  await send(vm1, tagged(frame(c1, c3), { tci: 42 }));
  await at1.waitForFrame(tagged(frame(c1, c3), { tci: 43 }));
});

test.serial(
  'two nested ports with one tag: the first by name has it, of the other it is said, and nothing waits',
  async (t) => {
    const { network } = await openPair(t);
    await addNested(network, [c1, { ...c2, tag: c1.tag }]);
    await network.sync();
    t.is(await network.central.nbctl('get', 'Logical_Switch_Port', 'c1', 'up'), 'true');
    t.is(await network.central.nbctl('get', 'Logical_Switch_Port', 'c2', 'up'), 'false');
    await network.central.nbctl('--wait=hv', 'lsp-del', 'c1');
    await network.waitUp('c2');
  },
);

test.serial('a broadcast reaches plain and nested ports each in its way, tagged itself or not', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const { central } = network;
  await central.nbctl('lsp-add', 'sw0', 'c4', 'vm1', '44', '--', 'lsp-set-addresses', 'c4', 'unknown');
  await network.sync();
  const [vm3] = await network.plugVms(3);
  if (vm3 === undefined) throw new Error('one VM was asked for');
  for (const vm of [vm1, vm2, vm3]) await central.nbctl('lsp-set-port-security', vm.name);
  await central.nbctl('--wait=hv', 'set', 'Logical_Switch', 'sw0', 'other_config:vlan-passthru=true');
  const at1 = await Capture.start(network.bed, vm1.namespace, 'eth0');
  const at3 = await Capture.start(network.bed, vm3.namespace, 'eth0');

  const plain = frame({ ...c1, mac: vm2.mac }, { mac: broadcast, ip: '10.0.0.255' });
  const stacks = [[], [{ tci: 5 }], [{ etherType: 0x88a8, tci: 5 }, { tci: 6 }]];
  for (const stack of stacks) {
    await send(vm2, tagged(plain, ...stack));
    await at1.waitForFrame(tagged(plain, ...stack));
    await at1.waitForFrame(tagged(plain, { tci: 44 }, ...stack));
    await at3.waitForFrame(tagged(plain, ...stack));
  }
  t.is(at1.frames().length, 6);
  t.is(at3.frames().length, 3);
});
