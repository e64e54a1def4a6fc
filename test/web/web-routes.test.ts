import test from 'ava';

import { readSettings } from '../../common/config.js';
import { ConfigError } from '../../common/errors.js';
import { startHttpServer } from '../../common/http-server.js';
import type { ListenAddress } from '../../common/listen-address.js';
import { silentLogger } from '../../common/log.js';
import { startHttpServers } from '../../controller/http-servers.js';
import { controllerOptions } from '../../controller/settings.js';
import type { ApiError, Live, Topology } from '../../controller/web/shapes.js';
import { webRoutes } from '../../controller/web/web-routes.js';
import type { WhyPage } from '../../inspect/why.js';
import { waitFor } from '../../testbed/wait.js';
import { FakeFleet } from './support/fake-fleet.js';

async function json(url: string): Promise<unknown> {
  const response = await fetch(url);
  return response.json();
}

const topologyOf = async ({ url }: FakeFleet) => (await json(`${url}api/topology`)) as Topology;
const liveOf = async ({ url }: FakeFleet) => (await json(`${url}api/live`)) as Live;

/** Two nodes with a port each on a switch of Neutron's, and one port that is on none. */
async function startSmall(t: Parameters<typeof FakeFleet.start>[0], intervalMs = 20) {
  const fleet = await FakeFleet.start(t, intervalMs);
  const { world } = fleet.harness;
  const sw0 = world.addSwitch('neutron-uuid', { 'neutron:network_name': 'web' });
  world.addPort(sw0, 'lp1', {
    addresses: ['02:00:00:00:00:01 10.0.0.1'],
    externalIds: { 'neutron:port_name': 'frontend' },
  });
  world.addPort(sw0, 'lp2');
  world.addPort(sw0, 'lp3', { enabled: false });
  world.addPort(sw0, 'lp4');
  world.addPort(sw0, 'lp5', { type: 'router' });
  const hv1 = fleet.join('hv1', '192.0.2.1', ['lp1'], ['hv2']);
  const hv2 = fleet.join('hv2', '192.0.2.2', ['lp2'], ['hv1']);
  await fleet.ready();
  return { fleet, hv1, hv2 };
}

test('the topology: names of OVN and Neutron, where ports are and how they stand, tunnels', async (t) => {
  const { fleet, hv1 } = await startSmall(t);
  fleet.harness.world.addVanillaChassis('vanilla', '192.0.2.9');
  const topology = await waitFor('tunnels and the vanilla node', async () => {
    const seen = await topologyOf(fleet);
    return seen.nodes.length === 3 && seen.nodes[0]?.tunnels.length === 1 && seen;
  });
  t.like(topology.switches[0], { name: 'neutron-uuid', neutron_name: 'web' });
  t.deepEqual(
    topology.ports.map(({ name, node, state }) => [name, node, state]),
    [
      ['lp1', 'hv1', 'up'],
      ['lp2', 'hv2', 'up'],
      ['lp3', '', 'disabled'],
      ['lp4', '', 'unplugged'],
      ['lp5', '', 'unsupported'],
    ],
  );
  t.like(topology.ports[0], {
    neutron_name: 'frontend',
    interface: 'tap-lp1',
    switch: topology.switches[0]?.uuid,
    addresses: ['02:00:00:00:00:01 10.0.0.1'],
  });
  t.like(topology.nodes[0], { name: 'hv1', kind: 'iovn', connected: true, tunnel_ips: ['192.0.2.1'] });
  t.like(topology.nodes[0]?.tunnels[0], { to: 'hv2', type: 'geneve' });
  t.like(topology.nodes[2], { name: 'vanilla', kind: 'ovn' });
  t.is(topology.databases.length, 2);

  hv1.leave();
  await waitFor('its port is said to be on a node that is gone', async () => {
    const { ports, nodes } = await topologyOf(fleet);
    return ports[0]?.state === 'node_gone' && nodes[0]?.connected === false && nodes[0].since > 0;
  });
  fleet.harness.world.nb.setStatus({ state: 'backoff', error: 'connection refused' });
  await waitFor('the database is said to be away', async () => {
    const [northbound] = (await topologyOf(fleet)).databases;
    return northbound?.state === 'backing off' && northbound.error === 'connection refused';
  });
});

