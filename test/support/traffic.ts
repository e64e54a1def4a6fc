import { existsSync, statSync } from 'node:fs';

import type { NetworkNamespace } from '../../testbed/namespace.js';
import { readPcap } from '../../common/pcap.js';
import type { Daemon } from '../../testbed/process.js';
import type { Testbed } from '../../testbed/testbed.js';
import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';

const receiveOnce = `
const net = require('node:net'), crypto = require('node:crypto');
const hash = crypto.createHash('sha256');
const server = net.createServer((socket) => {
  socket.on('data', (data) => hash.update(data));
  socket.on('end', () => { process.stdout.write(hash.digest('hex')); socket.destroy(); server.close(); });
}).listen(7000);`;

const sendOnce = `
const net = require('node:net'), crypto = require('node:crypto');
const [host, bytes] = process.argv.slice(1);
const hash = crypto.createHash('sha256');
const data = crypto.randomBytes(Number(bytes));
const attempt = () => {
  const socket = net.connect(7000, host, () => socket.end(data));
  socket.on('error', (error) => { if (error.code === 'ECONNREFUSED') setTimeout(attempt, 50); else throw error; });
  socket.on('close', (failed) => { if (!failed) process.stdout.write(hash.update(data).digest('hex')); });
};
attempt();`;

function script(vm: Vm, source: string, ...args: readonly string[]): Promise<string> {
  return vm.namespace.runOk([process.execPath, '-e', source, ...args], { timeoutMs: 30_000 });
}

/** Sends random bytes by TCP; whether they arrived as they were sent. Throws when they don't arrive within half a minute. */
export async function transferTcp(from: Vm, to: Vm, bytes: number, address = to.address): Promise<boolean> {
  const [received, sent] = await Promise.all([
    script(to, receiveOnce),
    script(from, sendOnce, address, String(bytes)),
  ]);
  return received === sent && sent.length === 64;
}

const receiveDatagrams = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7001))
print("bound", flush=True)
s.settimeout(5)
sizes = []
try:
    while len(sizes) < int(sys.argv[1]):
        sizes.append(len(s.recv(65535)))
except socket.timeout:
    pass
print(sizes)`;

/* socket(7), udp(7): SOL_UDP, UDP_SEGMENT */
const sendSegmented = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(17, 103, int(sys.argv[2]))
s.sendto(bytes(int(sys.argv[2]) * int(sys.argv[3])), (sys.argv[1], 7001))`;

/** Sends datagrams in one go, for the kernel to segment (UDP_SEGMENT, as QUIC does); the sizes of those that arrive. */
export async function sendUdpGso(
  bed: Testbed,
  from: Vm,
  to: Vm,
  size: number,
  count: number,
): Promise<string> {
  const receiver = bed.daemon({
    name: `${to.name}-datagrams-${performance.now().toFixed(0)}`,
    command: to.namespace.command(['python3', '-c', receiveDatagrams, String(count)]),
  });
  receiver.start();
  await waitFor('the receiver is bound', () => receiver.log().includes('bound'));
  await from.namespace.runOk(['python3', '-c', sendSegmented, to.address, String(size), String(count)]);
  await receiver.ended();
  return receiver.log().split('\n')[1] ?? '';
}

/** What passes an interface from now on, in both directions. */
export class Capture {
  readonly #file: string;
  readonly #daemon: Daemon;

  private constructor(file: string, daemon: Daemon) {
    this.#file = file;
    this.#daemon = daemon;
  }

  static async start(
    bed: Testbed,
    namespace: NetworkNamespace,
    device: string,
    ...filter: readonly string[]
  ): Promise<Capture> {
    const name = `capture-${namespace.name}-${device}-${performance.now().toFixed(0)}`;
    const file = bed.file(`${name}.pcap`);
    const command = [
      'tcpdump',
      '-U',
      '--immediate-mode',
      '-n',
      '-p',
      '-i',
      device,
      '-w',
      file,
      '-Z',
      'root',
      ...filter,
    ];
    const daemon = bed.daemon({ name, command: namespace.command(command) });
    daemon.start();
    await waitFor(`${name} has begun`, () => existsSync(file) && statSync(file).size >= 24);
    return new Capture(file, daemon);
  }

  frames(): readonly Uint8Array[] {
    return readPcap(this.#file);
  }

  async stop(): Promise<readonly Uint8Array[]> {
    await this.#daemon.stop();
    return this.frames();
  }
}
