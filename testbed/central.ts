import { existsSync, rmSync } from 'node:fs';

import type { NetworkNamespace } from './namespace.js';
import { type Daemon, runOk } from './process.js';
import type { Testbed } from './testbed.js';
import { makeUnderlay } from './underlay.js';
import { patience, waitFor } from './wait.js';

/** The folder of the OVN schemas in Debian's package. */
const schemas = '/usr/share/ovn';

/** OVN as it is: both databases and ovn-northd, in a namespace of their own, on unix sockets. */
export class OvnCentral {
  readonly namespace: NetworkNamespace;
  readonly northbound: Daemon;
  readonly southbound: Daemon;
  readonly northd: Daemon;
  readonly #bed: Testbed;

  private constructor(bed: Testbed, namespace: NetworkNamespace) {
    this.#bed = bed;
    this.namespace = namespace;
    this.northbound = this.#databaseServer('nb');
    this.southbound = this.#databaseServer('sb');
    const command = ['ovn-northd', `--ovnnb-db=${this.nb}`, `--ovnsb-db=${this.sb}`];
    this.northd = this.#daemon('northd', [...command, `--unixctl=${bed.file('northd.ctl')}`]);
  }

  /** Makes the databases, and starts everything unless told otherwise. */
  static async create(bed: Testbed, { start = true } = {}): Promise<OvnCentral> {
    const namespace = await bed.namespace('central');
    await makeUnderlay(namespace);
    for (const name of ['nb', 'sb']) {
      await runOk(['ovsdb-tool', 'create', bed.file(`${name}.db`), `${schemas}/ovn-${name}.ovsschema`]);
    }
    const central = new OvnCentral(bed, namespace);
    if (start) await central.start();
    return central;
  }

  get nb(): string {
    return `unix:${this.#bed.file('nb.sock')}`;
  }

  get sb(): string {
    return `unix:${this.#bed.file('sb.sock')}`;
  }

  async start(): Promise<void> {
    await this.startDatabase('nb');
    await this.startDatabase('sb');
    this.northd.start();
    await this.nbctl('--wait=sb', 'sync');
  }

  /** Returns when its socket is there. */
  async startDatabase(name: 'nb' | 'sb'): Promise<void> {
    const socket = this.#bed.file(`${name}.sock`);
    rmSync(socket, { force: true });
    (name === 'nb' ? this.northbound : this.southbound).start();
    await waitFor(`${name} database listens`, () => existsSync(socket));
  }

  /** ovn-nbctl; returns what it printed, without the white space around it. */
  async nbctl(...args: string[]): Promise<string> {
    return (await runOk(['ovn-nbctl', `--db=${this.nb}`, `--timeout=${20 * patience}`, ...args])).trim();
  }

  /** ovn-sbctl, likewise. */
  async sbctl(...args: string[]): Promise<string> {
    return (await runOk(['ovn-sbctl', `--db=${this.sb}`, `--timeout=${20 * patience}`, ...args])).trim();
  }

  #databaseServer(name: string): Daemon {
    const file = this.#bed.file(`${name}.db`);
    const remote = `--remote=punix:${this.#bed.file(`${name}.sock`)}`;
    return this.#daemon(`${name}-db`, [
      'ovsdb-server',
      file,
      remote,
      `--unixctl=${this.#bed.file(`${name}.ctl`)}`,
    ]);
  }

  #daemon(name: string, command: readonly string[]): Daemon {
    const env = { OVN_RUNDIR: this.#bed.folder, OVS_RUNDIR: this.#bed.folder, OVS_DBDIR: this.#bed.folder };
    const quiet = ['-vconsole:warn', '-vsyslog:off', '-vfile:off'];
    return this.#bed.daemon({ name, command: this.namespace.command([...command, ...quiet]), env });
  }
}
