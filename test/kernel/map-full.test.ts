import test from 'ava';

import { KernelApplier } from '../../agent/kernel-applier.js';
import type { TableName } from '../../agent/data-plane.js';
import { applyUpdate } from '../../agent/intent.js';
import type { VifInterface } from '../../agent/vswitch/interfaces.js';
import { silentLogger } from '../../common/log.js';
import { macBytes } from '../../common/addresses.js';
import { verdicts } from '../bpf/harness.js';
import { makeLink } from '../agent/support/fake-devices.js';
import {
  chassisName,
  makeIntent,
  makeUpdate,
  portResource,
  portSecurityEntry,
  switchResource,
} from '../agent/support/intents.js';
import { broadcast, ethernet, icmp, ip, ipv4, mac } from '../support/packets.js';
import { createDevice, enterPrivateNamespaces } from '../support/private-namespace.js';
import { makeBpffsDir, open } from './support.js';
import { noUnderlay } from '../agent/support/fake-devices.js';

enterPrivateNamespaces();

let devices = 0;

function plug(number: number): VifInterface {
  const name = `full${(devices += 1)}`;
  const device = makeLink(name, createDevice(name), { kind: 'veth' });
  return { name, ifaceId: `lp${number}`, ifaceIdVer: '', encapIp: '', device, error: undefined };
}

/** A port with an entry in each table; its prefix is the network of the first, that of its number otherwise. */
function port(number: number) {
  const address = `02:00:00:00:00:0${number}`;
  return portResource(`lp${number}`, number, {
    macs: [Buffer.from(macBytes(mac(address)))],
    port_security: [portSecurityEntry(`${address} 10.0.0.${number} 10.${number}.0.0/16`)],
    neighbours: [{ address: Buffer.from(ip(`10.0.0.${number}`)), mac: Buffer.from(macBytes(mac(address))) }],
  });
}

function flood(from: number): Uint8Array {
  return ethernet(
    { source: `02:00:00:00:00:0${from}`, destination: broadcast },
    ipv4({ source: `10.0.0.${from}`, destination: '10.0.0.255' }, icmp()),
  );
}

/** Room for two ports, and what a third one has too little. */
const sizes: readonly (readonly [TableName, number])[] = [
  ['ports', 3],
  ['destinations', 2],
  ['neighbours', 2],
  ['multicast_members', 3],
  ['allowed_macs', 2],
  ['allowed_addresses', 2],
  ['allowed_prefixes', 2],
];

for (const [table, size] of sizes) {
  test(`${table} full in the kernel: the third port is reported, two go on, and it comes when one goes`, (t) => {
    const plane = open(t, {
      bpffsDir: makeBpffsDir(),
      ...(table === 'ports' ? { maxPorts: size } : { mapSizes: { [table]: size } }),
    });
    const applier = new KernelApplier(plane, silentLogger);
    const interfaces = [1, 2, 3].map(plug);
    const both = makeIntent(switchResource('sw0', 1), port(1), port(2));
    const third = applyUpdate(both, makeUpdate([port(3)], { snapshot: false }));
    const roundsOf = (intent: typeof both) => {
      for (let rounds = 1; ; rounds++) {
        const { state, again } = applier.apply(
          intent,
          interfaces,
          { name: chassisName, encaps: [] },
          noUnderlay,
        );
        if (!again) return state;
        t.true(rounds < 5, 'it comes to an end');
      }
    };
    t.deepEqual(roundsOf(both).problems, []);
    const full = roundsOf(third);
    t.deepEqual(
      full.problems.map(({ kind, name, code }) => [kind, name, code]),
      [['Port', 'lp3', 'map_full']],
    );
    t.deepEqual([...full.installed.values()].map(({ port: { name } }) => name).sort(), ['lp1', 'lp2']);
    t.deepEqual([...applier.refusals.full], [table]);
    t.is(plane.readTable(table).size, table === 'ports' ? size - 1 : size);

    /* The others reach each other still, by unicast and by broadcast. */
    const slotOf = (name: string) => applier.plugged.find((each) => each.port.name === name)?.slot ?? -1;
    const ifindex = interfaces[0]?.device?.ifindex ?? 0;
    plane.testRun(flood(1), { ifindex });
    const unicast = ethernet(
      { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
      ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }, icmp()),
    );
    t.is(plane.testRun(unicast, { ifindex }).verdict, verdicts.redirect);
    t.is(plane.readCounters([slotOf('lp2')]).get(slotOf('lp2'))?.sentPackets, 2n);
    const { drops = [] } = plane.readCounters([slotOf('lp1')]).get(slotOf('lp1')) ?? {};
    t.true(drops.length > 0);
    t.deepEqual(
      Array.from(drops).filter((count) => count > 0n),
      [],
    );

    const healed = roundsOf(
      applyUpdate(third, makeUpdate([], { snapshot: false, removed: [{ kind: 'Port', name: 'lp1' }] })),
    );
    t.deepEqual(healed.problems, []);
    t.deepEqual([...healed.installed.values()].map(({ port: { name } }) => name).sort(), ['lp2', 'lp3']);
    t.is(applier.refusals.full.size, 0);
    t.true((applier.refusals.refusedWrites.get(table) ?? 0) > 0);
    for (const { ifindex: attached } of plane.readAttachments()) plane.detach(attached);
  });
}
