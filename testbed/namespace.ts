import { readlinkSync } from 'node:fs';

import type { CommandOptions, CommandResult } from './process.js';
import { run, runOk } from './process.js';
import type { Scope } from './scope.js';

/** A network namespace of our own, gone when the scope closes, with everything that still runs in it. */
export class NetworkNamespace {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  static async create(scope: Scope, name: string): Promise<NetworkNamespace> {
    await runOk(['ip', 'netns', 'add', name]);
    scope.defer(`namespace ${name}`, () => removeNamespace(name));
    const namespace = new NetworkNamespace(name);
    await namespace.ip('link', 'set', 'lo', 'up');
    // IPv6 autoconfiguration would put frames on the wire that no test asked for.
    await namespace.runOk(['sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1']);
    return namespace;
  }

  /** `ip` as if it ran in the namespace. */
  ip(...args: string[]): Promise<string> {
    return runOk(['ip', '-n', this.name, ...args]);
  }

  /** The command line that runs `command` in here; unlike `ip netns exec` it leaves /sys and so bpffs alone. */
  command(command: readonly string[]): readonly string[] {
    return ['nsenter', `--net=/run/netns/${this.name}`, '--', ...command];
  }

  run(command: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return run(this.command(command), options);
  }

  runOk(command: readonly string[], options?: CommandOptions): Promise<string> {
    return runOk(this.command(command), options);
  }

  /** An HTTP GET from inside. */
  async get(url: string): Promise<{ readonly status: number; readonly body: string }> {
    const script =
      'const r = await fetch(process.argv[1]); process.stdout.write(r.status + "\\n" + (await r.text()));';
    const output = await this.runOk([process.execPath, '--input-type=module', '-e', script, url]);
    const [status = '', ...body] = output.split('\n');
    return { status: Number(status), body: body.join('\n') };
  }
}

/** Kills what runs in the namespace by pid, and deletes it. */
export async function removeNamespace(name: string): Promise<void> {
  const ours = readlinkSync('/proc/self/ns/net');
  const { stdout } = await run(['ip', 'netns', 'pids', name]);
  for (const pid of stdout.split('\n').filter((line) => line !== '')) killIn(Number(pid), ours);
  await runOk(['ip', 'netns', 'delete', name]);
}

function killIn(pid: number, ourNamespace: string): void {
  try {
    if (readlinkSync(`/proc/${pid}/ns/net`) !== ourNamespace) process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended in the meantime.
  }
}
