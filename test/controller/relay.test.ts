import { once, setMaxListeners } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';

import {
  type ChannelCredentials,
  credentials,
  Server,
  ServerCredentials,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';

import { serveRelay } from '../../agent/inspect/relay-client.js';
import type { Ask } from '../../agent/inspect/serve-ask.js';
import { inspectClient } from '../../cli/inspect-client.js';
import { fleetClient } from '../../cli/node-client.js';
import { channelCredentials, serverCredentials } from '../../common/credentials.js';
import { parseListenAddress } from '../../common/listen-address.js';
import { createLogger, silentLogger } from '../../common/log.js';
import type { NodeAnswer } from '../../inspect/node-answers.js';
import { v1 } from '../../common/proto.js';
import { fleetInspectHandlers, type KnownNode } from '../../controller/relay/fleet-inspect.js';
import { NodeLink } from '../../controller/relay/node-link.js';
import { NodeLinks } from '../../controller/relay/node-links.js';
import type { NodeQuery } from '../../generated/proto/iovn/v1/NodeQuery.js';
import type { NodeReply } from '../../generated/proto/iovn/v1/NodeReply.js';
import type { RelayQueryInput } from '../../generated/proto/iovn/v1/RelayQuery.js';
import { waitFor } from '../../testbed/wait.js';
import { Authority } from '../support/certificates.js';
import { Harness } from './support/harness.js';

const levelQuery: NodeQuery = { query: 'log_level', log_level: { level: '' } };
const monitorQuery: NodeQuery = { query: 'monitor', monitor: { port: '', types: [] } };
const info: NodeReply = { reply: 'log_level', log_level: { level: 'info' } };

/** A link whose messages to the agent are recorded. */
function openLink(silenceMs = 20) {
  const sent: RelayQueryInput[] = [];
  return { link: new NodeLink((message) => sent.push(message), silenceMs), sent };
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const value of values) found.push(value);
  return found;
}

const forever = (): AbortSignal => new AbortController().signal;

test('a link: replies in order, until the agent says that it was the last', async (t) => {
  const { link, sent } = openLink();
  const answer = all(link.ask(levelQuery, forever()));
  t.is(sent[0]?.id, 1);
  link.receive({ id: 1, reply: info });
  link.receive({ id: 7, reply: info });
  link.receive({ id: 1, reply: info });
  link.receive({ id: 1, end: { error: '' } });
  t.is((await answer).length, 2);
  t.is(sent.length, 1, 'nothing to cancel');
});

test('a link: an agent that is silent is given up, and told so', async (t) => {
  const { link, sent } = openLink();
  await t.throwsAsync(all(link.ask(levelQuery, forever())), { message: 'no answer within 0.02 s' });
  t.deepEqual(sent.at(-1), { id: 1, cancel: {} });
});

test('a link: what the agent refuses, and a stream that ends, are errors', async (t) => {
  const { link } = openLink(10_000);
  const refused = all(link.ask(levelQuery, forever()));
  link.receive({ id: 1, end: { error: 'not now' } });
  await t.throwsAsync(refused, { message: 'not now' });
  const lost = all(link.ask(monitorQuery, forever()));
  link.close('lost');
  await t.throwsAsync(lost, { message: 'lost' });
  await t.throwsAsync(all(link.ask(levelQuery, forever())), { message: 'lost' });
});

test('a link: who does not read loses his answer, and others don’t', async (t) => {
  const { link, sent } = openLink(10_000);
  const slow = link.ask(monitorQuery, forever());
  const first = slow.next();
  link.receive({ id: 1, reply: info });
  await first;
  for (let i = 0; i < 600; i++) link.receive({ id: 1, reply: info });
  await t.throwsAsync(slow.next(), { message: 'the answer was not read as fast as it came' });
  const other = all(link.ask(levelQuery, forever()));
  link.receive({ id: 2, reply: info });
  link.receive({ id: 2, end: { error: '' } });
  t.is((await other).length, 1);
  t.true(sent.every(({ id }) => id === 1 || id === 2));
});

test('a link: it is asked so many things at once and no more', async (t) => {
  const { link } = openLink(10_000);
  const abort = new AbortController();
  setMaxListeners(0, abort.signal);
  const asked = Array.from({ length: 32 }, () => all(link.ask(monitorQuery, abort.signal)));
  await t.throwsAsync(all(link.ask(levelQuery, forever())), {
    message: 'the node is asked 32 things already',
  });
  abort.abort();
  await Promise.all(asked);
  const again = all(link.ask(levelQuery, forever()));
  link.receive({ id: 33, end: { error: '' } });
  t.deepEqual(await again, []);
});

