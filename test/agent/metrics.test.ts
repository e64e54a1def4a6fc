import test from 'ava';
import { Registry } from 'prom-client';

import { addCollectedMetrics, addConnectionMetrics, createObserver } from '../../agent/metrics.js';
import { PortMetrics } from '../../agent/port-metrics.js';
import { exposition } from '../../common/exposition.js';
import { dropReason, dropReasons } from '../../generated/bpf/layouts.js';
import { readAll } from '../support/read-all.js';
import { eventually } from './support/eventually.js';
import { makeUpdate, portResource, switchResource } from './support/intents.js';
import { Rig } from './support/rig.js';

function dropsOf(reason: keyof typeof dropReason, packets: bigint): bigint[] {
  return dropReasons.map((_, number) => (number === dropReason[reason] ? packets : 0n));
}

const traffic = { receivedPackets: 0n, receivedBytes: 0n, sentPackets: 0n, sentBytes: 0n };

test('ports, drops, maps and connections, with one read of the kernel a scrape', async (t) => {
  const rig = new Rig().start();
  t.teardown(() => rig.close());
  rig.devices.add('tap1', 5);
  rig.database.plug('tap1', 'lp1');
  rig.database.plug('tap9', 'lp9');
  rig.update(makeUpdate([switchResource('sw0', 1, 'blue'), portResource('lp1', 1)]));
  await eventually(() => rig.installed('tap1') === 'true');
  rig.plane.counters = new Map([
    [0, { ...traffic, drops: dropsOf('DROP_NO_LOGICAL_PORT', 7n) }],
    [
      1,
      {
        receivedPackets: 10n,
        receivedBytes: 1000n,
        sentPackets: 20n,
        sentBytes: 2000n,
        drops: dropsOf('DROP_PORT_SECURITY_MAC', 3n),
      },
    ],
  ]);
  const registry = new Registry();
  const observer = createObserver(registry);
  observer.applied(0.01);
  observer.portInstalled(0.2);
  const bulk = new PortMetrics({
    readCounters: (slots) => rig.plane.readCounters(slots),
    reconciler: () => rig.reconciler.view,
  });
  addCollectedMetrics(registry, { reconciler: () => rig.reconciler.view });
  addConnectionMetrics(registry, {
    databaseState: () => rig.database.status.state,
    controller: () => ({ state: 'connected', controller: 'c:1', sinceMs: 0, error: undefined }),
  });
  rig.plane.counterReads = 0;
  const text = await readAll(exposition(registry, bulk));
  t.is(rig.plane.counterReads, 1);
  const labels = '{port="lp1",switch="blue",interface="tap1"}';
  for (const line of [
    `iovn_agent_port_received_packets_total${labels} 10`,
    `iovn_agent_port_received_bytes_total${labels} 1000`,
    `iovn_agent_port_sent_packets_total${labels} 20`,
    `iovn_agent_port_sent_bytes_total${labels} 2000`,
    'iovn_agent_port_dropped_packets_total{port="lp1",switch="blue",reason="port_security_mac"} 3',
    'iovn_agent_dropped_packets_without_port_total{reason="no_logical_port"} 7',
    'iovn_agent_controller_connected 1',
    'iovn_agent_ovsdb_connected 1',
    'iovn_agent_generation_applied 1',
    'iovn_agent_attachments 1',
    'iovn_agent_ports 1',
    'iovn_agent_interface_problems 1',
    'iovn_agent_acts_for_vswitchd 1',
    'iovn_agent_drift_repaired_total 0',
    'iovn_agent_map_entries{map="ports"} 1',
    'iovn_agent_map_capacity{map="ports"} 100',
    'iovn_agent_apply_seconds_count 1',
    'iovn_agent_port_up_seconds_count 1',
  ]) {
    t.true(text.split('\n').includes(line), line);
  }
  t.is(text.match(/port_dropped_packets_total\{/g)?.length, 1, 'reasons without packets are left out');

  rig.database.delPort('tap1');
  await eventually(() => rig.reconciler.view.plugged.length === 0);
  t.notRegex(await readAll(exposition(registry, bulk)), /port="lp1"/);
  t.is(rig.plane.counterReads, 2);
});
