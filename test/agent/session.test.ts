import { createServer, type Socket } from 'node:net';

import { ChannelCredentials } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';

import { Outbox } from '../../agent/outbox.js';
import { ControllerSession, type SessionOptions } from '../../agent/session.js';
import type { ChassisConfig } from '../../agent/vswitch/node-config.js';
import { type Fields, type Logger, silentLogger } from '../../common/log.js';
import type { AgentMessageInput } from '../../generated/proto/iovn/v1/AgentMessage.js';
import { eventually } from './support/eventually.js';
import { FakeController } from './support/fake-controller.js';
import { makeUpdate, switchResource } from './support/intents.js';

const chassis: ChassisConfig = {
  name: 'hv1',
  hostname: 'hv1.example',
  encaps: [{ type: 'geneve', ip: '192.0.2.1', options: { csum: 'true' } }],
  otherConfig: { 'ovn-bridge-mappings': 'a:b' },
  transportZones: ['tz1'],
};

interface Started {
  readonly session: ControllerSession;
  readonly updates: { readonly generation: string; readonly stream: number }[];
  readonly log: readonly { readonly message: string; readonly fields: Fields }[];
  readonly stop: () => Promise<void>;
}

function start(t: ExecutionContext, parts: Partial<SessionOptions>): Started {
  const updates: { generation: string; stream: number }[] = [];
  const lines: { message: string; fields: Fields }[] = [];
  const note = (message: string, fields: Fields = {}): void => void lines.push({ message, fields });
  const log: Logger = { ...silentLogger, info: note, warn: note };
  const session = new ControllerSession({
    controllers: undefined,
    credentials: () => ChannelCredentials.createInsecure(),
    identity: { agent_id: 'id-1', agent_version: '0', kernel_release: '6', kernel_features: ['tcx'] },
    onUpdate: ({ generation }, stream) => void updates.push({ generation, stream }),
    now: Date.now,
    timing: {
      connectTimeoutMs: 500,
      backoffInitialMs: 1,
      backoffMaximumMs: 4,
      refusedInitialMs: 5,
      refusedMaximumMs: 5,
    },
    log,
    ...parts,
  });
  const abort = new AbortController();
  const running = session.run(abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort();
    await running;
  };
  t.teardown(stop);
  return { session, updates, log: lines, stop };
}

async function fakeController(t: ExecutionContext, port?: number): Promise<FakeController> {
  const controller = await FakeController.start(port);
  t.teardown(() => controller.close());
  return controller;
}

