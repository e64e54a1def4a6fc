import test from 'ava';

import type { CommandOutput } from '../../cli/commands.js';
import { follow } from '../../cli/follow.js';
import type { InspectClient } from '../../cli/inspect-client.js';
import type { NodeClient } from '../../cli/node-client.js';
import {
  dumpTable,
  listDrops,
  listModules,
  listTables,
  showMapping,
  verifyNodes,
} from '../../cli/node-commands.js';
import { logLevel } from '../../cli/log-level.js';
import { showWhy } from '../../cli/why.js';
import { IovnError } from '../../common/errors.js';
import { v1 } from '../../common/proto.js';
import type { DropInput } from '../../generated/proto/iovn/v1/Drop.js';
import type { NodeReply, NodeReplyInput } from '../../generated/proto/iovn/v1/NodeReply.js';
import type { PortStatusInput } from '../../generated/proto/iovn/v1/PortStatus.js';
import { adviceFor } from '../../inspect/advice.js';
import type { NodeAnswer } from '../../inspect/node-answers.js';
import { portRates } from '../../inspect/port-rates.js';
import { answering } from '../support/fake-inspect.js';

/** With the defaults of the fields that are left out, as it comes from the wire. */
function received(reply: NodeReplyInput): NodeReply {
  return v1.NodeReply.deserialize(v1.NodeReply.serialize(reply));
}

/** Nodes that answer every question with these replies; a text is why one does not. */
function fleet(nodes: Readonly<Record<string, readonly NodeReplyInput[] | string>>): NodeClient {
  return {
    async *ask(query, only) {
      for (const [node, replies] of Object.entries(nodes)) {
        if (only !== undefined && only !== node) continue;
        if (typeof replies === 'string') {
          yield await Promise.resolve<NodeAnswer>({ node, outcome: { error: replies } });
          continue;
        }
        const [kind = ''] = Object.keys(query);
        for (const reply of answering(kind, replies).map(received)) yield { node, outcome: { reply } };
      }
    },
    close: () => undefined,
  };
}

/** The words of the line in which `word` is. */
function line({ lines }: CommandOutput, word: string): string {
  const found = lines.find((each) => each.includes(word));
  return (found ?? `no line with ${word}`).trim().replaceAll(/\s+/g, ' ');
}

const now = Date.now() / 1000;
const drop: DropInput = {
  port: 'lp1',
  switch: 'sw0',
  interface: 'tap1',
  direction: 'from port',
  reason: 'port_security_ip4',
  text: 'IPv4 source not in port security',
  packets: '9',
  first_seen: now - 600,
  last_seen: now - 2,
  packet: 'a > b, IPv4',
  head: Uint8Array.of(1, 0xab),
  length: 60,
  row_table: 'Logical_Switch_Port',
  row_uuid: 'uuid-of-lp1',
  row_name: 'lp1',
  row_column: 'port_security',
  row_entries: ['02:00:00:00:00:01 10.0.0.1'],
};
const ports: NodeReplyInput = {
  ports: {
    chassis: 'hv1',
    controller_state: 'connected',
    attach_mode: 'tcx',
    ports: [
      {
        name: 'lp1',
        switch: 'sw0',
        slot: 3,
        interface: 'tap1',
        ifindex: 7,
        datapath_key: 1,
        port_key: 2,
        port_uuid: 'uuid-of-lp1',
        installed: true,
        link_up: true,
        enabled: true,
        received_packets: 100,
        dropped_packets: 9,
        modules: [{ name: 'l2-switch', maps: ['ports', 'destinations'] }],
      },
    ],
  },
};
const modules: NodeReplyInput = {
  modules: {
    programs: [
      {
        name: 'vif_ingress',
        id: 12,
        tag: '00ff00ff00ff00ff',
        hook: 'tcx',
        interfaces: ['tap1', 'tap2'],
        runs: 4,
        run_ns: 2000,
        verified_instructions: 216_287,
        memory_bytes: 4096,
      },
    ],
    run_statistics: true,
    maps: [{ name: 'ports', entries: 1, capacity: 8192 }],
  },
};

