import test, { type ExecutionContext } from 'ava';

import type { Hypervisor } from '../../testbed/hypervisor.js';
import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';
import type { Network } from '../support/network.js';
import { Capture } from '../support/traffic.js';
import { openTwo } from '../support/two-hypervisors.js';

//   vm1 ── hv1 ─ 192.0.2.11 ─┬─ underlay ─┬─ 192.0.2.12 ─ hv2 ── vm2
//              └ 192.0.2.111 ┘            └ 192.0.2.112 ┘
//
// The first of each is the default.

const first = { hv1: '192.0.2.11', hv2: '192.0.2.12' };
const second = { hv1: '192.0.2.111', hv2: '192.0.2.112' };

async function addAddress(hypervisor: Hypervisor, extra: string, usual: string): Promise<void> {
  await hypervisor.namespace.ip('addr', 'add', `${extra}/24`, 'dev', 'eth0');
  await hypervisor.configure({ 'ovn-encap-ip': `${extra},${usual},nowhere`, 'ovn-encap-ip-default': usual });
}

async function openBoth(t: ExecutionContext) {
  const two = await openTwo(t);
  const { network, hv1, hv2 } = two;
  await addAddress(hv1, second.hv1, first.hv1);
  await addAddress(hv2, second.hv2, first.hv2);
  const encaps = async () =>
    (await network.central.sbctl('--bare', '--columns=ip', 'list', 'Encap')).split(/\s+/);
  await waitFor('all addresses are in SB', async () => (await encaps()).length === 4);
  return two;
}

/** The outer addresses of what goes from one VM to another and back, each way as `SOURCE > DESTINATION`. */
async function ways(network: Network, at: Hypervisor, from: Vm, to: Vm): Promise<readonly string[]> {
  const capture = await Capture.start(network.bed, at.namespace, 'eth0', 'udp', 'port', '6081');
  await from.canReach(to.address);
  const seen = (await capture.stop()).map((frame) => {
    const [source, destination] = [26, 30].map((offset) => frame.subarray(offset, offset + 4).join('.'));
    return `${source ?? ''} > ${destination ?? ''}`;
  });
  return [...new Set(seen)].sort();
}

async function setEncapIp(hypervisor: Hypervisor, vm: Vm, ip: string): Promise<void> {
  await hypervisor.vsctl('set', 'Interface', vm.tap, `external_ids:encap-ip=${ip}`);
}

/** The address of the port's Port_Binding.encap; '' when it has none. */
async function encapOf({ central }: Network, port: string): Promise<string> {
  const uuid = await central.sbctl(
    '--bare',
    '--columns=encap',
    'find',
    'Port_Binding',
    `logical_port=${port}`,
  );
  return uuid === '' ? '' : central.sbctl('--bare', '--columns=ip', 'list', 'Encap', uuid);
}

test.serial('ports use the tunnel addresses that their encap-ip says, and follow it', async (t) => {
  const { network, hv1, hv2, vm1, vm2 } = await openBoth(t);
  const { central } = network;
  const expectWays = async (what: string, source: string, destination: string): Promise<void> => {
    const expected = [`${source} > ${destination}`, `${destination} > ${source}`].sort();
    await waitFor(what, async () => (await ways(network, hv1, vm1, vm2)).join() === expected.join());
  };
  const defaults = await central.sbctl('--bare', '--columns=ip', 'find', 'Encap', 'options:is_default=true');
  t.deepEqual(defaults.split(/\s+/).sort(), [first.hv1, first.hv2]);
  t.is(await encapOf(network, 'vm2'), '');
  await expectWays('the default addresses are used', first.hv1, first.hv2);

  await setEncapIp(hv2, vm2, second.hv2);
  await waitFor('vm2 has an encap', async () => (await encapOf(network, 'vm2')) === second.hv2);
  await expectWays('vm2 is reached at its address, and sends from it', first.hv1, second.hv2);

  await setEncapIp(hv1, vm1, second.hv1);
  await waitFor('vm1 has an encap', async () => (await encapOf(network, 'vm1')) === second.hv1);
  await expectWays('so is vm1', second.hv1, second.hv2);

  await hv2.vsctl('remove', 'Interface', vm2.tap, 'external_ids', 'encap-ip');
  await waitFor('vm2 has no encap', async () => (await encapOf(network, 'vm2')) === '');
  await expectWays('vm2 is back at the default address', second.hv1, first.hv2);

  await setEncapIp(hv1, vm1, '198.51.100.9');
  await waitFor(
    'an address that hv1 does not have is none',
    async () => (await encapOf(network, 'vm1')) === '',
  );
  t.regex(
    (await network.controller.iovn('ports')).stdout,
    /encap-ip 198\.51\.100\.9 is not one of hv1's tunnel addresses/,
  );
  await expectWays('vm1 is back at the default address', first.hv1, first.hv2);
});

test.serial('a broadcast goes to each hypervisor once, whatever addresses its ports ask for', async (t) => {
  const { network, hv2, vm1, vm2 } = await openBoth(t);
  const vm3 = await network.plugVm(3, hv2);
  await setEncapIp(hv2, vm2, second.hv2);
  await waitFor('vm2 has an encap', async () => (await encapOf(network, 'vm2')) === second.hv2);
  await network.sync();
  await vm1.canReach(vm2.address);
  await vm1.canReach(vm3.address);
  const received = await Capture.start(
    network.bed,
    vm2.namespace,
    'eth0',
    'icmp',
    'and',
    'dst',
    '10.0.0.255',
  );
  await vm1.namespace.run(['ping', '-b', '-n', '-c', '1', '-W', '1', '10.0.0.255']);
  t.is((await received.stop()).length, 1);
});
