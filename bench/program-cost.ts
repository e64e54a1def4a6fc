/**
 * What a packet costs in the program, by BPF_PROG_TEST_RUN: `npm run bench:program`. One unicast path with port security
 * on both sides, with few and with many ports and entries around it; and what it costs that packets can be traced and drops
 * are sampled. The figures depend on the machine; the ratios say whether the cost does on the size of the network. Results go to bench/results/program-cost.json and .md.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { macBytes } from '../common/addresses.js';
import { packageRoot } from '../common/package-root.js';
import { allowedAddressFlags, allowedMacFlags, ipFamily, portFlags } from '../generated/bpf/layouts.js';
import { BpfHarness, traceObjectFile, vifObjectFile } from '../test/bpf/harness.js';
import { compileProgram, variants } from '../test/support/compile-program.js';
import { ethernet, icmp, ip, ipv4, mac } from '../test/support/packets.js';
import { createDevice, enterPrivateNamespaces } from '../test/support/private-namespace.js';
import { plainPort } from '../test/support/plain-port.js';

const datapathKey = 1;
const repeats = 200_000;
const rounds = 7;
const maximumRatio = 1.25;

interface Setting {
  readonly name: string;
  readonly ports: number;
  /** Entries with an address, per port. */
  readonly entries: number;
}

interface Result extends Setting {
  readonly nsPerPacket: number;
  /** Of the first setting. */
  readonly ratio: number;
}

const settings: readonly Setting[] = [
  { name: 'few ports, few entries', ports: 10, entries: 1 },
  { name: 'many ports', ports: 4095, entries: 1 },
  { name: 'many entries', ports: 10, entries: 100 },
];

function macOf(port: number): string {
  return `02:00:00:00:${Math.floor(port / 256)
    .toString(16)
    .padStart(2, '0')}:${(port % 256).toString(16).padStart(2, '0')}`;
}

function addressOf(port: number, entry: number): string {
  return `10.${entry}.${Math.floor(port / 256)}.${port % 256}`;
}

function addPort(harness: BpfHarness, port: number, ifindex: number, entries: number): void {
  const ownMac = macBytes(mac(macOf(port)));
  const flags = portFlags.PORT_ENABLED | portFlags.PORT_SECURITY;
  harness.put('ports', port, {
    ...plainPort,
    datapathKey,
    portKey: port,
    ifindex,
    flags,
  });
  harness.put('destinations', { datapathKey, mac: ownMac }, { portKey: port, slot: port });
  harness.put('allowed_macs', { slot: port, mac: ownMac }, { flags: allowedMacFlags.ALLOWED_IP4 });
  for (let entry = 0; entry < entries; entry++) {
    const address = new Uint8Array(16);
    address.set(ip(addressOf(port, entry)));
    const both = allowedAddressFlags.ALLOWED_SOURCE | allowedAddressFlags.ALLOWED_DESTINATION;
    harness.put(
      'allowed_addresses',
      { slot: port, mac: ownMac, family: ipFamily.FAMILY_IP4, address },
      { flags: both },
    );
  }
}

function addNetwork(harness: BpfHarness, { ports, entries }: Setting, device: number): void {
  for (let port = 1; port <= ports; port++) addPort(harness, port, device, entries);
  harness.put('ports_by_interface', { ifindex: device, vlanId: 0 }, 1);
}

function packetTo(port: number, source = macOf(1)): Uint8Array {
  return ethernet(
    { source, destination: macOf(port) },
    ipv4({ source: addressOf(1, 0), destination: addressOf(port, 0) }, icmp(new Uint8Array(22))),
  );
}

/** The fastest of several rounds: the rest is the machine's other work. */
function measure(setting: Setting, device: number): number {
  const harness = new BpfHarness(undefined, 4096);
  try {
    addNetwork(harness, setting, device);
    const packet = packetTo(setting.ports);
    const times = Array.from({ length: rounds }, () => harness.time(packet, { ifindex: device }, repeats));
    if (harness.counters(setting.ports).sentPackets === 0n) throw new Error('the packet is not delivered');
    return Math.min(...times);
  } finally {
    harness.close();
  }
}

/** What can be seen of packets, and the programs without it. */
interface Build {
  readonly name: string;
  readonly object: string;
}

interface Observed {
  readonly name: string;
  readonly delivered: number;
  readonly dropped: number;
}

