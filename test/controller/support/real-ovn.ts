import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const schemas = '/usr/share/ovn';

/** OVN's two databases and northd in a folder of their own, reached over unix sockets. */
export class RealOvn {
  readonly folder: string;
  readonly nb: string;
  readonly sb: string;
  readonly #children: ChildProcess[] = [];

  private constructor(folder: string) {
    this.folder = folder;
    this.nb = `unix:${folder}/nb.sock`;
    this.sb = `unix:${folder}/sb.sock`;
  }

  static async start(): Promise<RealOvn> {
    const ovn = new RealOvn(mkdtempSync('/tmp/iovn-controller-'));
    for (const name of ['nb', 'sb']) {
      await run('ovsdb-tool', ['create', `${ovn.folder}/${name}.db`, `${schemas}/ovn-${name}.ovsschema`]);
    }
    await ovn.startDatabase('nb');
    await ovn.startDatabase('sb');
    ovn.#spawn('ovn-northd', ['--no-chdir', `--ovnnb-db=${ovn.nb}`, `--ovnsb-db=${ovn.sb}`]);
    return ovn;
  }

  /** Starts a database server and waits for its socket. */
  async startDatabase(name: 'nb' | 'sb'): Promise<ChildProcess> {
    const socket = path.join(this.folder, `${name}.sock`);
    const child = this.#spawn('ovsdb-server', [
      '--no-chdir',
      `--remote=punix:${socket}`,
      `--unixctl=${this.folder}/${name}.ctl`,
      path.join(this.folder, `${name}.db`),
    ]);
    for (let tries = 0; !existsSync(socket); tries += 1) {
      if (tries > 2000 || child.exitCode !== null) throw new Error(`ovsdb-server did not start for ${name}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return child;
  }

  async nbctl(...args: string[]): Promise<string> {
    const { stdout } = await run('ovn-nbctl', [`--db=${this.nb}`, '--timeout=30', ...args]);
    return stdout.trim();
  }

  async sbctl(...args: string[]): Promise<string> {
    const { stdout } = await run('ovn-sbctl', [`--db=${this.sb}`, '--timeout=30', ...args]);
    return stdout.trim();
  }

  stop(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const env = { ...process.env, OVN_RUNDIR: this.folder, OVS_RUNDIR: this.folder };
    const child = spawn(program, args, { cwd: this.folder, env, stdio: 'ignore' });
    this.#children.push(child);
    return child;
  }
}
