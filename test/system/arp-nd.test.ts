import test from 'ava';

import type { Vm } from '../../testbed/vm.js';
import { openPair } from '../support/network.js';

/** The machine knows its peer by heart, and neither asks nor answers any more. */
async function stopResolving(vm: Vm, peerMac: string, ...peers: readonly string[]): Promise<void> {
  await vm.namespace.ip('link', 'set', 'eth0', 'arp', 'off');
  for (const peer of peers) {
    await vm.namespace.ip('neigh', 'replace', peer, 'lladdr', peerMac, 'dev', 'eth0', 'nud', 'permanent');
  }
}

//   vm1 asks who has vm2's address; the switch answers, and vm2 never sees the question.

test.serial('the switch answers ARP and neighbour solicitations for addresses that OVN knows', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  const ip6 = { vm1: 'fd00::1', vm2: 'fd00::2' };
  for (const vm of [vm1, vm2]) {
    await vm.namespace.runOk(['sysctl', '-qw', 'net.ipv6.conf.eth0.disable_ipv6=0']);
    const entry = `${vm.mac} ${vm.address} ${vm === vm1 ? ip6.vm1 : ip6.vm2}`;
    await network.central.nbctl('lsp-set-addresses', vm.name, entry);
    await network.central.nbctl('lsp-set-port-security', vm.name, entry);
    await vm.namespace.ip('addr', 'add', `${vm === vm1 ? ip6.vm1 : ip6.vm2}/64`, 'dev', 'eth0', 'nodad');
  }
  await network.sync();
  await stopResolving(vm2, vm1.mac, vm1.address, ip6.vm1);

  t.is(
    (await vm1.ping(vm2.address, { count: 2 })).received,
    2,
    'vm2 does no ARP, so the switch has answered',
  );
  t.is((await vm1.ping(ip6.vm2, { count: 2 })).received, 2);
  const neighbours = await vm1.namespace.runOk(['ip', 'neigh', 'show', 'dev', 'eth0']);
  t.regex(neighbours, new RegExp(`^${vm2.address.replaceAll('.', '\\.')} lladdr ${vm2.mac} `, 'm'));
  t.regex(neighbours, new RegExp(`^${ip6.vm2} lladdr ${vm2.mac} `, 'm'));
});

test.serial('it does not answer for a port that takes unknown addresses', async (t) => {
  const { network, vm1, vm2 } = await openPair(t);
  await stopResolving(vm2, vm1.mac, vm1.address);
  await network.central.nbctl('lsp-set-addresses', 'vm2', `${vm2.mac} ${vm2.address}`, 'unknown');
  await network.sync();
  t.is((await vm1.ping(vm2.address)).received, 0, 'vm2 does no ARP, and nobody does it for it');

  await network.central.nbctl('lsp-set-addresses', 'vm2', `${vm2.mac} ${vm2.address}`);
  await network.sync();
  await t.notThrowsAsync(vm1.canReach(vm2.address));
});
