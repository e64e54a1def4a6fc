import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import test from 'ava';
import fc from 'fast-check';

import { applyUpdate, emptyIntent } from '../../agent/intent.js';
import { parseStandaloneFile } from '../../agent/standalone/file.js';
import { standaloneUpdate } from '../../agent/standalone/intent.js';
import { assignKeys } from '../../agent/standalone/keys.js';
import { StandaloneNode } from '../../agent/standalone/node.js';
import { WatchedFile } from '../../agent/standalone/watched-file.js';
import { ConfigError } from '../../common/errors.js';
import { silentLogger } from '../../common/log.js';
import { packageRoot } from '../../common/package-root.js';
import { eventually } from './support/eventually.js';
import { FakeDevices } from './support/fake-devices.js';

const vm1 = "- { name: vm1, interface: tap1, addresses: ['02:00:00:00:00:01 10.0.0.1'] }";

function withPorts(...ports: readonly string[]): string {
  return ['switches:', '- name: sw0', '  ports:', ...ports.map((port) => `  ${port}`)].join('\n');
}

function intentOf(text: string) {
  return applyUpdate(emptyIntent, standaloneUpdate(parseStandaloneFile('f.yaml', text), 'host', 1));
}

const examples = path.join(packageRoot, 'docs', 'examples');

for (const name of readdirSync(examples).filter((each) => each.endsWith('.yaml'))) {
  test(`docs/examples/${name} is valid, and all of it is understood`, (t) => {
    const intent = intentOf(readFileSync(path.join(examples, name), 'utf8'));
    t.deepEqual([...intent.problems], []);
    t.true(intent.ports.size > 0);
  });
}

test('a port becomes what OVN would have made of it', (t) => {
  const security = "port_security: ['02:00:00:00:00:01 10.0.0.0/24']";
  const intent = intentOf(
    withPorts(
      `- { name: vm1, interface: tap1, addresses: ['02:00:00:00:00:01 10.0.0.1 fd00::1'], ${security} }`,
      '- { name: c1, parent: vm1, tag: 42, enabled: false }',
      '- { name: any, interface: tap2, addresses: [unknown] }',
      '- { name: out, localnet: { interface: eth1, tag: 7, ethtype: 802.1ad } }',
    ),
  );
  const port = (name: string) => intent.ports.get(name);
  t.like(port('vm1'), { chassis: 'host', type: '', macs: ['02:00:00:00:00:01'], learnsMacs: false });
  t.deepEqual(port('vm1')?.portSecurity[0]?.addresses[0]?.prefixLength, 24);
  t.is(port('vm1')?.neighbours.length, 2);
  t.deepEqual(port('vm1')?.multicastGroups, [32768]);
  t.like(port('c1'), { parent: 'vm1', tag: 42, enabled: false });
  t.like(port('any'), { learnsMacs: true, multicastGroups: [32768, 32769], neighbours: [] });
  t.like(port('out'), { type: 'localnet', networkName: 'eth1', tag: 7, ethtype: 0x88a8, learnsMacs: false });
  t.deepEqual(port('out')?.multicastGroups, [32768, 32769]);
});

const faults: readonly (readonly [name: string, text: string, message: RegExp])[] = [
  ['not YAML', 'switches: [', /^f\.yaml: not YAML: /],
  ['empty', '', /^f\.yaml:1: must be object/],
  ['no switches', 'switch: []', /^f\.yaml:1: .*(switches|unknown key 'switch')/],
  [
    'an unknown key',
    withPorts(vm1.replace('interface', 'iface')),
    /^f\.yaml:4: switches\[0\]\.ports\[0\]: unknown key 'iface'/,
  ],
  [
    'no place',
    withPorts('- { name: vm1 }'),
    /^f\.yaml:4: .*must have one of 'interface', 'parent' with 'tag', and 'localnet'/,
  ],
  ['two places', withPorts('- { name: a, interface: b, localnet: { interface: c } }'), /must have one of/],
  [
    'a name twice',
    withPorts(vm1, vm1.replace('tap1', 'tap2')),
    /^f\.yaml:5: .*the port vm1 is there already/,
  ],
  [
    'an interface twice',
    withPorts(vm1, vm1.replace('vm1', 'vm2')),
    /^f\.yaml:5: .*the interface tap1 is there already/,
  ],
  [
    'no such parent',
    withPorts('- { name: c, parent: vm9, tag: 1 }'),
    /no port with an interface is named vm9/,
  ],
  [
    'no MAC',
    withPorts(vm1.replace('02:00:00:00:00:01 ', '')),
    /^f\.yaml:4: .*addresses\[0\]: '10\.0\.0\.1' does not start with a MAC/,
  ],
  ['no address', withPorts(vm1.replace('10.0.0.1', 'ten')), /'ten' is not an IP address/],
  [
    'a tag out of range',
    withPorts('- { name: c, parent: vm1, tag: 4096 }'),
    /^f\.yaml:4: switches\[0\]\.ports\[0\]\.tag: must be <= 4095/,
  ],
  ['a device name too long', withPorts(vm1.replace('tap1', 'a'.repeat(16))), /interface: must match pattern/],
];