/** A server that takes connections and says nothing. */
async function silentPort(t: ExecutionContext): Promise<number> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => void sockets.push(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

test('nothing is opened before the node knows its name and its interfaces', async (t) => {
  const controller = await fakeController(t);
  const { session } = start(t, { controllers: [controller.address] });
  session.setChassis(chassis, undefined);
  t.is(session.status.state, 'waiting');
  session.setInterfaces([{ name: 'tap1', iface_id: 'lp1' }]);
  await controller.connected();
  await eventually(() => controller.kinds().length === 2);
  t.deepEqual(controller.kinds(), ['hello', 'interfaces']);
  const hello = controller.last('hello');
  t.is(hello?.agent_id, 'id-1');
  t.is(hello?.chassis?.name, 'hv1');
  t.deepEqual(hello?.chassis?.other_config, { 'ovn-bridge-mappings': 'a:b' });
  t.deepEqual(hello?.chassis?.encaps[0]?.options, { csum: 'true' });
  t.is(controller.last('interfaces')?.interfaces[0]?.iface_id, 'lp1');
  t.is(session.status.state, 'connecting');
  controller.update(makeUpdate([]));
  await eventually(() => session.status.state === 'connected');
});

test('updates arrive in order, answers go to the stream that they belong to', async (t) => {
  const controller = await fakeController(t);
  const { session, updates } = start(t, { controllers: [controller.address] });
  session.setInterfaces([]);
  session.setChassis(chassis, undefined);
  await controller.connected();
  controller.update(makeUpdate([switchResource('sw0', 1)], { generation: '5' }));
  controller.update(makeUpdate([], { generation: '6', snapshot: false }));
  await eventually(() => updates.length === 2);
  t.deepEqual(
    updates.map(({ generation }) => generation),
    ['5', '6'],
  );
  const stream = updates[0]?.stream ?? 0;
  session.applied(stream, { generation: '6', errors: [], apply_seconds: 0.5 });
  await eventually(() => controller.last('applied')?.generation === '6');
  controller.streams[0]?.end();
  await controller.connected(2);
  controller.update(makeUpdate([], { generation: '1' }));
  await eventually(() => updates.length === 3);
  t.not(updates[2]?.stream, stream);
  session.applied(stream, { generation: '7' });
  session.applied(updates[2]?.stream ?? 0, { generation: '1' });
  await eventually(() => controller.last('applied')?.generation === '1');
  t.false(controller.messages.some(({ applied }) => applied?.generation === '7'));
});

test('what changes while connected is sent once; all of it is said again after a reconnect', async (t) => {
  const controller = await fakeController(t);
  const { session } = start(t, { controllers: [controller.address] });
  session.setInterfaces([]);
  session.setChassis(chassis, undefined);
  await controller.connected();
  session.setInterfaces([{ name: 'tap1' }]);
  session.setInterfaces([{ name: 'tap1' }]);
  session.setStatus({ attach_mode: 'tcx' });
  session.setChassis({ ...chassis, hostname: 'renamed' }, undefined);
  session.setChassis({ ...chassis, hostname: 'renamed' }, undefined);
  await eventually(() => controller.kinds().length === 5);
  t.deepEqual(controller.kinds(), ['hello', 'interfaces', 'interfaces', 'status', 'chassis']);
  t.is(controller.last('chassis')?.hostname, 'renamed');
  controller.streams[0]?.end();
  await controller.connected(2);
  await eventually(() => controller.kinds().length === 8);
  t.deepEqual(controller.kinds().slice(5), ['hello', 'interfaces', 'status']);
  t.is(controller.last('hello')?.chassis?.hostname, 'renamed');
  t.is(controller.last('interfaces')?.interfaces[0]?.name, 'tap1');
});

test('another chassis name means another hello', async (t) => {
  const controller = await fakeController(t);
  const { session } = start(t, { controllers: [controller.address] });
  session.setInterfaces([]);
  session.setChassis(chassis, undefined);
  await controller.connected();
  session.setChassis({ ...chassis, name: 'hv2' }, undefined);
  await controller.connected(2);
  t.is(controller.last('hello')?.chassis?.name, 'hv2');
  session.setChassis(undefined, undefined);
  await eventually(() => session.status.state === 'waiting');
  t.is(session.status.error, 'the chassis is not configured');
});

test('controllers are tried in turn; the database may name them, and change them', async (t) => {
  const gone = await FakeController.start();
  gone.close();
  const first = await fakeController(t);
  const second = await fakeController(t);
  const { session } = start(t, {});
  session.setInterfaces([]);
  session.setChassis(chassis, undefined);
  await eventually(() => /iovn-controller names a controller/.test(session.status.error ?? ''));
  session.setChassis(chassis, 'nonsense');
  await eventually(() => /'nonsense'/.test(session.status.error ?? ''));
  session.setChassis(chassis, `127.0.0.1:${gone.port},127.0.0.1:${first.port}`);
  await first.connected();
  session.setChassis(chassis, `127.0.0.1:${second.port}`);
  await second.connected();
  t.is(session.status.controller, `127.0.0.1:${second.port}`);
});

test('a refusal is logged once with its reason and tried again', async (t) => {
  const controller = await fakeController(t);
  const { session, log } = start(t, { controllers: [controller.address] });
  session.setInterfaces([]);
  session.setChassis(chassis, undefined);
  const refusal = { code: 'chassis_name_taken', message: 'hv1 is another machine' };
  for (const count of [1, 2, 3]) {
    await controller.connected(count);
    controller.send({ refusal });
    await eventually(() => session.status.state === 'refused');
  }
  t.is(session.status.error, 'chassis_name_taken: hv1 is another machine');
  const refused = log.filter(({ message }) => message === 'the controller refuses this node');
  t.is(refused.length, 1);
  t.is(refused[0]?.fields['reason'], 'chassis_name_taken: hv1 is another machine');
  await controller.connected(4);
  controller.update(makeUpdate([]));
  await eventually(() => session.status.state === 'connected');
});

test('a stream that does not begin with a snapshot is given up', async (t) => {
  const controller = await fakeController(t);
  const { session, updates } = start(t, { controllers: [controller.address] });
  session.setInterfaces([]);
  session.setChassis(chassis, undefined);
  await controller.connected();
  controller.update(makeUpdate([], { snapshot: false }));
  await controller.connected(2);
  t.is(updates.length, 0);
  t.regex(session.status.error ?? '', /not a snapshot/);
});

test('a controller that comes later, and one that never answers', async (t) => {
  const port = await silentPort(t);
  const reserved = await FakeController.start();
  reserved.close();
  const { session } = start(t, {
    controllers: [
      { host: '127.0.0.1', port },
      { host: '127.0.0.1', port: reserved.port },
    ],
  });
  session.setInterfaces([]);
  session.setChassis(chassis, undefined);
  await eventually(() => /no answer within 500 ms/.test(session.status.error ?? ''));
  await eventually(() => /ECONNREFUSED/.test(session.status.error ?? ''));
  const late = await fakeController(t, reserved.port);
  await late.connected();
  late.update(makeUpdate([]));
  await eventually(() => session.status.state === 'connected');
  t.is(session.status.error, undefined);
});

test('decommission waits for the controller’s answer', async (t) => {
  const controller = await fakeController(t);
  const { session } = start(t, { controllers: [controller.address] });
  const released = session.decommission(5000, new AbortController().signal);
  session.setInterfaces([]);
  session.setChassis(chassis, undefined);
  await eventually(() => controller.kinds().includes('decommission'));
  controller.send({ decommissioned: {} });
  await t.notThrowsAsync(released);
});

test('decommission without a controller says whom it could not reach', async (t) => {
  const gone = await FakeController.start();
  gone.close();
  const { session } = start(t, { controllers: [gone.address] });
  session.setInterfaces([]);
  session.setChassis(chassis, undefined);
  const error = await t.throwsAsync(session.decommission(1000, new AbortController().signal));
  t.regex(
    error.message,
    new RegExp(`did not release this node: controller 127.0.0.1:${gone.port}: .*ECONNREFUSED`),
  );
});

test('a stop ends at once, also while connecting', async (t) => {
  const port = await silentPort(t);
  const { session, stop } = start(t, {
    controllers: [{ host: '127.0.0.1', port }],
    timing: { connectTimeoutMs: 60_000 },
  });
  session.setInterfaces([]);
  session.setChassis(chassis, undefined);
  await eventually(() => session.status.state === 'connecting');
  const startMs = Date.now();
  await stop();
  t.true(Date.now() - startMs < 1000);
});

test('a controller that does not read costs one message of each kind', (t) => {
  const written: AgentMessageInput[] = [];
  const drains: (() => void)[] = [];
  let isWritable = false;
  const outbox = new Outbox({
    write: (message) => {
      written.push(message);
      return isWritable;
    },
    on: (_event, listener) => drains.push(listener),
  });
  outbox.put('hello', {});
  for (let generation = 1; generation <= 100; generation++) {
    outbox.put('applied', { generation });
    outbox.put('interfaces', { interfaces: [{ name: `tap${generation}` }] });
  }
  t.is(written.length, 1);
  isWritable = true;
  for (const drain of drains) drain();
  t.deepEqual(written.slice(1), [
    { interfaces: { interfaces: [{ name: 'tap100' }] } },
    { applied: { generation: 100 } },
  ]);
});
