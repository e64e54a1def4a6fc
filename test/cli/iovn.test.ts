import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';

import test, { type ExecutionContext } from 'ava';

import { runIovn } from '../../cli/run.js';
import { packageRoot, packageVersion } from '../../common/package-root.js';
import { type InspectData, serveInspect } from '../support/fake-inspect.js';

const now = Date.now() / 1000;
const data: InspectData = {
  status: {
    version: '0.1.0',
    started_at: now - 3600,
    databases: [
      { database: 'OVN_Northbound', remote: 'unix:/nb', state: 'connected', since: now - 3600 },
      {
        database: 'OVN_Southbound',
        remote: 'tcp:1.2.3.4:6642',
        state: 'backing off',
        since: now - 5,
        error: 'refused',
      },
    ],
    nb_cfg_nb: '7',
    nb_cfg_sb: 7,
    nb_cfg_nodes: 6,
    nodes_connected: 1,
    absent_nodes: [{ name: 'hv2', since: now - 600 }, { name: 'hv3' }],
    switches: 1,
    ports: 2,
    ports_up: 1,
    unsupported: [{ kind: 'ACL', object: 'sw0 1000', uuid: 'u', detail: 'traffic is not filtered' }],
    invalid: [
      {
        table: 'Logical_Switch_Port',
        object: 'lp2',
        uuid: 'u',
        column: 'addresses',
        value: 'x\u001b[31m',
        reason: 'no MAC',
      },
    ],
  },
  nodes: [
    {
      chassis: { name: 'hv1', hostname: 'host-one', encaps: [{ type: 'geneve', ip: '192.0.2.11' }] },
      connected: true,
      since: now - 60,
      peer: '192.0.2.11:40000',
      agent_version: '0.1.0',
      kernel_release: '6.1.0',
      kernel_features: ['clsact'],
      generation_sent: '9007199254740991',
      generation_applied: 4,
      nb_cfg: 7,
      last_apply_seconds: 0.0123,
      errors: [{ id: { kind: 'Port', name: 'lp2' }, code: 'map_full', message: 'no room' }],
      interfaces: [
        { name: 'tap1', iface_id: 'lp1', ifindex: 5, link_up: true, installed_binding: 'b', role: 'main' },
        { name: 'tap2', iface_id: 'lp2', ifindex: 6, installed_binding: 'b', role: 'waiting' },
        { name: 'tap3', iface_id: 'lp3', error: 'no such device' },
      ],
      status: {
        drift_repaired: 2,
        attach_mode: 'clsact',
        maps: [{ name: 'ports', entries: 1, capacity: 4096 }],
      },
      switches: 1,
      ports: 2,
    },
    { chassis: { name: 'hv2', hostname: 'host-two' }, connected: false, since: now - 600 },
  ],
  ports: [
    {
      name: 'lp1',
      switch: 'sw0',
      datapath_key: 1,
      port_key: 2,
      enabled: true,
      chassis: 'hv1',
      interface: 'tap1',
      up: true,
      addresses: ['00:00:00:00:00:01 10.0.0.1'],
    },
    {
      name: 'lp2',
      switch: 'sw0',
      datapath_key: 1,
      port_key: 3,
      problems: ['no interface has this iface-id'],
    },
  ],
  switches: [
    {
      name: 'sw0',
      nb_uuid: 'uuid-of-sw0',
      datapath: 'uuid-of-datapath',
      datapath_key: 1,
      fdb_age_threshold_seconds: 300,
      port_count: 3,
      ports_up: 1,
      learned_macs: 2,
      nodes: ['hv1'],
      localnets: [{ port: 'ln0', network_name: 'physnet', tag: 7 }],
      groups: [
        { name: '_MC_flood', tunnel_key: 32768, ports: ['lp1', 'lp2'] },
        { name: '_MC_unknown', tunnel_key: 32769, ports: ['ln0'] },
      ],
      ports: [{ name: 'lp1', switch: 'sw0', up: true, enabled: true, chassis: 'hv1', interface: 'tap1' }],
    },
    { name: 'empty', nb_uuid: 'uuid-of-empty' },
  ],
  fleet: {
    hv1: [{ verification: { entries_compared: 1, differences: [{ kind: 'missing', map: 'ports' }] } }],
    hv2: 'its agent is not connected since then',
  },
  fdb: [
    {
      mac: '02:00:00:00:00:09',
      switch: 'sw0',
      port: 'lp1',
      datapath_key: 1,
      port_key: 2,
      node: 'hv1',
      seen_at: now - 180,
    },
    { mac: '02:00:00:00:00:0a', switch: 'sw0', datapath_key: 1, port_key: 9 },
  ],
};

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const main = path.join(packageRoot, 'cli/main.ts');
  const child = spawn(process.execPath, ['--import=tsx', main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, ...output };
}