for (const [name, text, message] of faults) {
  test(`a file with ${name} is refused, and the fault is named`, (t) => {
    const error = t.throws(() => parseStandaloneFile('f.yaml', text), { instanceOf: ConfigError });
    t.regex(error.message, message);
    t.notRegex(error.message, /\n/);
  });
}

test('keys differ, are in range, and stay when others come and go', (t) => {
  const names = fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(names, (all) => {
      const keys = assignKeys(all, 32_767);
      t.is(new Set(keys.values()).size, all.length);
      t.true([...keys.values()].every((key) => key >= 1 && key <= 32_767));
      t.deepEqual(assignKeys(all.toReversed(), 32_767), keys);
    }),
  );
  const before = assignKeys(['sw0', 'sw1', 'sw2'], 2 ** 24 - 1);
  t.is(assignKeys(['sw2'], 2 ** 24 - 1).get('sw2'), before.get('sw2'));
  t.is(new Set(assignKeys(['a', 'b', 'c'], 3).values()).size, 3);
  t.throws(() => assignKeys(['a', 'b'], 1), { instanceOf: RangeError });
});

test('interfaces and uplinks are those of the file, and a missing device is named', (t) => {
  const devices = new FakeDevices();
  devices.add('tap1', 5);
  const text = withPorts(
    vm1,
    '- { name: vm2, interface: tap2 }',
    '- { name: out, localnet: { interface: eth1 } }',
  );
  const node = new StandaloneNode({
    name: 'host',
    devices,
    file: () => parseStandaloneFile('f.yaml', text),
    problem: () => 'line 3',
    onChange: () => () => undefined,
  });
  const { interfaces, uplinks, config } = node.read();
  t.deepEqual(
    interfaces.map(({ name, device, error }) => [name, device?.ifindex, error]),
    [
      ['tap1', 5, undefined],
      ['tap2', undefined, 'there is no network device tap2'],
    ],
  );
  t.deepEqual(uplinks.get('eth1'), { error: 'there is no network device eth1' });
  t.is(config.problem, 'line 3');
  t.is(config.chassis?.name, 'host');
});

test('a file is followed; one with a fault leaves what was in force', async (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'iovn-standalone-'));
  const stop = new AbortController();
  t.teardown(() => {
    stop.abort();
    rmSync(folder, { recursive: true });
  });
  const file = path.join(folder, 'network.yaml');
  writeFileSync(file, withPorts(vm1));
  const watched = new WatchedFile(file, silentLogger);
  let changes = 0;
  watched.onChange(() => (changes += 1));
  watched.follow(stop.signal);
  const ports = () => watched.content.switches[0]?.ports?.length;
  t.is(ports(), 1);

  writeFileSync(file, 'switches: {}');
  await eventually(() => watched.status.problem !== undefined);
  t.regex(
    watched.status.problem ?? '',
    /network\.yaml:1: switches: must be array; what was there before is still/,
  );
  t.is(ports(), 1);

  /* As editors do. */
  writeFileSync(`${file}.new`, withPorts(vm1, '- { name: vm2, interface: tap2 }'));
  renameSync(`${file}.new`, file);
  await eventually(() => ports() === 2);
  t.is(watched.status.problem, undefined);

  rmSync(file);
  await eventually(() => watched.status.problem !== undefined);
  t.is(ports(), 2);
  t.true(changes >= 3);
});