const noTls = { insecure: true, tlsCa: undefined, tlsCert: undefined, tlsKey: undefined };

interface Fleet {
  readonly target: string;
  readonly links: NodeLinks;
  readonly client: ReturnType<typeof fleetClient>;
  /** Connects an agent of that name. */
  readonly join: (chassis: string, ask: Ask, agentId?: string) => Promise<() => void>;
}

async function openFleet(t: ExecutionContext, nodes: readonly KnownNode[]): Promise<Fleet> {
  const links = new NodeLinks((_chassis, agentId) => agentId === 'right', silentLogger);
  const log = createLogger('controller', 'info', { write: () => undefined });
  const broken = (): never => {
    throw new Error('not to be had');
  };
  const supportFiles = [
    { name: 'about.json', read: () => 'x'.repeat(250_000) },
    { name: 'metrics.txt', read: broken },
  ];
  const self = { log, supportFiles };
  const server = new Server();
  server.addService(v1.NodeRelay.service, {
    Serve: (call: Parameters<NodeLinks['serve']>[0]) => links.serve(call),
  });
  const find = (filter: string): readonly KnownNode[] =>
    nodes.filter(({ name }) => filter === '' || filter === name);
  server.addService(v1.FleetInspect.service, fleetInspectHandlers(find, links, self));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  const target = `127.0.0.1:${port}`;
  const client = fleetClient({ host: '127.0.0.1', port }, noTls);
  t.teardown(() => {
    client.close();
    server.forceShutdown();
  });
  const join: Fleet['join'] = (chassis, ask, agentId = 'right') => {
    const abort = new AbortController();
    const stub = new v1.NodeRelay(target, credentials.createInsecure());
    const ended = serveRelay(stub, { chassis, agent_id: agentId }, ask, silentLogger, abort.signal);
    const leave = (): void => abort.abort();
    t.teardown(async () => {
      leave();
      await ended;
      stub.close();
    });
    return Promise.resolve(leave);
  };
  return { target, links, client, join };
}

const answers: Ask = async function* () {
  yield await Promise.resolve({ log_level: { level: 'info' } });
};

function outcomes(given: readonly NodeAnswer[]): Record<string, string> {
  return Object.fromEntries(
    given.map(({ node, outcome }) => [
      node,
      'error' in outcome ? outcome.error : (outcome.reply.log_level?.level ?? ''),
    ]),
  );
}

const known = (name: string, connected = true): KnownNode => ({ name, connected, sinceMs: 1000 });

test('a fleet: each node answers for itself, and one that is gone says since when', async (t) => {
  const fleet = await openFleet(t, [known('hv1'), known('hv2'), known('hv3', false), known('hv4')]);
  await fleet.join('hv1', answers);
  await fleet.join('hv2', async function* () {
    yield* [];
    await nextTurn();
    throw new Error('broken');
  });
  await waitFor('both are there', () => fleet.links.get('hv1') && fleet.links.get('hv2'));
  t.deepEqual(outcomes(await all(fleet.client.ask({ log_level: {} }))), {
    hv1: 'info',
    hv2: 'broken',
    hv3: 'its agent is not connected since 1970-01-01T00:00:01.000Z',
    hv4: 'its agent has not opened its relay to this controller yet',
  });
  t.deepEqual(outcomes(await all(fleet.client.ask({ log_level: {} }, 'hv1'))), { hv1: 'info' });
  await t.throwsAsync(all(fleet.client.ask({ log_level: {} }, 'hv9')), { code: 'not_found' });
});

test('a fleet: who leaves stops what the node does for him', async (t) => {
  const fleet = await openFleet(t, [known('hv1')]);
  let signalOfQuery: AbortSignal | undefined;
  await fleet.join('hv1', async function* (_query, signal) {
    signalOfQuery = signal;
    yield { event: { type: 'drop', text: 'one' } };
    await once(signal, 'abort');
  });
  await waitFor('it is there', () => fleet.links.get('hv1'));
  for await (const answer of fleet.client.ask({ monitor: {} })) {
    t.is(answer.node, 'hv1');
    break;
  }
  await waitFor('the node stops', () => signalOfQuery?.aborted);
});

test('a fleet: a node that disconnects while it answers is an error, and comes back', async (t) => {
  const fleet = await openFleet(t, [known('hv1')]);
  const leave = await fleet.join('hv1', async function* (_query, signal) {
    yield { event: { type: 'drop' } };
    await once(signal, 'abort');
  });
  await waitFor('it is there', () => fleet.links.get('hv1'));
  const seen: NodeAnswer[] = [];
  for await (const answer of fleet.client.ask({ monitor: {} })) {
    seen.push(answer);
    leave();
  }
  t.deepEqual(seen.at(-1)?.outcome, { error: 'the connection to the node was lost' });
  await waitFor('it is gone', () => fleet.links.get('hv1') === undefined);
  await fleet.join('hv1', answers);
  await waitFor('it is back', () => fleet.links.get('hv1'));
});

