import { packageRoot } from '../common/package-root.js';
import type { NetworkNamespace } from './namespace.js';
import type { Daemon } from './process.js';
import type { Testbed } from './testbed.js';
import type { VmHost } from './vm-host.js';
import { waitFor } from './wait.js';

export interface VmOptions {
  readonly name: string;
  readonly mac: string;
  /** IPv4 with its prefix length, `10.0.0.1/24`. */
  readonly ip: string;
  /** What stands for its network card: one end of a veth pair (the default), or a TAP that a process serves. */
  readonly card?: 'veth' | 'tap';
}

export interface PingResult {
  readonly sent: number;
  readonly received: number;
}

/** A virtual machine as the network sees it: a namespace whose eth0 is the inside of a tap on the hypervisor. */
export class Vm {
  readonly name: string;
  readonly mac: string;
  readonly namespace: NetworkNamespace;
  #hypervisor: VmHost;
  readonly #bed: Testbed;
  readonly #ip: string;
  readonly #card: 'veth' | 'tap';
  #pings = 0;

  private constructor(bed: Testbed, hypervisor: VmHost, namespace: NetworkNamespace, options: VmOptions) {
    this.#bed = bed;
    this.name = options.name;
    this.mac = options.mac;
    this.#ip = options.ip;
    this.#card = options.card ?? 'veth';
    this.#hypervisor = hypervisor;
    this.namespace = namespace;
  }

  /** Makes the machine with its tap; nothing is plugged in yet. */
  static async create(bed: Testbed, hypervisor: VmHost, options: VmOptions): Promise<Vm> {
    const vm = new Vm(bed, hypervisor, await bed.namespace(options.name), options);
    await vm.createTap();
    return vm;
  }

  /** Where it runs now. */
  get hypervisor(): VmHost {
    return this.#hypervisor;
  }

  /** The device on the hypervisor. */
  get tap(): string {
    return `tap-${this.name}`;
  }

  /** Its address without the prefix length. */
  get address(): string {
    return this.#ip.replace(/\/.*/, '');
  }

  async createTap(): Promise<void> {
    if (this.#card === 'tap') await this.#createServedTap();
    else
      await this.hypervisor.namespace.ip(
        ...['link', 'add', this.tap, 'type', 'veth', 'peer', 'name', 'eth0'],
        ...['address', this.mac, 'netns', this.namespace.name],
      );
    await this.namespace.ip('addr', 'add', this.#ip, 'dev', 'eth0');
    await this.namespace.ip('link', 'set', 'eth0', 'up');
    await this.hypervisor.namespace.ip('link', 'set', this.tap, 'up');
  }

  /** A TAP on either side, and a process between them in the place of the one that runs a VM. */
  async #createServedTap(): Promise<void> {
    const outside = [this.hypervisor.namespace.name, this.tap];
    const inside = [this.namespace.name, 'eth0'];
    for (const [namespace, device = ''] of [
      [this.hypervisor.namespace, this.tap],
      [this.namespace, 'eth0'],
    ] as const) {
      await namespace.ip('tuntap', 'add', 'dev', device, 'mode', 'tap', 'vnet_hdr');
    }
    await this.namespace.ip('link', 'set', 'eth0', 'address', this.mac);
    const script = ['--import=tsx', 'testbed/tap-relay.ts', ...outside, ...inside];
    const relay = this.#bed.daemon({
      name: `${this.name}-relay`,
      command: ['env', '-C', packageRoot, process.execPath, ...script],
    });
    relay.start();
  }

  /** Unplugs the tap here and plugs it there; the machine, its connections and its addresses stay as they are. */
  async moveTo(hypervisor: VmHost): Promise<void> {
    const from = this.#hypervisor;
    await from.unplug(this.tap);
    await from.namespace.ip('link', 'set', this.tap, 'netns', hypervisor.namespace.name);
    this.#hypervisor = hypervisor;
    await hypervisor.namespace.ip('link', 'set', this.tap, 'up');
    await hypervisor.plug(this.tap, this.name);
  }

  async deleteTap(): Promise<void> {
    await this.hypervisor.namespace.ip('link', 'delete', this.tap);
  }

  /** What somebody in the machine does by hand: another address instead of the one that is there. */
  async changeAddress(ip: string): Promise<void> {
    await this.namespace.ip('addr', 'flush', 'dev', 'eth0');
    await this.namespace.ip('addr', 'add', ip, 'dev', 'eth0');
  }

  /** Forgets resolved and failed neighbours: a resolution that failed delays the next packet by up to a second. */
  async forgetNeighbours(): Promise<void> {
    await this.namespace.ip('neigh', 'flush', 'all');
  }

  /** Pings and returns what came back; `timeoutMs` is per packet. */
  async ping(target: string, { count = 1, intervalMs = 200, timeoutMs = 1000 } = {}): Promise<PingResult> {
    const { stdout } = await this.namespace.run([
      ...['ping', '-n', '-c', String(count), '-i', String(intervalMs / 1000)],
      ...['-W', String(timeoutMs / 1000), target],
    ]);
    return parsePing(stdout);
  }

  /** Throws unless a ping is answered before the time is over. */
  async canReach(target: string, timeoutMs = 10_000): Promise<void> {
    const answered = async () => (await this.ping(target)).received === 1;
    await waitFor(`${this.name} reaches ${target}`, answered, { timeoutMs });
  }

  /** A ping that goes on in the background until it is stopped. */
  startPing(target: string, intervalMs = 50): RunningPing {
    this.#pings += 1;
    const daemon = this.#bed.daemon({
      name: `${this.name}-ping-${this.#pings}`,
      command: this.namespace.command(['ping', '-n', '-i', String(intervalMs / 1000), target]),
    });
    daemon.start();
    return new RunningPing(daemon);
  }
}

export class RunningPing {
  readonly #daemon: Daemon;

  constructor(daemon: Daemon) {
    this.#daemon = daemon;
  }

  /** Waits until so many more have been answered. Throws IovnError `wait_timeout`. */
  async more(count: number, timeoutMs = 10_000): Promise<void> {
    const before = parsePing(this.#daemon.log()).received;
    const enough = () => parsePing(this.#daemon.log()).received >= before + count;
    await waitFor(`${count} more answers to ${this.#daemon.name}`, enough, { timeoutMs });
  }

  /** Ends it. A last request that was too young for an answer is not counted. */
  async stop(): Promise<PingResult> {
    this.#daemon.signal('SIGINT');
    await this.#daemon.ended();
    const { sent, received, last } = parsePing(this.#daemon.log());
    return { sent: last === sent - 1 ? last : sent, received };
  }
}

/** Reads what iputils' ping printed; `last` is the highest sequence number that was answered. */
function parsePing(output: string): PingResult & { readonly last: number } {
  const sent = Number(/(\d+) packets transmitted/.exec(output)?.[1] ?? 0);
  const answered = new Set(
    Array.from(output.matchAll(/bytes from .*icmp_seq=(\d+)/g), (match) => Number(match[1])),
  );
  return { sent, received: answered.size, last: Math.max(0, ...answered) };
}
