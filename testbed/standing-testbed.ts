import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { packageRoot } from '../common/package-root.js';
import { NetworkNamespace, removeNamespace } from './namespace.js';
import { run, runOk } from './process.js';
import { Scope } from './scope.js';
import type { PlannedNode, PlannedVm, StandingPlan } from './standing-plan.js';
import { mountBpffs } from './testbed.js';
import { centralAddress, connectToUnderlay, makeUnderlay, underlayInterface } from './underlay.js';
import { waitFor } from './wait.js';

const provisioning = path.join(packageRoot, 'deploy', 'provision');
const bpffsRoot = '/sys/fs/bpf';
const root = '/run/iovn-testbed';
const logicalSwitch = 'sw0';
/** A script installs nothing here, but waits for daemons. */
const scriptTimeoutMs = 90_000;

/**
 * A small cloud in namespaces that stays when the command that made it ends: what the Vagrantfile makes of real machines,
 * with the same scripts (deploy/provision). Needs root.
 */
export class StandingTestbed {
  readonly name: string;
  readonly folder: string;

  constructor(name: string) {
    this.name = name;
    this.folder = path.join(root, name);
  }

  /** The file that a shell sources to work with it. */
  get envFile(): string {
    return this.#file('env');
  }

  /** Whether `up` has come to its end. */
  get isUp(): boolean {
    return existsSync(this.envFile);
  }

  namespaceName(machine: string): string {
    return `${this.name}-${machine}`;
  }

  /** Makes everything, whatever is left of an earlier one; when that fails, nothing stays. `tell` hears of each step. */
  async up(plan: StandingPlan, tell: (text: string) => void): Promise<void> {
    await this.down();
    try {
      await this.#make(plan, tell);
    } catch (error) {
      await this.down();
      throw error;
    }
  }

  /** Removes everything with its name: namespaces with what runs in them, pins, files. Returns whether there was anything. */
  async down(): Promise<boolean> {
    const { stdout } = await run(['ip', 'netns', 'list']);
    const names = stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
    const ours = names.filter((name) => this.#isOurs(name));
    for (const name of ours) await removeNamespace(name);
    const pins = existsSync(bpffsRoot) ? readdirSync(bpffsRoot).filter((name) => this.#isOurs(name)) : [];
    for (const name of pins) rmSync(path.join(bpffsRoot, name), { recursive: true, force: true });
    const existed = existsSync(this.folder);
    rmSync(this.folder, { recursive: true, force: true });
    return existed || ours.length > 0 || pins.length > 0;
  }

  #isOurs(name: string): boolean {
    return (
      name.startsWith(`${this.name}-`) && /^(central|hv\d+|vm\w*)$/.test(name.slice(this.name.length + 1))
    );
  }

  async #make({ nodes, vms }: StandingPlan, tell: (text: string) => void): Promise<void> {
    await mountBpffs();
    mkdirSync(this.folder, { recursive: true, mode: 0o755 });
    await runOk([
      path.join(provisioning, 'pki.sh'),
      this.#file('pki'),
      `central=${centralAddress}`,
      ...nodes.map(({ name }) => name),
    ]);
    tell('central: OVN databases, ovn-northd, iovn-controller');
    const central = await this.#namespace('central');
    await makeUnderlay(central);
    await this.#script(central, 'central', 'central.sh');
    const ports = vms.flatMap(({ name, mac, ip }) => [name, mac, ip]);
    await this.#script(central, 'central', 'network.sh', [logicalSwitch, ...ports]);
    for (const node of nodes) {
      tell(`${node.name}: ${node.kind}`);
      const address = await this.#makeNode(central, node);
      for (const vm of vms.filter((each) => each.node === node.name)) await this.#makeVm(vm);
      tell(`${node.name}: tunnels end at ${address}`);
    }
    tell('waiting for ovn-nbctl --wait=hv sync');
    const northbound = `unix:${this.#file('central/ovnnb_db.sock')}`;
    await runOk(['ovn-nbctl', `--db=${northbound}`, '--timeout=30', '--wait=hv', 'sync']);
    this.#writeShellFiles();
    const [first] = vms;
    const last = vms.at(-1);
    if (first === undefined || last === undefined || first === last) return;
    await waitFor(`${first.name} reaches ${last.name}`, async () => {
      const ping = ['ping', '-n', '-c', '1', '-W', '1', last.ip];
      const { status } = await run(['ip', 'netns', 'exec', this.namespaceName(first.name), ...ping]);
      return status === 0;
    });
    tell(`${first.name} reaches ${last.name}`);
  }