test('live: rates, and drops by port and by reason', async (t) => {
  const { fleet, hv1 } = await startSmall(t);
  hv1.traffic.set('lp1', { packets: 1000, bytes: 100_000 });
  hv1.drops.set('one', { port: 'lp1', reason: 'vlan_tagged', direction: 'from port', perSecond: 50 });
  hv1.drops.set('two', { port: '', reason: 'vlan_tagged', perSecond: 100 });
  await waitFor('two readings of both', async () => {
    const { nodes } = await liveOf(fleet);
    return nodes.length === 2 && nodes.every(({ seconds }) => seconds > 0);
  });
  hv1.traffic.set('lp1', { packets: 2000, bytes: 200_000 });
  const live = await waitFor('traffic and drops', async () => {
    const seen = await liveOf(fleet);
    return seen.ports.length > 0 && seen.reasons.length > 0 && seen;
  });
  t.like(live.ports[0], { name: 'lp1', node: 'hv1', dropped_packets: 0 });
  const [port] = live.ports;
  t.true((port?.from_vm_bytes ?? 0) > (port?.to_vm_bytes ?? 0));
  t.deepEqual(
    live.ports.map(({ name }) => name),
    ['lp1'],
    'a port without traffic is left out',
  );
  t.is(live.reasons.length, 1);
  t.deepEqual(live.drops.map((drop) => drop.port).sort(), ['', 'lp1']);
  t.like(live.reasons[0], {
    reason: 'vlan_tagged',
    packets: live.drops.reduce((sum, drop) => sum + drop.packets, 0),
  });
});

test('a node is asked only while somebody looks, and once for all who do', async (t) => {
  const { fleet, hv1 } = await startSmall(t, 60_000);
  t.is(hv1.asked, 0);
  const answers = await Promise.all(Array.from({ length: 30 }, () => liveOf(fleet)));
  t.is(new Set(answers.map(({ at }) => at)).size, 1);
  t.is(hv1.asked, 2, 'for its ports and for its drops');
  await liveOf(fleet);
  t.is(hv1.asked, 2);
});

test('a node that is silent holds up nobody', async (t) => {
  const { fleet, hv1, hv2 } = await startSmall(t);
  hv1.silent = true;
  hv2.traffic.set('lp2', { packets: 1000, bytes: 100_000 });
  const startedMs = performance.now();
  const live = await waitFor('rates of the other', async () => {
    const seen = await liveOf(fleet);
    return seen.ports.length > 0 && seen;
  });
  t.true(performance.now() - startedMs < 4900, 'before the silent one is given up');
  t.deepEqual(
    live.nodes.map(({ name, at }) => [name, at > 0]),
    [
      ['hv1', false],
      ['hv2', true],
    ],
  );
  t.true(hv1.asked <= 2, 'it is not asked again while it owes an answer');
  await waitFor('it is given up', async () => {
    const [silent] = (await liveOf(fleet)).nodes;
    return silent?.error === 'no answer within 5 s';
  });
});

test('why: the page that iovn prints; an unknown name has one that is similar', async (t) => {
  const { fleet, hv1 } = await startSmall(t);
  hv1.drops.set('one', {
    ...{ port: 'lp1', reason: 'port_security_ip4', text: 'not its address', perSecond: 1 },
    ...{ row_table: 'Logical_Switch_Port', row_name: 'lp1', row_uuid: 'u', row_column: 'port_security' },
  });
  const page = (await json(`${fleet.url}api/why?port=lp1`)) as WhyPage;
  const facts = new Map(page.facts);
  t.is(facts.get('Port'), 'lp1 of switch neutron-uuid');
  t.regex(facts.get('Bound') ?? '', /^to hv1, whose agent is connected for \d+ s$/);
  t.like(page.drops[0], {
    reason: 'port_security_ip4',
    decidedBy: 'Logical_Switch_Port lp1 u port_security',
  });
  t.regex(page.advice[0] ?? '', /lsp-set-port-security lp1/);

  const unknown = await fetch(`${fleet.url}api/why?port=lp`);
  t.is(unknown.status, 404);
  t.deepEqual(await unknown.json(), { error: "there is no logical port 'lp'; did you mean 'lp1'?" });
  t.is((await fetch(`${fleet.url}api/why`)).status, 400);
});

test('why: so many questions at a time and no more', async (t) => {
  const { fleet, hv1 } = await startSmall(t);
  hv1.silent = true;
  const refused: Response[] = [];
  const asked = Array.from({ length: 20 }, async () => {
    const response = await fetch(`${fleet.url}api/why?port=lp1`);
    if (response.status === 503) refused.push(response);
  });
  await waitFor('the others are refused', () => refused.length === 12);
  const [first] = refused;
  t.is(first?.headers.get('retry-after'), '1');
  t.like(await first?.json(), { error: '8 such questions are open already: try again' } satisfies ApiError);
  hv1.leave();
  await Promise.all(asked);
  t.is(refused.length, 12);
});

