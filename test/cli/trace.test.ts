import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import test from 'ava';

import type { NodeClient } from '../../cli/node-client.js';
import type { NodeAnswer } from '../../inspect/node-answers.js';
import { tracePackets } from '../../cli/trace/command.js';
import { IovnError } from '../../common/errors.js';
import { v1 } from '../../common/proto.js';
import type { NodeReplyInput } from '../../generated/proto/iovn/v1/NodeReply.js';

const port = { name: 'vm1', switch: 'sw0', switch_uuid: 'f00d' };
const flow = 'inport == "vm1" && eth.type == 0x88b5';
const uuid = '11111111-2222-4333-8444-555555555555';
const row = { row_table: 'Logical_Switch_Port', row_uuid: uuid };
const packet = Uint8Array.of(1, 2, 3);

/** As it comes over gRPC. */
function reply(message: NodeReplyInput): NodeAnswer['outcome'] {
  return { reply: v1.NodeReply.deserialize(Buffer.from(v1.NodeReply.serialize(message))) };
}

/** vm1 on hv1, whose broadcasts go to vm3 there and through a tunnel to hv2, which answers or not. */
function network(second: NodeAnswer['outcome']): NodeClient & { readonly asked: [string, number][] } {
  const asked: [string, number][] = [];
  const first = reply({
    trace: {
      program: 'vif_ingress',
      interface: 'tap1',
      steps: [
        { event: 'from port', port: 'vm1', switch: 'sw0', ...row, row_name: 'vm1' },
        { event: 'flood', key: 32768 },
        { event: 'deliver', port: 'vm3', interface: 'tap3', frame: packet },
        { event: 'tunnel', chassis: 'hv2', frame: Uint8Array.of(9, 9) },
      ],
    },
  });
  return {
    asked,
    async *ask(query, node = '') {
      await Promise.resolve();
      if (query.ports) {
        yield { node: 'hv2', outcome: reply({ ports: {} }) };
        yield {
          node: 'hv1',
          outcome: reply({
            ports: { ports: query.ports.port === 'vm1' || query.ports.port === '' ? [port] : [] },
          }),
        };
        return;
      }
      asked.push([`${node} ${query.trace?.port ?? ''}`, query.trace?.frame?.length ?? 0]);
      yield { node, outcome: node === 'hv1' ? first : second };
    },
    close: () => undefined,
  };
}

const refusal = reply({
  trace: {
    program: 'tunnel_ingress',
    steps: [
      { event: 'from tunnel', port: 'vm1', key: 32768 },
      {
        event: 'drop',
        port: 'vm2',
        reason: 'egress_port_security_mac',
        text: 'not in port security',
        ...row,
        row_name: 'vm2',
        row_column: 'port_security',
        row_entries: ['0a:00:00:00:00:02 10.0.0.2', '0a:00:00:00:00:03'],
      },
    ],
  },
});

test('a page tells hop by hop who decided what, and who gets it', async (t) => {
  const client = network(refusal);
  const { lines, status } = await tracePackets(client, false, ['sw0', flow], {});
  t.deepEqual(lines, [
    'packet: 60 bytes',
    'hv1 vif_ingress tap1',
    `  from                  vm1 of switch sw0 (Logical_Switch_Port vm1 ${uuid})`,
    '  L2 switch             → multicast group _MC_flood (32768)',
    '  output                → vm3 on tap3, 3 bytes',
    '  tunnel                → node hv2, 2 bytes',
    'hv2 tunnel_ingress',
    '  from                  vm1 through the tunnel, to key 32768',
    `  drop                  egress_port_security_mac: not in port security, by vm2 (Logical_Switch_Port vm2 ${uuid} port_security "0a:00:00:00:00:02 10.0.0.2", "0a:00:00:00:00:03")`,
    'output: to vm3 on tap3 of hv1, 3 bytes',
  ]);
  t.is(status, 0);
  t.deepEqual(client.asked, [
    ['hv1 vm1', 60],
    ['hv2 ', 2],
  ]);
});

test('the bytes are shown when asked for', async (t) => {
  const { lines, json } = await tracePackets(network(refusal), false, [flow], { detailed: true });
  t.true(lines.includes('    0000  01 02 03'));
  const [trace] = JSON.parse(json) as { hops: { node: string; steps: { frame: string }[] }[] }[];
  t.is(trace?.hops[0]?.steps[2]?.frame, '010203');
});

test('a node without an agent of ours is said, and what came before is shown', async (t) => {
  const fleet = network(refusal);
  const client: NodeClient = {
    ...fleet,
    ask: (query, node) => {
      if (node === 'hv2') throw new IovnError('not_found', "there is no node 'hv2'");
      return fleet.ask(query, node);
    },
  };
  const { lines, status } = await tracePackets(client, false, [flow], {});
  t.true(lines.includes('hv1 vif_ingress tap1'));
  t.is(lines.at(-2), 'hv2: not known: it runs no agent of ours');
  t.is(status, 3);
});

test('a node that does not answer is said, and the trace is incomplete', async (t) => {
  const { lines, status } = await tracePackets(network({ error: 'gone for 5 s' }), false, [flow], {});
  t.is(lines.at(-2), 'hv2: not known: gone for 5 s');
  t.is(status, 3);
  const local = await tracePackets(network(refusal), true, [flow], {});
  t.is(local.lines.at(-2), 'hv2: not known: only this node is asked');
});