  async #makeNode(central: NetworkNamespace, { name, index, kind }: PlannedNode): Promise<string> {
    const namespace = await this.#namespace(name);
    const address = await connectToUnderlay({ namespace: central }, namespace, name, index);
    const chassis = { IOVN_NODE: name, IOVN_ENCAP_IP: address };
    if (kind === 'iovn-agent') {
      await this.#script(namespace, name, 'compute.sh', [], {
        ...chassis,
        IOVN_CONTROLLER: `${centralAddress}:6650`,
        IOVN_STATE_DIR: this.#file(`${name}/state`),
        IOVN_BPFFS: path.join(bpffsRoot, this.namespaceName(name)),
      });
    } else {
      await this.#script(namespace, name, 'vanilla.sh', [], {
        ...chassis,
        OVN_REMOTE: `unix:${this.#file('central/ovnsb_db.sock')}`,
        IOVN_UNDERLAY: underlayInterface,
        OVN_RUNDIR: this.#file(name),
      });
    }
    return address;
  }

  async #makeVm({ name, mac, ip, node }: PlannedVm): Promise<void> {
    const vm = await this.#namespace(name);
    const hypervisor = { command: this.#command(node) };
    await this.#script(hypervisor, node, 'vm.sh', [name, mac, `${ip}/24`, vm.name]);
    // Open vSwitch's userspace datapath takes frames as they are: their checksums must be filled in before.
    await vm.runOk(['ethtool', '-K', 'eth0', 'tx', 'off']);
  }

  #command(machine: string): (command: readonly string[]) => readonly string[] {
    return (command) => ['nsenter', `--net=/run/netns/${this.namespaceName(machine)}`, '--', ...command];
  }

  /** A namespace that nobody's end removes, but `down`. */
  #namespace(machine: string): Promise<NetworkNamespace> {
    return NetworkNamespace.create(new Scope(), this.namespaceName(machine));
  }

  /** Runs a provisioning script on a machine, with folders of that machine's own. */
  async #script(
    on: Pick<NetworkNamespace, 'command'>,
    machine: string,
    script: string,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const folder = this.#file(machine);
    mkdirSync(folder, { recursive: true });
    await runOk(on.command([path.join(provisioning, script), ...args]), {
      env: {
        IOVN_SUPERVISOR: 'processes',
        IOVN_ETC: path.join(folder, 'etc'),
        IOVN_RUN: folder,
        IOVN_PKI: this.#file('pki'),
        OVN_RUNDIR: folder,
        OVS_RUNDIR: folder,
        ...env,
      },
      timeoutMs: scriptTimeoutMs,
    });
  }

  /** `env` for a shell to source; `iovn` and `on` for its PATH. */
  #writeShellFiles(): void {
    const bin = this.#file('bin');
    const tls = this.#file('central/etc/tls');
    mkdirSync(bin);
    const enter = (machine: string) => `exec nsenter "--net=/run/netns/${this.name}-${machine}" --`;
    this.#writeCommand(path.join(bin, 'iovn'), [
      '# iovn, on the central machine.',
      `export IOVN_CONTROLLER=${centralAddress}:6650 IOVN_TLS_CA=${tls}/ca.pem`,
      `export IOVN_TLS_CERT=${tls}/central.pem IOVN_TLS_KEY=${tls}/central.key`,
      `${enter('central')} ${path.join(packageRoot, 'bin', 'iovn')} "$@"`,
    ]);
    this.#writeCommand(path.join(bin, 'on'), [
      '# on MACHINE COMMAND…: as if typed there: central, hv1, vm1, …',
      `[ $# -ge 2 ] && [ -e "/run/netns/${this.name}-$1" ] || { echo "usage: on MACHINE COMMAND..." >&2; exit 2; }`,
      'machine=$1; shift',
      `export OVS_RUNDIR=${this.folder}/$machine OVN_RUNDIR=${this.folder}/$machine`,
      `${enter('$machine')} "$@"`,
    ]);
    writeFileSync(
      this.envFile,
      [
        `# Source this: . ${this.envFile}`,
        `export PATH=${bin}:${provisioning}:$PATH`,
        `export OVN_NB_DB=unix:${this.#file('central/ovnnb_db.sock')}`,
        `export OVN_SB_DB=unix:${this.#file('central/ovnsb_db.sock')}`,
        '',
      ].join('\n'),
    );
  }

  #writeCommand(file: string, lines: readonly string[]): void {
    writeFileSync(file, ['#!/bin/sh', ...lines, ''].join('\n'));
    chmodSync(file, 0o755);
  }

  #file(name: string): string {
    return path.join(this.folder, name);
  }
}
