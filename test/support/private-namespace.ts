import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';

import ffi from 'ffi-napi';

import type { Ifindex } from '../../common/addresses.js';
import { createVeth, readLinks, setUp } from '../../agent/netlink/requests.js';

const newMountNamespace = 0x00020000;
const newNetworkNamespace = 0x40000000;
const mountRecursivePrivate = 0x4000 | 0x40000;

/** Where `enterPrivateNamespaces` mounts a bpf file system that only this process and its children see. */
export const privateBpffs = '/sys/fs/bpf';

/**
 * Moves this process (its main thread, which does all the synchronous work, and the children that it starts) into
 * network and mount namespaces of its own, with a bpf file system of its own. All of it is gone when the process
 * is, however it ends. To be called once, first thing in a test file.
 */
export function enterPrivateNamespaces(): void {
  const libc = ffi.Library(null, {
    unshare: ['int', ['int']],
    mount: ['int', ['string', 'string', 'string', 'ulong', 'pointer']],
  });
  const must = (result: number, what: string): void => {
    if (result !== 0) throw new Error(`${what} failed with errno ${ffi.errno()}: the tests need root`);
  };
  must(libc.unshare(newMountNamespace | newNetworkNamespace), 'unshare');
  must(libc.mount('none', '/', '', mountRecursivePrivate, Buffer.alloc(8)), 'making mounts private');
  must(libc.mount('bpf', privateBpffs, 'bpf', 0, Buffer.alloc(8)), 'mounting a bpf file system');
  /* Interfaces send nothing of their own accord. */
  writeFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', '1');
  setUp(1 as Ifindex);
}

/** A network namespace that lives as long as this process, behind a veth whose outer end is in ours. */
export interface Guest {
  /** The outer end. */
  readonly ifindex: Ifindex;
  readonly name: string;
  readonly mac: string;
  /** The command line that runs `command` in the namespace. */
  command(command: readonly string[]): string[];
  stop(): void;
}

export interface GuestOptions {
  /** At most 13 characters. */
  readonly name: string;
  readonly mac: string;
  readonly address: string;
  /** What others have in this network; no ARP is needed then. */
  readonly neighbours?: Readonly<Record<string, string>>;
}

/** Makes a guest with its interface up. */
export function createGuest({ name, mac, address, neighbours = {} }: GuestOptions): Guest {
  /* Ends when its standard input does, which is when this process ends. */
  const holder = spawn('unshare', ['--net', 'sh', '-c', 'ip link set lo up; echo; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const inside = `/proc/${holder.pid ?? 0}/ns/net`;
  const command = (words: readonly string[]): string[] => ['nsenter', `--net=${inside}`, '--', ...words];
  waitUntilInside(inside);
  createVeth(name, `${name}-i`);
  runSync('ip', 'link', 'set', `${name}-i`, 'address', mac);
  runSync('ip', 'link', 'set', `${name}-i`, 'netns', String(holder.pid));
  const run = (...words: string[]): void => {
    const [program = '', ...args] = command(words);
    runSync(program, ...args);
  };
  run('ip', 'link', 'set', `${name}-i`, 'name', 'eth0');
  run('sysctl', '-qw', 'net.ipv6.conf.eth0.disable_ipv6=1');
  run('ip', 'address', 'add', address, 'dev', 'eth0');
  run('ip', 'link', 'set', 'eth0', 'up');
  for (const [ip, lladdr] of Object.entries(neighbours)) {
    run('ip', 'neighbour', 'add', ip, 'lladdr', lladdr, 'dev', 'eth0', 'nud', 'permanent');
  }
  const ifindex = findIfindex(name);
  setUp(ifindex);
  return { ifindex, name, mac, command, stop: () => holder.kill('SIGKILL') };
}

/** The index of an interface of this namespace. */
export function findIfindex(name: string): Ifindex {
  const link = readLinks().find((candidate) => candidate.name === name);
  if (link === undefined) throw new Error(`no interface ${name}`);
  return link.ifindex;
}

/** Makes a veth pair in this namespace and returns the index of `name`; the other end is `${name}-p`. */
export function createDevice(name: string): Ifindex {
  createVeth(name, `${name}-p`);
  setUp(findIfindex(`${name}-p`));
  const ifindex = findIfindex(name);
  setUp(ifindex);
  return ifindex;
}

/** Runs a program to its end and returns what it printed. Throws when it fails. */
export function runSync(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 30_000 });
  if (status !== 0) throw new Error(`${[program, ...args].join(' ')}: ${stderr}`);
  return stdout;
}

/** The child has made its namespace when it is another than ours. */
function waitUntilInside(inside: string): void {
  const script = `for i in $(seq 500); do a=$(readlink ${inside}) && [ "$a" != "$(readlink /proc/self/ns/net)" ] && exit 0; sleep 0.01; done; exit 1`;
  runSync('sh', '-c', script);
}