test('a fleet: an agent that does not serve the chassis is refused', async (t) => {
  const fleet = await openFleet(t, [known('hv1')]);
  await fleet.join('hv1', answers, 'wrong');
  t.deepEqual(outcomes(await all(fleet.client.ask({ log_level: {} }))), {
    hv1: 'its agent has not opened its relay to this controller yet',
  });
  await fleet.join('hv1', answers);
  await waitFor('the right one is there', () => fleet.links.get('hv1'));
  t.deepEqual(outcomes(await all(fleet.client.ask({ log_level: {} }))), { hv1: 'info' });
});

test('a controller tells about itself: its level, and files of which one can’t be had', async (t) => {
  const { target } = await openFleet(t, []);
  const client = inspectClient(parseListenAddress(target), noTls);
  t.teardown(() => client.close());
  t.deepEqual(await client.logLevel(''), { level: 'info' });
  t.deepEqual(await client.logLevel('debug'), { level: 'debug' });
  t.deepEqual(await client.logLevel(''), { level: 'debug' });
  await t.throwsAsync(client.logLevel('loud'), { message: /'loud' is none of debug, info, warn, error$/ });
  const parts = await all(client.support());
  t.deepEqual(
    parts.map(({ file, text, error }) => [file, text.length, error]),
    [
      ['about.json', 100_000, ''],
      ['about.json', 100_000, ''],
      ['about.json', 50_000, ''],
      ['metrics.txt', 0, 'not to be had'],
    ],
  );
});

/** Opens a relay as somebody; resolves with why the controller ends it. */
function refusalOf(
  address: string,
  channel: ChannelCredentials,
  hello: { readonly chassis: string; readonly agent_id: string },
): Promise<ServiceError> {
  const stub = new v1.NodeRelay(address, channel, { 'grpc.use_local_subchannel_pool': 1 });
  const call = stub.Serve();
  call.on('data', () => undefined);
  return new Promise<ServiceError>((resolve) => {
    call.on('error', resolve);
    call.write({ hello });
  }).finally(() => stub.close());
}

test('with TLS nobody can pose as another node, and only who has a certificate of the authority may ask', async (t) => {
  const authority = new Authority(t);
  const stranger = new Authority(t);
  const settings = (name: string, by = authority) => {
    const { certFile: tlsCert, keyFile: tlsKey, caFile: tlsCa } = by.issue(name);
    return { tlsCert, tlsKey, tlsCa, insecure: false };
  };
  const loopback = { host: '127.0.0.1', port: 0 };
  const harness = await Harness.start(undefined, serverCredentials(settings('controller'), loopback));
  t.teardown(() => harness.stop());
  const { address } = harness;
  const [hv1, hv2] = ['hv1', 'hv2'].map((name) => channelCredentials(settings(name), loopback)) as [
    ChannelCredentials,
    ChannelCredentials,
  ];
  harness.agent('hv1', { credentials: hv1 });
  harness.agent('hv2', { credentials: hv2, ip: '192.0.2.2' });
  await waitFor(
    'both are served',
    () => [...harness.controller.nodes.values()].filter((each) => each.connected).length === 2,
  );

  const posing = await refusalOf(address, hv1, { chassis: 'hv2', agent_id: 'id-hv2' });
  t.is(posing.code, status.PERMISSION_DENIED);
  t.regex(posing.details, /the agent's certificate is not for chassis hv2/);
  const other = await refusalOf(address, hv1, { chassis: 'hv1', agent_id: 'id-hv2' });
  t.regex(other.details, /the agent does not serve chassis hv1/);

  const ask = async (tls: Parameters<typeof fleetClient>[1]) => {
    const client = fleetClient(parseListenAddress(address), tls);
    try {
      return outcomes(await all(client.ask({ log_level: {} })));
    } finally {
      client.close();
    }
  };
  const unopened = 'its agent has not opened its relay to this controller yet';
  t.deepEqual(await ask(settings('admin')), { hv1: unopened, hv2: unopened }, 'no relay was taken');
  await t.throwsAsync(ask({ ...settings('admin', stranger), tlsCa: settings('admin').tlsCa }), {
    code: 'unreachable',
  });
  await t.throwsAsync(ask(settings('admin', stranger)), { code: 'unreachable' });
});