test('drops: where, why, since when, who decided, and the last packet', async (t) => {
  const output = await listDrops(fleet({ hv1: [{ drops: { drops: [drop] } }] }), {});
  t.is(
    line(output, 'port_security_ip4'),
    'hv1 lp1 sw0 from port port_security_ip4 9 10 min ago 2 s ago Logical_Switch_Port lp1 port_security "02:00:00:00:00:01 10.0.0.1" a > b, IPv4',
  );
  const [json] = JSON.parse(output.json) as { node: string; drops: { packets: number; head: string }[] }[];
  t.like(json, { node: 'hv1' });
  t.like(json?.drops[0], { packets: 9, head: '01ab' });
  t.is(output.status, 0);
  const none = await listDrops(fleet({ hv1: [{ drops: {} }] }), {});
  t.deepEqual(none.lines, ['nothing was dropped']);
});

test('a node that does not answer is named, and the others are shown', async (t) => {
  const client = fleet({ hv1: [{ drops: { drops: [drop] } }], hv2: 'its agent is not connected' });
  const output = await listDrops(client, {});
  t.is(output.status, 3);
  t.deepEqual(output.warnings, ['node hv2: its agent is not connected']);
  t.regex(line(output, 'lp1'), /^hv1 lp1/);
  t.like((JSON.parse(output.json) as object[])[1], { node: 'hv2', error: 'its agent is not connected' });
  t.is((await listDrops(client, { node: 'hv1' })).status, 0);
});

test('an answer in pieces is one', async (t) => {
  const client = fleet({
    hv1: [{ drops: { drops: [drop] } }, { drops: { drops: [{ ...drop, port: 'lp2' }] } }],
  });
  const { json } = await listDrops(client, {});
  const [only, ...others] = JSON.parse(json) as { drops: { port: string }[] }[];
  t.deepEqual([only?.drops.map(({ port }) => port), others], [['lp1', 'lp2'], []]);
});

test('modules: programs, where they are, and what they cost when the kernel counts', async (t) => {
  const output = await listModules(fleet({ hv1: [modules] }), {});
  t.is(line(output, 'vif_ingress'), 'hv1 vif_ingress 12 00ff00ff00ff00ff tcx tap1 tap2 4 500 216287 4096');
  const silent = { modules: { ...modules.modules, run_statistics: false } };
  const uncounted = await listModules(fleet({ hv1: [silent] }), {});
  t.is(line(uncounted, 'vif_ingress'), 'hv1 vif_ingress 12 00ff00ff00ff00ff tcx tap1 tap2 - - 216287 4096');
  t.regex(line(uncounted, 'sysctl'), /kernel\.bpf_stats_enabled=1$/);
});

test('tables: how full they are, and what is in them', async (t) => {
  t.is(line(await listTables(fleet({ hv1: [modules] }), {}), 'ports'), 'hv1 ports 1 8192');
  const entries = [{ key: '{"slot":1}', value: '{"flags":["port_enabled"]}' }];
  const dump = await dumpTable(fleet({ hv1: [{ table: { entries } }] }), 'ports', {});
  t.deepEqual(dump.lines, ['hv1 {"slot":1} {"flags":["port_enabled"]}']);
  t.deepEqual(JSON.parse(dump.json), [{ node: 'hv1', key: { slot: 1 }, value: { flags: ['port_enabled'] } }]);
  const empty = await dumpTable(fleet({ hv1: [{ table: {} }] }), 'ports', {});
  t.deepEqual(empty.lines, ['no entries']);
});

test('mapping: what a port is on its node; a name that is not there and one that is similar', async (t) => {
  const output = await showMapping(fleet({ hv1: [ports] }), 'lp1', {});
  t.is(line(output, 'lp1'), 'lp1 sw0 hv1 tap1 tcx 3 1/2 l2-switch: ports destinations -');
  const elsewhere: NodeClient = {
    ask: (query) => fleet({ hv1: [query.ports?.port === '' ? ports : { ports: {} }] }).ask(query),
    close: () => undefined,
  };
  await t.throwsAsync(showMapping(elsewhere, 'lp7', {}), {
    code: 'unknown_port',
    message: "no node has a port 'lp7'; did you mean 'lp1'?",
  });
});