test('what the browser may keep, and what it must not do', async (t) => {
  const { fleet } = await startSmall(t, 60_000);
  for (const path of ['', 'web/app.js', 'web/style.css', 'api/topology']) {
    const first = await fetch(fleet.url + path);
    const etag = first.headers.get('etag') ?? '';
    t.deepEqual([first.status, first.headers.get('cache-control')], [200, 'no-cache'], path);
    const again = await fetch(fleet.url + path, { headers: { 'If-None-Match': `"other", W/${etag}` } });
    t.deepEqual([again.status, await again.text()], [304, ''], path);
    for (const response of [first, again]) {
      const policy = response.headers.get('content-security-policy') ?? '';
      t.regex(policy, /^default-src 'none'; script-src 'self';/);
      t.notRegex(policy, /unsafe|\*/);
      t.is(response.headers.get('x-content-type-options'), 'nosniff');
    }
  }
  for (const path of ['api/live', 'api/why?port=lp1'])
    t.is((await fetch(fleet.url + path)).headers.get('cache-control'), 'no-store');
});

test('GET and HEAD only, and nothing but what there is', async (t) => {
  const { fleet } = await startSmall(t);
  const head = await fetch(`${fleet.url}api/topology`, { method: 'HEAD' });
  t.deepEqual([head.status, await head.text()], [200, '']);
  for (const path of ['', 'api/topology', 'api/why?port=lp1', 'nothing']) {
    const post = await fetch(fleet.url + path, { method: 'POST', body: 'x' });
    t.deepEqual([post.status, post.headers.get('allow')], [405, 'GET, HEAD'], path);
  }
  for (const path of [
    'nothing',
    'web/',
    'web/tsconfig.json',
    'web/..%2fpackage.json',
    'api/ports',
    'index.html',
  ])
    t.is((await fetch(fleet.url + path)).status, 404, path);
});

function read(...args: string[]) {
  return readSettings(
    { name: 'iovn-nothing-in-etc', description: '' },
    controllerOptions,
    ['node', 'x', ...args],
    {},
  );
}

test('where it is served: beside the metrics, elsewhere, or not at all', async (t) => {
  const fleet = await FakeFleet.start(t);
  const { controller, inspector, metrics, nodes } = fleet.harness;
  const start = async (...args: string[]) => {
    const abort = new AbortController();
    t.teardown(() => abort.abort());
    const routes = () => webRoutes({ controller, inspector, nodes });
    const { registry } = metrics;
    const common = { registry, health: () => inspector.health(), signal: abort.signal, log: silentLogger };
    return startHttpServers({ ...common, settings: read(...args), routes });
  };
  const status = async (address: ListenAddress | undefined, path: string) =>
    (await fetch(`http://127.0.0.1:${address?.port ?? 0}${path}`)).status;

  const beside = await start('--metrics', '127.0.0.1:0');
  t.deepEqual(beside.web, beside.metrics);
  t.deepEqual([await status(beside.web, '/'), await status(beside.web, '/metrics')], [200, 200]);
  const without = await start('--metrics', '127.0.0.1:0', '--no-web');
  t.is(without.web, undefined);
  for (const path of ['/', '/web/app.js', '/api/topology'])
    t.is(await status(without.metrics, path), 404, path);
  t.is(await status(without.metrics, '/metrics'), 200);
  const elsewhere = await start('--metrics', '127.0.0.1:0', '--web', '127.0.0.1:0');
  t.deepEqual([await status(elsewhere.web, '/'), await status(elsewhere.web, '/metrics')], [200, 404]);
  t.deepEqual(
    [await status(elsewhere.metrics, '/'), await status(elsewhere.metrics, '/metrics')],
    [404, 200],
  );
  t.deepEqual(await start(), { metrics: undefined, web: undefined });

  const taken = `127.0.0.1:${elsewhere.web?.port ?? 0}`;
  await t.throwsAsync(start('--web', taken), {
    instanceOf: ConfigError,
    message: `--web '${taken}': the address is in use`,
  });
  t.throws(() => read('--web', 'everywhere'), {
    instanceOf: ConfigError,
    message: "--web 'everywhere': expected HOST:PORT, such as 127.0.0.1:6650 or [::1]:6650",
  });
});

test('what a route throws is said to whoever asks, and the server goes on', async (t) => {
  const abort = new AbortController();
  t.teardown(() => abort.abort());
  const routes = new Map([['/', () => Promise.reject(new Error('broken'))]]);
  const listen = { host: '127.0.0.1', port: 0 };
  const { port } = await startHttpServer({
    listen,
    flag: '--web',
    routes,
    signal: abort.signal,
    log: silentLogger,
  });
  for (let i = 0; i < 2; i += 1) {
    const response = await fetch(`http://127.0.0.1:${port}/`);
    t.deepEqual([response.status, await response.text()], [500, 'broken\n']);
  }
});