/** In this process, which is quicker. */
async function runHere(args: readonly string[]): Promise<Outcome> {
  const output = { stdout: '', stderr: '' };
  const status = await runIovn(args, {
    write: (text) => (output.stdout += text),
    warn: (text) => (output.stderr += text),
  });
  return { status, ...output };
}

async function iovn(t: ExecutionContext, ...args: string[]): Promise<Outcome> {
  const { target, close } = await serveInspect(data);
  t.teardown(close);
  return runHere(['--controller', target, '--insecure', ...args]);
}

/** The words of the line that begins with `first`. */
function line(output: string, first: string): string {
  const found = output.split('\n').find((each) => each.trim().startsWith(first));
  return (found ?? `no line begins with ${first}`).trim().replaceAll(/\s+/g, ' ');
}

test.serial('status: databases, numbers, what is not done and what can’t be used', async (t) => {
  const { status, stdout, stderr } = await iovn(t, 'status');
  t.deepEqual([status, stderr], [0, '']);
  t.is(line(stdout, 'Controller'), 'Controller 0.1.0, running for 60 min');
  t.is(line(stdout, 'nb_cfg'), 'nb_cfg northbound 7, southbound 7, all nodes 6');
  t.is(line(stdout, 'Ports'), 'Ports 2, 1 of them up');
  t.is(line(stdout, 'Nodes'), 'Nodes 1 connected, 2 gone');
  t.regex(line(stdout, 'hv2'), /^hv2 20\d\d-\S+Z, 10 min ago$/);
  t.is(line(stdout, 'hv3'), 'hv3 before this controller started');
  t.regex(
    line(stdout, 'OVN_Southbound'),
    /^OVN_Southbound backing off for \d+ s tcp:1\.2\.3\.4:6642 refused$/,
  );
  t.is(line(stdout, 'ACL'), 'ACL sw0 1000 traffic is not filtered');
  t.is(line(stdout, 'Logical_Switch_Port'), 'Logical_Switch_Port lp2 addresses x\\x1b[31m no MAC');
});

test.serial('status --json: the reply with numbers as numbers', async (t) => {
  const { stdout } = await iovn(t, 'status', '--json');
  const reply = JSON.parse(stdout) as Record<string, unknown>;
  t.like(reply, { nb_cfg_nb: 7, nb_cfg_nodes: 6, ports: 2, version: '0.1.0' });
});

test.serial('ports: place, state and problems', async (t) => {
  const { status, stdout } = await iovn(t, 'ports');
  t.is(status, 0);
  t.is(line(stdout, 'lp1'), 'lp1 sw0 up hv1 tap1 1/2 00:00:00:00:00:01 10.0.0.1 -');
  t.is(line(stdout, 'lp2'), 'lp2 sw0 down, disabled - - 1/3 - no interface has this iface-id');
});

test.serial('ports --switch --node select', async (t) => {
  const { stdout } = await iovn(t, 'ports', '--switch', 'sw0', '--node', 'hv1', '--json');
  const reply = JSON.parse(stdout) as { ports: { name: string }[] };
  t.deepEqual(
    reply.ports.map(({ name }) => name),
    ['lp1'],
  );
});

test.serial('ports of a node that has none are none', async (t) => {
  const { status, stdout } = await iovn(t, 'ports', '--node', 'hv2');
  t.deepEqual([status, stdout], [0, 'no ports\n']);
});