/** Round by round in turns, so that the machine's other work hits all of them; a packet that is delivered and one that is dropped. */
function measureBuilds(builds: readonly Build[], device: number): readonly Observed[] {
  const [setting] = settings;
  if (setting === undefined) throw new Error('there is no setting');
  const delivered = packetTo(setting.ports);
  const dropped = packetTo(setting.ports, '02:00:00:00:ff:ff');
  const sides = builds.map(({ name, object }) => ({
    name,
    harness: new BpfHarness(object, 4096),
    delivered: [] as number[],
    dropped: [] as number[],
  }));
  try {
    for (const { harness } of sides) addNetwork(harness, setting, device);
    for (let round = 0; round < rounds; round++) {
      for (const side of sides) {
        side.delivered.push(side.harness.time(delivered, { ifindex: device }, repeats));
        side.dropped.push(side.harness.time(dropped, { ifindex: device }, repeats));
      }
    }
    for (const { harness, name } of sides)
      if (harness.drops(1)['port_security_mac'] !== rounds * repeats) throw new Error(`${name}: no drop`);
    return sides.map((side) => ({
      name: side.name,
      delivered: Math.min(...side.delivered),
      dropped: Math.min(...side.dropped),
    }));
  } finally {
    for (const { harness } of sides) harness.close();
  }
}

function observe(device: number): readonly Observed[] {
  const without = [compileProgram(variants.withoutTrace), compileProgram(variants.withoutSamples)] as const;
  try {
    return measureBuilds(
      [
        { name: 'the programs as they are: can be traced, drops are sampled', object: vifObjectFile },
        { name: 'without the calls of `trace()`', object: without[0].object },
        { name: 'without samples of drops', object: without[1].object },
        { name: 'those that trace (its queue full)', object: traceObjectFile },
      ],
      device,
    );
  } finally {
    for (const { folder } of without) rmSync(folder, { recursive: true });
  }
}

function markdown(
  results: readonly Result[],
  observed: readonly Observed[],
  verified: Readonly<Record<string, number>>,
): string {
  const rows = results.map(
    ({ name, ports, entries, nsPerPacket, ratio }) =>
      `| ${name} | ${ports} | ${entries} | ${nsPerPacket} | ${ratio.toFixed(2)} |`,
  );
  const programs = Object.entries(verified).map(
    ([name, instructions]) => `| \`${name}\` | ${instructions} |`,
  );
  return [
    '# What a packet costs in the program',
    '',
    `\`npm run bench:program\`, Linux ${os.release()}: a 64-byte IPv4 packet from one VM to another, port security on both sides.`,
    '',
    '| setting | ports of the switch | entries per port | ns per packet | × the first |',
    '|---|---:|---:|---:|---:|',
    ...rows,
    '',
    'What it costs that packets can be seen, with the first setting; in ns per packet, measured in turns:',
    '',
    '| programs | delivered | dropped by port security |',
    '|---|---:|---:|',
    ...observed.map((each) => `| ${each.name} | ${each.delivered} | ${each.dropped} |`),
    '',
    '| program | instructions that the verifier walks through |',
    '|---|---:|',
    ...programs,
    '',
  ].join('\n');
}

function verifiedInstructions(): Readonly<Record<string, number>> {
  const harness = new BpfHarness();
  try {
    return harness.verifiedInstructions();
  } finally {
    harness.close();
  }
}

enterPrivateNamespaces();
const device = createDevice('cost');
const measured = settings.map((setting) => ({ ...setting, nsPerPacket: measure(setting, device) }));
const results = measured.map((each) => ({
  ...each,
  ratio: each.nsPerPacket / (measured[0]?.nsPerPacket ?? Number.NaN),
}));
const observed = observe(device);
const verified = verifiedInstructions();
const folder = path.join(packageRoot, 'bench', 'results');
mkdirSync(folder, { recursive: true });
const report = { kernel: os.release(), results, observed, verifiedInstructions: verified };
writeFileSync(path.join(folder, 'program-cost.json'), `${JSON.stringify(report, undefined, 2)}\n`);
const text = markdown(results, observed, verified);
writeFileSync(path.join(folder, 'program-cost.md'), text);
console.log(text);
if (results.some(({ ratio }) => ratio > maximumRatio)) {
  console.error(
    `the cost of a packet depends on the size of the network: more than ${maximumRatio} × the first`,
  );
  process.exitCode = 1;
}