test('what cannot be traced is said', async (t) => {
  const client = network(refusal);
  const failing = async (words: readonly string[], settings = {}): Promise<string> =>
    (await t.throwsAsync(tracePackets(client, false, words, settings))).message;
  t.regex(await failing(['inport == "vm11"']), /no node has a port 'vm11'; did you mean 'vm1'\?/);
  t.regex(await failing(['sw1', flow]), /port vm1 is of switch sw0/);
  t.regex(await failing([]), /takes \[SWITCH\] MICROFLOW/);
  t.regex(await failing([], { pcap: '/nowhere' }), /--inport/);
  t.regex(await failing([], { pcap: '/nowhere', inport: 'vm1' }), /no file/);
});

test('the frames of a capture are traced one after the other', async (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'iovn-trace-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'two.pcap');
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4);
  const record = (length: number): Buffer => {
    const bytes = Buffer.alloc(16 + length);
    bytes.writeUInt32LE(length, 8);
    bytes.writeUInt32LE(length, 12);
    return bytes;
  };
  writeFileSync(file, Buffer.concat([header, record(60), record(64)]));
  const client = network(refusal);
  const { lines } = await tracePackets(client, false, [], { pcap: file, inport: 'vm1' });
  t.deepEqual(
    lines.filter((line) => line.startsWith('packet:')),
    ['packet: 60 bytes', 'packet: 64 bytes'],
  );
  t.deepEqual(
    client.asked.map(([, length]) => length),
    [60, 2, 64, 2],
  );
});

/** ln0 is a localnet port on hv1 and hv2, vm1 is on hv1; what leaves by ln0 is taken by vm2 on hv2. */
function provider(): NodeClient & { readonly asked: string[] } {
  const asked: string[] = [];
  const holders: Readonly<Record<string, readonly string[]>> = { ln0: ['hv2', 'hv1'], vm1: ['hv1'] };
  const security = { ...row, row_name: 'vm2', row_column: 'port_security', row_entries: ['a b'] };
  const taken = [
    { event: 'from port', port: 'ln0', switch: 'sw0' },
    { event: 'unicast', port: 'vm2', text: 'learnt' },
    { event: 'egress port security', port: 'vm2', ...security },
    { event: 'deliver', port: 'vm2', interface: 'tap2', frame: packet },
  ];
  return {
    asked,
    async *ask(query, node = '') {
      await Promise.resolve();
      if (query.ports) {
        const { port: name = '' } = query.ports;
        const type = name === 'ln0' ? 'localnet' : '';
        for (const holder of holders[name] ?? [])
          if (node === '' || node === holder)
            yield { node: holder, outcome: reply({ ports: { ports: [{ name, switch: 'sw0', type }] } }) };
        if (name === 'ln0' && node === '') yield { node: 'hv3', outcome: { error: 'gone for 5 s' } };
        return;
      }
      const from = query.trace?.port ?? '';
      asked.push(`${node} ${from} ${query.trace?.frame?.length ?? 0}`);
      const leaves = { event: 'uplink', port: 'ln0', interface: 'eth1', frame: Uint8Array.of(7, 7) };
      const program = from === 'ln0' ? 'uplink_ingress' : 'vif_ingress';
      const steps = from === 'vm1' ? [leaves] : node === 'hv2' ? taken : [{ event: 'to host' }];
      yield { node, outcome: reply({ trace: { program, steps } }) };
    },
    close: () => undefined,
  };
}

test('what leaves by a localnet port is followed to the other nodes on its network', async (t) => {
  const client = provider();
  const { lines, status } = await tracePackets(client, false, ['sw0', flow], {});
  t.deepEqual(lines, [
    'packet: 60 bytes',
    'hv1 vif_ingress',
    '  uplink                → the physical network by ln0 on eth1, 2 bytes',
    'hv2 uplink_ingress',
    '  from                  ln0 of switch sw0',
    '  L2 switch             → vm2, learnt',
    `  egress port security  pass, to vm2 (Logical_Switch_Port vm2 ${uuid} port_security "a b")`,
    '  output                → vm2 on tap2, 3 bytes',
    'hv3: not known: gone for 5 s',
    'output: to the physical network by ln0 on eth1 of hv1, 2 bytes',
    'output: to vm2 on tap2 of hv2, 3 bytes',
  ]);
  t.is(status, 3);
  t.deepEqual(client.asked, ['hv1 vm1 60', 'hv2 ln0 2']);
  const local = await tracePackets(provider(), true, [flow], {});
  t.true(local.lines.includes('others on the network of ln0: not known: only this node is asked'));
});

test('what comes from a physical network comes to every node on it, or to the one that is named', async (t) => {
  const client = provider();
  const outside = 'inport == "ln0" && eth.type == 0x88b5';
  const { lines } = await tracePackets(client, false, [outside], {});
  t.deepEqual(client.asked, ['hv1 ln0 60', 'hv2 ln0 60']);
  t.true(lines.includes('  host                  it goes on to the host'));
  t.true(lines.includes('hv3: not known: gone for 5 s'));
  const one = provider();
  await tracePackets(one, false, [outside], { node: 'hv2' });
  t.deepEqual(one.asked, ['hv2 ln0 60']);
});
