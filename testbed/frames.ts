import { randomBytes } from 'node:crypto';

import { packageRoot } from '../common/package-root.js';
import type { NetworkNamespace } from './namespace.js';
import { readPcap } from '../common/pcap.js';
import { run } from './process.js';
import type { Testbed } from './testbed.js';
import { waitFor } from './wait.js';

/** Sends the frames of its last argument (hexadecimal, with commas between) from the device before it (packet(7)). */
const sender = `
import ffi from 'ffi-napi';
const [device, list] = process.argv.slice(1);
const libc = ffi.Library(null, {
  socket: ['int', ['int', 'int', 'int']],
  sendto: ['long', ['int', 'pointer', 'size_t', 'int', 'pointer', 'uint32']],
  if_nametoindex: ['uint32', ['string']],
});
const fd = libc.socket(17, 3, 0);
const address = Buffer.alloc(20);
address.writeUInt16LE(17, 0);
address.writeInt32LE(libc.if_nametoindex(device), 4);
for (const text of list.split(',')) {
  const frame = Buffer.from(text, 'hex');
  if (Number(libc.sendto(fd, frame, frame.length, 0, address, address.length)) !== frame.length) {
    throw new Error('sendto: errno ' + ffi.errno());
  }
}
`;

/** Puts frames on a device as they are, VLAN tags among the bytes. */
export async function sendFrames(
  namespace: NetworkNamespace,
  device: string,
  frames: readonly Uint8Array[],
): Promise<void> {
  const list = frames.map((frame) => Buffer.from(frame).toString('hex')).join(',');
  const script = [process.execPath, '--input-type=module', '-e', sender, device, list];
  const command = ['env', '-C', packageRoot, ...script];
  const { status, stderr } = await run(namespace.command(command));
  if (status !== 0) throw new Error(`frames could not be sent: ${stderr}`);
}

/** What arrives on a device from the moment of its start, VLAN tags among the bytes. */
export class Capture {
  readonly #file: string;

  private constructor(file: string) {
    this.#file = file;
  }

  static async start(bed: Testbed, namespace: NetworkNamespace, device: string): Promise<Capture> {
    const name = `capture-${randomBytes(4).toString('hex')}`;
    const file = bed.file(`${name}.pcap`);
    const options = ['-Z', 'root', '-U', '-n', '-Q', 'in', '-s', '0', '-i', device, '-w', file];
    const daemon = bed.daemon({ name, command: namespace.command(['tcpdump', ...options]) });
    daemon.start();
    await waitFor('the capture has begun', () => daemon.log().includes('listening on'));
    return new Capture(file);
  }

  frames(): readonly Uint8Array[] {
    return readPcap(this.#file);
  }

  /** Waits until a frame with these bytes has arrived. Throws IovnError `wait_timeout`. */
  async waitForFrame(frame: Uint8Array): Promise<void> {
    const hex = Buffer.from(frame).toString('hex');
    const seen = () => this.frames().map((each) => Buffer.from(each).toString('hex'));
    await waitFor(`frame ${hex}`, () => seen().includes(hex), { timeoutMs: 5000 }).catch((error: unknown) => {
      throw new Error(`not among ${JSON.stringify(seen())}`, { cause: error });
    });
  }
}