test.serial('fdb: learnt MACs and where they are', async (t) => {
  const { status, stdout } = await iovn(t, 'fdb', '--switch', 'sw0');
  t.is(status, 0);
  t.is(line(stdout, '02:00:00:00:00:09'), '02:00:00:00:00:09 sw0 lp1 hv1 1/2 3 min ago');
  t.is(line(stdout, '02:00:00:00:00:0a'), '02:00:00:00:00:0a sw0 - - 1/9 -');
  const json = await iovn(t, 'fdb', '--json');
  t.is((JSON.parse(json.stdout) as { entries: unknown[] }).entries.length, 2);
  const unknown = await iovn(t, 'fdb', '--switch', 'swO');
  t.deepEqual([unknown.status, unknown.stderr], [1, "iovn: there is no switch 'swO'; did you mean 'sw0'?\n"]);
});

test.serial('switch show: one with its ports and groups, or all', async (t) => {
  const { status, stdout } = await iovn(t, 'switch', 'show', 'sw0');
  t.is(status, 0);
  t.is(line(stdout, 'NB row'), 'NB row Logical_Switch uuid-of-sw0');
  t.is(line(stdout, 'SB row'), 'SB row Datapath_Binding uuid-of-datapath, tunnel key 1');
  t.is(line(stdout, 'Localnet'), 'Localnet ln0 to physnet, VLAN 7');
  t.is(line(stdout, 'Learnt'), 'Learnt MACs 2, forgotten after 300 s');
  t.is(line(stdout, 'lp1'), 'lp1 sw0 up hv1 tap1 0/0 - -');
  t.is(line(stdout, 'flood'), 'flood: broadcast and multicast 32768 2 lp1 lp2');
  t.is(line(stdout, 'unknown'), 'unknown: to a MAC that no port lists 32769 1 ln0');
  const all = await iovn(t, 'switch', 'show');
  t.is(line(all.stdout, 'sw0'), 'sw0 1 3 1 2 hv1 ln0 to physnet, VLAN 7 uuid-of-sw0');
  t.is(line(all.stdout, 'empty'), 'empty 0 0 0 0 - - uuid-of-empty');
  const json = await iovn(t, 'switch', 'show', 'sw0', '--json');
  t.like(JSON.parse(json.stdout), { switches: [{ name: 'sw0', ports: [{ name: 'lp1' }] }] });
  const unknown = await iovn(t, 'switch', 'show', 'sv0');
  t.deepEqual([unknown.status, unknown.stderr], [1, "iovn: there is no switch 'sv0'; did you mean 'sw0'?\n"]);
});

test.serial('exit codes are what --help says', async (t) => {
  const { stdout: help } = await run(['--help']);
  for (const code of ['0  done', '1  it failed', '2  wrong usage', '3  some nodes'])
    t.true(help.includes(`  ${code}`));
  const { status: done } = await iovn(t, 'switch', 'show', 'sw0');
  const { status: unknown } = await iovn(t, 'node', 'show', 'hv9');
  const differing = await iovn(t, 'verify', '--node', 'hv1');
  t.true(differing.stdout.includes('missing'));
  const incomplete = await iovn(t, 'drops');
  t.is(incomplete.stderr, 'iovn: node hv2: its agent is not connected since then\n');
  const { status: usage } = await runHere(['trace', '--insecure']);
  t.deepEqual([done, unknown, differing.status, usage, incomplete.status], [0, 1, 1, 2, 3]);
});

test.serial('node list', async (t) => {
  const { stdout } = await iovn(t, 'node', 'list');
  t.regex(
    line(stdout, 'hv1'),
    /^hv1 host-one connected for \d+ s geneve 192\.0\.2\.11 2 4 of 9007199254740991 7 2$/,
  );
  t.regex(line(stdout, 'hv2'), /^hv2 host-two disconnected for 10 min - 0 0 of 0 0 0$/);
});

test.serial('node show, by chassis name or hostname', async (t) => {
  for (const name of ['hv1', 'host-one']) {
    const { status, stdout } = await iovn(t, 'node', 'show', name);
    t.is(status, 0);
    t.is(line(stdout, 'Kernel 6'), 'no line begins with Kernel 6');
    t.regex(stdout, /^Kernel +6\.1\.0 clsact$/m);
    t.is(line(stdout, 'Last apply'), 'Last apply 12.3 ms');
    t.is(line(stdout, 'tap1'), 'tap1 lp1 5 up yes main -');
    t.is(line(stdout, 'tap2'), 'tap2 lp2 6 down yes additional, waits for activation -');
    t.is(line(stdout, 'tap3'), 'tap3 lp3 0 down no - no such device');
    t.is(line(stdout, 'Port '), 'Port lp2 map_full no room');
    t.is(line(stdout, 'ports '), 'ports 1 4096');
  }
});

