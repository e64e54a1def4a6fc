import test from 'ava';

import { Prometheus } from '../../testbed/prometheus.js';
import { waitFor } from '../../testbed/wait.js';
import { fillIn, knownSeries, readDashboard, readRules } from '../deploy/queries.js';
import { openPair } from '../support/network.js';

const agentTarget = '192.0.2.11:9651';
const controllerTarget = '127.0.0.1:9650';

/** Nothing has been dropped. */
const emptyPanels = ['Drops by reason', 'Ports that drop most'];

test.serial(
  'a real Prometheus scrapes both daemons, evaluates the rules, and an alert fires and ends',
  async (t) => {
    const { network, vm1, vm2 } = await openPair(t, { agentArgs: ['--metrics', '0.0.0.0:9651'] });
    const { bed, central, hypervisor } = network;
    const prometheus = new Prometheus(bed, central.namespace, [agentTarget]);
    prometheus.daemon.start();
    const slowly = { timeoutMs: 60_000, intervalMs: 300 };

    await waitFor(
      'both targets are up',
      async () => {
        const targets = await prometheus.targets();
        return targets[agentTarget] === 'up' && targets[controllerTarget] === 'up';
      },
      slowly,
    );
    await vm1.ping(vm2.address, { count: 10, intervalMs: 20 });
    const recorded = `instance:iovn_agent_port_received_bytes:rate5m{instance="${agentTarget}"}`;
    await waitFor(
      'the ping shows in a recorded rate',
      async () => {
        const [[rate] = []] = await prometheus.query(recorded);
        return Number(rate?.value[1] ?? 0) > 0;
      },
      slowly,
    );
    const rules = await waitFor(
      'every rule has been evaluated',
      async () => {
        const all = await prometheus.rules();
        return all.length > 0 && all.every(({ health }) => health !== 'unknown') && all;
      },
      slowly,
    );
    t.is(rules.length, readRules().length);
    t.deepEqual(
      rules.filter(({ health }) => health !== 'ok'),
      [],
    );

    const vm1Port = '{port="vm1",switch="sw0"}';
    const isTrue = [
      `iovn_agent_port_received_packets_total${vm1Port} >= 10`,
      `iovn_agent_port_sent_packets_total${vm1Port} >= 10`,
      `iovn_agent_port_received_bytes_total${vm1Port} >= 980`,
      'iovn_agent_controller_connected == 1',
      'iovn_agent_ovsdb_connected == 1',
      'iovn_agent_ports == 2',
      'iovn_agent_interface_problems == 0',
      'iovn_agent_apply_seconds_count > 0',
      'iovn_agent_port_up_seconds_count == 2',
      'iovn_agent_map_entries{map="ports"} >= 2',
      'iovn_agent_map_capacity{map="ports"} == 8192',
      'iovn_controller_generation_sent{chassis="hv1"} > 0',
      'iovn_controller_generation_sent == iovn_controller_generation_applied',
      'sum(iovn_controller_database_connected) == 2',
    ];
    const answers = await prometheus.query(...isTrue);
    t.deepEqual(
      isTrue.filter((_, index) => answers[index]?.length !== 1),
      [],
    );

    const panels = readDashboard().panels.filter(({ title }) => !emptyPanels.includes(title));
    const shown = await prometheus.query(...panels.map(({ targets: [first] }) => fillIn(first?.expr ?? '')));
    t.deepEqual(
      panels.filter((_, index) => shown[index]?.length === 0).map(({ title }) => title),
      [],
    );

    const known = knownSeries();
    const series = await prometheus.series('iovn_');
    t.true(series.length > 100);
    for (const { __name__: name = '', ...labels } of series) {
      t.true(known.has(name), name);
      for (const label of Object.keys(labels)) t.true(known.get(name)?.has(label), `${name} has ${label}`);
    }

    await waitFor('nothing is the matter', async () => (await prometheus.firing()).length === 0, slowly);
    await hypervisor.agent.stop();
    await waitFor(
      'alerts tell that the agent is gone',
      async () => {
        const firing = await prometheus.firing();
        return firing.includes('IovnAgentDown') && firing.includes('IovnAgentGone');
      },
      slowly,
    );
    t.deepEqual(await prometheus.query(`up{instance="${agentTarget}"} == 1`), [[]]);
    await hypervisor.startAgent();
    await waitFor('the alerts end', async () => (await prometheus.firing()).length === 0, slowly);
  },
);
