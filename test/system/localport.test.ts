import test from 'ava';

import { Hypervisor } from '../../testbed/hypervisor.js';
import { Vm } from '../../testbed/vm.js';
import { openPair } from '../support/network.js';

const address = '10.0.0.100';
const mac = '02:00:00:00:00:64';

//   hv1: vm1, vm2, meta1 ┐
//   hv2: meta2           ├ sw0: vm1, vm2, meta (localport)
//   then vm9 on hv2      ┘

test.serial(
  'a localport is on every node that has its interface and its switch, and bound to none',
  async (t) => {
    const { network, vm1 } = await openPair(t);
    const { bed, central, hypervisor } = network;
    const other = await Hypervisor.create(bed, central, { name: 'hv2', index: 2 });
    await other.startAgent();
    await central.nbctl('lsp-add', 'sw0', 'meta', '--', 'lsp-set-type', 'meta', 'localport');
    await central.nbctl('lsp-set-addresses', 'meta', `${mac} ${address}`);
    const meta1 = await Vm.create(bed, hypervisor, { name: 'meta1', mac, ip: `${address}/24` });
    const meta2 = await Vm.create(bed, other, { name: 'meta2', mac, ip: `${address}/24` });
    await hypervisor.plug(meta1.tap, 'meta');
    await other.plug(meta2.tap, 'meta');
    await network.sync();

    t.is((await vm1.ping(address)).received, 1);
    t.is(await central.sbctl('--bare', '--columns=chassis', 'find', 'Port_Binding', 'logical_port=meta'), '');
    t.is(await hypervisor.interfaceColumn(meta1.tap, 'external_ids:ovn-installed'), '"true"');
    const ids = await other.interfaceColumn(meta2.tap, 'external_ids');
    t.false(ids.includes('ovn-installed'), 'it does not bring its switch along');

    const vm9 = await Vm.create(bed, other, { name: 'vm9', mac: '02:00:00:00:00:09', ip: '10.0.0.9/24' });
    await network.addPort(vm9);
    await other.plug(vm9.tap, 'vm9');
    await network.sync();
    t.is((await vm9.ping(address)).received, 1, 'its own one, as nodes are not connected');
    t.is((await vm1.ping(address)).received, 1);
    t.is(await other.interfaceColumn(meta2.tap, 'external_ids:ovn-installed'), '"true"');
  },
);
