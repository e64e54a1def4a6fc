import type { Daemon } from '../../testbed/process.js';
import type { Testbed } from '../../testbed/testbed.js';
import type { Vm } from '../../testbed/vm.js';
import { waitFor } from '../../testbed/wait.js';

const recordBytes = 1024;
const intervalMs = 5;

/** Each record is its number and bytes that follow from it; the answer is the number. Anything else ends the server. */
const answerRecords = `
const net = require('node:net');
const [port, size] = process.argv.slice(1).map(Number);
net.createServer({ noDelay: true }, (socket) => {
  let rest = Buffer.alloc(0), next = 0;
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    for (; rest.length >= size; rest = rest.subarray(size), next += 1) {
      const expected = Buffer.alloc(size, next & 0xff);
      expected.writeUInt32BE(next);
      if (!rest.subarray(0, size).equals(expected)) throw new Error('record ' + next + ' is not what was sent');
      socket.write(expected.subarray(0, 4));
    }
  });
}).listen(port, () => console.log('listening'));`;

/** Writes number and time of every answer to its output; on SIGTERM it sends no more and ends with the last answer. */
const sendRecords = `
const net = require('node:net');
const [host, port, size, intervalMs] = process.argv.slice(1).map((word, n) => (n === 0 ? word : Number(word)));
const socket = net.connect({ host, port, noDelay: true }, () => {
  let sent = 0, answered = 0, rest = Buffer.alloc(0), ending = false;
  const timer = setInterval(() => {
    const record = Buffer.alloc(size, sent & 0xff);
    record.writeUInt32BE(sent++);
    socket.write(record);
  }, intervalMs);
  const finish = () => { if (ending && answered === sent) { console.log('complete ' + sent); process.exit(0); } };
  process.on('SIGTERM', () => { clearInterval(timer); ending = true; finish(); });
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    for (; rest.length >= 4; rest = rest.subarray(4), answered += 1) {
      if (rest.readUInt32BE() !== answered) throw new Error('answer ' + answered + ' is missing');
      console.log(answered + ' ' + performance.now().toFixed(1));
    }
    finish();
  });
  socket.on('close', () => { throw new Error('the connection was closed'); });
});`;

/** One TCP connection from VM to VM that carries numbered records there and their numbers back, until it is ended. */
export class NumberedStream {
  readonly #client: Daemon;

  private constructor(client: Daemon) {
    this.#client = client;
  }

  static async start(bed: Testbed, from: Vm, to: Vm, port: number): Promise<NumberedStream> {
    const node = (vm: Vm, role: string, source: string, ...args: readonly (string | number)[]) =>
      bed.daemon({
        name: `${vm.name}-${role}-${port}`,
        command: vm.namespace.command([process.execPath, '-e', source, ...args.map(String)]),
      });
    const server = node(to, 'answers', answerRecords, port, recordBytes);
    server.start();
    await waitFor(`${server.name} listens`, () => server.log().includes('listening'));
    const client = node(from, 'records', sendRecords, to.address, port, recordBytes, intervalMs);
    client.start();
    const stream = new NumberedStream(client);
    await stream.more(50);
    return stream;
  }

  /** Waits until so many more records have been answered. Throws IovnError `wait_timeout`. */
  async more(count: number, timeoutMs = 30_000): Promise<void> {
    const before = this.#answers().length;
    const enough = () => this.#answers().length >= before + count;
    await waitFor(`${count} more answers to ${this.#client.name}`, enough, { timeoutMs });
  }

  /** The longest time without an answer while `action` and the 100 answers after it went on. */
  async longestGapMs(action: () => Promise<void>): Promise<number> {
    const first = this.#answers().length - 1;
    await action();
    await this.more(100);
    const times = this.#answers().slice(first);
    return Math.max(...times.slice(1).map((time, index) => time - (times[index] ?? time)));
  }

  /** Ends it; whether every record that was sent has been answered. */
  async end(): Promise<boolean> {
    this.#client.signal('SIGTERM');
    await this.#client.ended();
    return this.#client.log().includes(`complete ${this.#answers().length}\n`);
  }

  /** When each answer came, in ms. */
  #answers(): readonly number[] {
    return Array.from(this.#client.log().matchAll(/^\d+ (\d+\.\d)$/gm), ([, time]) => Number(time));
  }
}