test('verify fails when something differs, or when nothing can be compared', async (t) => {
  const clean = { verification: { entries_compared: 9, repaired: 2 } };
  const output = await verifyNodes(fleet({ hv1: [clean] }), {});
  t.deepEqual(
    [output.status, output.lines],
    [0, ['hv1: 9 compared, 0 differ, 2 repaired since the agent started']],
  );
  const differences = [{ kind: 'missing', map: 'ports', key: '{"slot":1}', wanted: '{}', owner: 'Port lp1' }];
  const differing = await verifyNodes(
    fleet({ hv1: [clean], hv2: [{ verification: { entries_compared: 1, differences } }] }),
    {},
  );
  t.is(differing.status, 1);
  t.is(line(differing, 'missing'), 'hv2 missing ports {"slot":1} {} - Port lp1');
  t.is((await verifyNodes(fleet({ hv1: [{ verification: { problem: 'not yet' } }] }), {})).status, 1);
});

test('log-level: of the controller and the nodes, or of one of them', async (t) => {
  const client = controller(status);
  const nodes = fleet({ hv1: [{ log_level: { level: 'debug' } }], hv2: 'gone' });
  const all = await logLevel({ controller: client, nodes, node: undefined }, 'debug');
  t.is(line(all, 'controller'), 'controller - debug');
  t.is(line(all, 'hv1'), 'agent hv1 debug');
  t.deepEqual([all.status, all.warnings], [3, ['node hv2: gone']]);
  t.deepEqual(JSON.parse(all.json), [
    { daemon: 'controller', level: 'debug' },
    { daemon: 'agent', node: 'hv1', level: 'debug' },
    { daemon: 'agent', node: 'hv2', error: 'gone' },
  ]);
  const one = await logLevel({ controller: undefined, nodes, node: 'hv1' }, '');
  t.deepEqual([one.status, one.lines.length], [0, 2]);
  const own = await logLevel({ controller: client, nodes: undefined, node: undefined }, '');
  t.deepEqual(JSON.parse(own.json), [{ daemon: 'controller', level: 'info' }]);
  await t.throwsAsync(logLevel({ controller: client, nodes, node: undefined }, 'loud'), { code: 'config' });
});

test('follow: a line per event, and what was left out', async (t) => {
  const event = { type: 'drop', at: 0, port: 'lp1', interface: 'tap1', text: 'x\u001b[31m', lost: 3 };
  const client = fleet({ hv1: [{ event }], hv2: 'gone' });
  const read = async (json: boolean): Promise<string[]> => {
    const lines: string[] = [];
    for await (const each of follow(client, { types: [] }, json)) lines.push(each);
    return lines;
  };
  t.deepEqual(await read(false), [
    '1970-01-01T00:00:00.000Z hv1 drop lp1@tap1 x\\x1b[31m (3 events before it were left out)',
    'node hv2: gone',
  ]);
  const [first = '', second = ''] = await read(true);
  t.like(JSON.parse(first), { node: 'hv1', type: 'drop', lost: 3 });
  t.deepEqual(JSON.parse(second), { node: 'hv2', error: 'gone' });
});

test('top: rates of ports in both readings, the busiest first', (t) => {
  const reading = (readAt: number, lp1: number, lp2: number, extra: readonly string[] = []) => {
    const port = (name: string, bytes: number) => ({
      name,
      binding: name,
      received_bytes: bytes,
      sent_packets: bytes,
    });
    const all = [port('lp1', lp1), port('lp2', lp2), ...extra.map((name) => port(name, 1))];
    const reply = received({ ports: { read_at: readAt, ports: all } });
    return new Map([['hv1', reply.ports ? [reply.ports] : []]]);
  };
  const rates = portRates(reading(10, 1000, 0), reading(12, 1200, 4000, ['lp3']));
  t.deepEqual(
    rates.map(({ port, receivedBytes, sentPackets }) => [port, receivedBytes, sentPackets]),
    [
      ['lp2', 2000, 2000],
      ['lp1', 100, 100],
    ],
  );
  t.deepEqual(
    portRates(reading(10, 5, 5), reading(12, 1, 5)).map(({ port }) => port),
    ['lp2'],
    'reset',
  );
});