test.serial('node show --json: nested numbers, too', async (t) => {
  const { stdout } = await iovn(t, 'node', 'show', 'hv1', '--json');
  const node = JSON.parse(stdout) as Record<string, unknown>;
  t.like(node, { generation_sent: 9007199254740991, generation_applied: 4, nb_cfg: 7 });
  t.like(node['status'], { drift_repaired: 2, maps: [{ name: 'ports', entries: 1, capacity: 4096 }] });
});

test.serial('unknown names are named, with what is similar', async (t) => {
  const node = await iovn(t, 'node', 'show', 'hv11');
  t.deepEqual([node.status, node.stdout], [1, '']);
  t.is(node.stderr, "iovn: there is no node 'hv11'; did you mean 'hv1'?\n");
  const ofNode = await iovn(t, 'ports', '--node', 'zzzzzzzz');
  t.deepEqual([ofNode.status, ofNode.stderr], [1, "iovn: there is no node 'zzzzzzzz'\n"]);
  const ofSwitch = await iovn(t, 'ports', '--switch', 'sw1');
  t.deepEqual(
    [ofSwitch.status, ofSwitch.stderr],
    [1, "iovn: there is no switch 'sw1'; did you mean 'sw0'?\n"],
  );
});

test.serial('what the controller refuses is passed on', async (t) => {
  const { status, stderr } = await iovn(t, 'ports', '--switch', 'refuse me');
  t.is(status, 1);
  t.regex(stderr, /^iovn: the controller at 127\.0\.0\.1:\d+ says: not for you\n$/);
});

test.serial('a controller that is not there is one line with its address and the reason', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  const { status, stderr } = await run(['status', '--insecure'], { IOVN_CONTROLLER: `127.0.0.1:${port}` });
  t.is(status, 1);
  t.is(
    stderr,
    `iovn: no connection to the controller at 127.0.0.1:${port}: connect ECONNREFUSED 127.0.0.1:${port}\n`,
  );
});

test.serial('a controller that does not answer is given up', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { status, stderr } = await run(['status', '--insecure', '--controller', `127.0.0.1:${port}`]);
  t.is(status, 1);
  t.is(stderr, `iovn: no answer from the controller at 127.0.0.1:${port} within 5 s\n`);
});

for (const [args, message] of [
  [['drops', '--agent', 'a', '--state-dir', 'b'], '--agent and --state-dir both name an agent'],
  [['status', '--state-dir', 'b'], 'only a controller can answer this'],
  [['log-level', 'loud', '--insecure'], "there is no level 'loud'"],
  [['log-level', '--controller-only', '--node', 'x', '--insecure'], '--controller-only and --node'],
  [['completion', 'tcsh'], "command-argument value 'tcsh' is invalid for argument 'SHELL'"],
  [['status'], 'give --tls-cert, --tls-key and --tls-ca, or --insecure'],
  [['status', '--insecure', '--controller', 'x'], "--controller 'x': expected HOST:PORT"],
  [['frobnicate'], "unknown command 'frobnicate'"],
  [['node', 'show'], "missing required argument 'NODE'"],
  [['ports', '--swich', 'sw0'], "unknown option '--swich' (Did you mean --switch?)"],
  [['status', 'extra'], 'too many arguments'],
] as const) {
  test.serial(`usage: ${args.join(' ')}`, async (t) => {
    const { status, stdout, stderr } = await runHere(args);
    t.deepEqual([status, stdout], [2, '']);
    t.true(stderr.startsWith(`iovn: ${message}`), stderr);
    t.is(stderr.split('\n').length, 2, 'one line');
  });
}

test.serial('--version, --help, and no command at all', async (t) => {
  t.deepEqual(await run(['--version']), { status: 0, stdout: `${packageVersion}\n`, stderr: '' });
  const help = await run(['ports', '--help']);
  t.is(help.status, 0);
  t.regex(help.stdout, /--controller <HOST:PORT>/);
  t.is((await run([])).status, 2);
});