function controller(status: PortStatusInput, connected = true): InspectClient {
  const reply = v1.Ports.deserialize(v1.Ports.serialize({ ports: [status] }));
  const nodes = [{ chassis: { name: 'hv1' }, connected, since: now - 60 }];
  return {
    getStatus: () => Promise.reject(new IovnError('refused', 'not asked for')),
    listNodes: () => Promise.resolve(v1.Nodes.deserialize(v1.Nodes.serialize({ nodes }))),
    listPorts: () => Promise.resolve(reply),
    listFdb: () => Promise.reject(new IovnError('refused', 'not asked for')),
    listSwitches: () => Promise.reject(new IovnError('refused', 'not asked for')),
    logLevel: (level) => Promise.resolve({ level: level === '' ? 'info' : level }),
    support: async function* () {},
    close: () => undefined,
  };
}

const status: PortStatusInput = {
  name: 'lp1',
  switch: 'sw0',
  chassis: 'hv1',
  up: true,
  enabled: true,
  port_security: ['02:00:00:00:00:01'],
};

test('why: one page, with the row that decides and what can be done', async (t) => {
  const client = fleet({ hv1: [ports, { drops: { drops: [drop] } }] });
  const output = await showWhy('lp1', controller(status), client);
  t.is(output.status, 0);
  t.is(line(output, 'NB row'), 'NB row Logical_Switch_Port uuid-of-lp1');
  t.is(line(output, 'Bound'), 'Bound to hv1, whose agent is connected for 60 s');
  t.is(line(output, 'Programmed'), 'Programmed yes: slot 3, hook tcx');
  t.is(line(output, 'Nothing'), 'Nothing is known to be wrong with it.');
  t.is(
    line(output, 'from port'),
    'port_security_ip4 from port 9 10 min ago 2 s ago Logical_Switch_Port lp1 uuid-of-lp1 port_security "02:00:00:00:00:01 10.0.0.1"',
  );
  t.is(line(output, 'last:'), 'last: a > b, IPv4');
  t.regex(line(output, 'ovn-nbctl'), /^- .*ovn-nbctl lsp-set-port-security lp1 …$/);
  t.true(output.lines.length < 25, 'a page');
});

test('why: a node that is away, and a port that is nowhere', async (t) => {
  const away = await showWhy('lp1', controller(status, false), fleet({ hv1: 'its agent is not connected' }));
  t.is(away.status, 3);
  t.is(line(away, '- hv1'), '- hv1: its agent is not connected');
  const unbound = { ...status, chassis: '', up: false, problems: ['no interface has this iface-id'] };
  const nowhere = await showWhy('lp1', controller(unbound), fleet({}));
  t.is(line(nowhere, '- no'), '- no interface has this iface-id');
  t.is(line(nowhere, 'kernel'), 'No node has it in its kernel.');
  await t.throwsAsync(showWhy('lp2', controller(status), fleet({})), {
    message: "there is no logical port 'lp2'; did you mean 'lp1'?",
  });
});

test('why: without a controller the agent says what it knows', async (t) => {
  const alone = { ports: { ...ports.ports, controller_state: 'backoff' } };
  const output = await showWhy('lp1', undefined, fleet({ '': [alone, { drops: {} }] }));
  t.is(line(output, '- hv1'), '- hv1 has no controller (backoff): it keeps to what it was last told');
  t.is(line(output, 'Nothing'), 'Nothing was dropped at it.');
});

test('advice: none for what only the packet decides', (t) => {
  t.is(adviceFor({ port: 'lp1', switch: 'sw0', reason: 'hairpin' }), '');
  t.regex(
    adviceFor({ port: 'lp1', switch: 'sw0', reason: 'egress_port_disabled' }),
    /lsp-set-enabled lp1 enabled/,
  );
});
