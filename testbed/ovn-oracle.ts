import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { readPcap } from '../common/pcap.js';
import { Daemon, runOk } from './process.js';
import type { Scope } from './scope.js';
import { Unixctl } from './unixctl.js';
import { waitFor } from './wait.js';

const ovnSchemas = '/usr/share/ovn';
const vswitchSchema = '/usr/share/openvswitch/vswitch.ovsschema';
/** OFTABLE_CHK_IN_PORT_SEC_ND */
const portSecurityNdTable = 74;
/** ACTION_OPCODE_ND_NA as `controller()` actions of a trace show it. */
const advertiseNeighbour = /controller\(userdata=00\.00\.00\.03/;

/** What OVN does with a packet. */
export interface OvnVerdict {
  /** Logical ports that get it (or its answer), sorted. */
  readonly outputs: readonly string[];
  /** OVN answers in the owner's place: by flows (ARP), or through ovn-controller (ND). */
  readonly answered: boolean;
  /** The answer is ovn-controller's: what becomes of it the trace does not say. */
  readonly answeredByController: boolean;
  /** It takes the packet for a fragment. */
  readonly fragment: boolean;
  /** The datapath's actions as Open vSwitch prints them. */
  readonly actions: string;
}

/**
 * OVN as it is, to be asked what it would do: its databases, northd, ovn-controller and Open vSwitch's userspace switch
 * with dummy ports. It touches no device and no namespace, and needs no privileges.
 */
export class OvnOracle {
  readonly #folder: string;
  readonly #daemons: readonly Daemon[];
  readonly #ofports = new Map<string, number>();
  readonly #portsByDatapathPort = new Map<string, string>();
  #switch: Unixctl | undefined;
  #nextOfport = 1;

  private constructor(folder: string) {
    this.#folder = folder;
    const database = (name: string) =>
      this.#daemon(
        `${name}-db`,
        'ovsdb-server',
        this.#file(`${name}.db`),
        `--remote=punix:${this.#file(`${name}.sock`)}`,
        this.#unixctl(name),
      );
    this.#daemons = [
      database('nb'),
      database('sb'),
      database('conf'),
      this.#daemon(
        'northd',
        'ovn-northd',
        `--ovnnb-db=${this.nb}`,
        `--ovnsb-db=${this.sb}`,
        this.#unixctl('northd'),
      ),
      this.#daemon(
        'vswitchd',
        'ovs-vswitchd',
        this.#conf,
        '--enable-dummy=override',
        '--disable-system',
        this.#unixctl('vswitchd'),
      ),
      this.#daemon('ovn-controller', 'ovn-controller', this.#conf),
    ];
  }

  /** Starts everything in an empty folder of the caller's; the scope stops it. */
  static async start(scope: Scope, folder: string): Promise<OvnOracle> {
    const oracle = new OvnOracle(folder);
    scope.defer('OVN oracle', () => oracle.#stop());
    await oracle.#start();
    return oracle;
  }

  get nb(): string {
    return `unix:${this.#file('nb.sock')}`;
  }

  get sb(): string {
    return `unix:${this.#file('sb.sock')}`;
  }

  get #controller(): Daemon | undefined {
    return this.#daemons.at(-1);
  }

  get #conf(): string {
    return `unix:${this.#file('conf.sock')}`;
  }

  /** ovn-nbctl; returns what it printed. */
  async nbctl(...args: string[]): Promise<string> {
    return (await runOk(['ovn-nbctl', `--db=${this.nb}`, '--timeout=60', ...args])).trim();
  }

  /** Gives each logical port an interface on the hypervisor. Frames sent to it are captured for `received`. */
  async plug(ports: readonly string[]): Promise<void> {
    const commands = ports.map((port) => {
      const ofport = this.#nextOfport++;
      this.#ofports.set(port, ofport);
      const name = interfaceName(ofport);
      return [
        ...['--', 'add-port', 'br-int', name, '--', 'set', 'interface', name, 'type=dummy'],
        ...[
          `ofport_request=${ofport}`,
          `external_ids:iface-id="${port}"`,
          `options:tx_pcap=${this.#captureOf(port)}`,
        ],
      ];
    });
    await this.#vsctl(...commands.flat());
  }

  /** Stops ovn-controller where it is, so that nothing is learnt from frames; `sync` and `thaw` let it go on. */
  freeze(): void {
    this.#controller?.signal('SIGSTOP');
  }

  thaw(): void {
    this.#controller?.signal('SIGCONT');
  }

  /** Returns when every plugged port is up and the switch has the flows for the northbound contents of now. */
  async sync(): Promise<void> {
    this.thaw();
    const waits = [...this.#ofports.keys()].flatMap((port) => [
      '--',
      'wait-until',
      'Logical_Switch_Port',
      port,
      'up=true',
    ]);
    await this.nbctl(...waits.slice(1));
    await this.nbctl('--wait=hv', 'sync');
    await this.#repairHopLimits();
    await this.#readDatapathPorts();
  }

  /** What would happen to a frame that the port's VM sends. */
  async trace(port: string, frame: Uint8Array): Promise<OvnVerdict> {
    const hex = Buffer.from(frame).toString('hex');
    const text = await this.#vswitchd('ofproto/trace', 'br-int', `in_port=${this.#ofportOf(port)}`, hex);
    const actions = /^Datapath actions: (.*)$/m.exec(text)?.[1];
    if (actions === undefined) throw new Error(`no verdict in the trace:\n${text}`);
    const outputs = topLevelActions(actions)
      .filter((action) => /^\d+$/.test(action))
      .map((number) => this.#portsByDatapathPort.get(number) ?? `datapath port ${number}`)
      .sort();
    const answeredByController = advertiseNeighbour.test(text);
    const answered = answeredByController || outputs.includes(port);
    return {
      outputs,
      answered,
      answeredByController,
      fragment: /^Flow: .*nw_frag=(first|later)/.test(text),
      actions,
    };
  }

  /** The whole trace, for a person to read. */
  explain(port: string, frame: Uint8Array): Promise<string> {
    const hex = Buffer.from(frame).toString('hex');
    return this.#vswitchd('ofproto/trace', 'br-int', `in_port=${this.#ofportOf(port)}`, hex);
  }

  /** Sends a frame from the port's VM for real. */
  async inject(port: string, frame: Uint8Array): Promise<void> {
    const hex = Buffer.from(frame).toString('hex');
    await this.#vswitchd('netdev-dummy/receive', interfaceName(this.#ofportOf(port)), hex);
  }

  /** Every frame that the port's VM has been sent since it was plugged. */
  received(port: string): readonly Uint8Array[] {
    return readPcap(this.#captureOf(port));
  }

  async #start(): Promise<void> {
    await runOk(['ovsdb-tool', 'create', this.#file('nb.db'), `${ovnSchemas}/ovn-nb.ovsschema`]);
    await runOk(['ovsdb-tool', 'create', this.#file('sb.db'), `${ovnSchemas}/ovn-sb.ovsschema`]);
    await runOk(['ovsdb-tool', 'create', this.#file('conf.db'), vswitchSchema]);
    const [nb, sb, conf, ...others] = this.#daemons;
    for (const daemon of [nb, sb, conf]) daemon?.start();
    for (const name of ['nb', 'sb', 'conf']) await this.#socket(`${name}.sock`);
    await this.#vsctl('--no-wait', 'init');
    await this.#vsctl('--no-wait', ...this.#hypervisorSettings());
    for (const daemon of others) daemon.start();
    await this.#socket('vswitchd.ctl');
    this.#switch = await Unixctl.connect(this.#file('vswitchd.ctl'));
    await this.nbctl('--wait=sb', 'sync');
  }

  #hypervisorSettings(): readonly string[] {
    const ids = {
      'system-id': 'oracle',
      hostname: 'oracle',
      'ovn-remote': this.sb,
      'ovn-encap-type': 'geneve',
      'ovn-encap-ip': '127.0.0.1',
      'ovn-bridge-datapath-type': 'dummy',
    };
    const settings = Object.entries(ids).map(([key, value]) => `external_ids:${key}="${value}"`);
    return [
      'set',
      'Open_vSwitch',
      '.',
      ...settings,
      '--',
      'add-br',
      'br-int',
      '--',
      'set',
      'bridge',
      'br-int',
      'datapath_type=dummy',
      'fail-mode=secure',
    ];
  }

  /**
   * ovn-controller 23.03 asks for hop limit 225 in neighbour discovery, by a slip of the pen that later versions have
   * corrected; with the corrected flows beside them, its verdicts are theirs.
   */
  async #repairHopLimits(): Promise<void> {
    const bridge = `unix:${this.#file('br-int.mgmt')}`;
    const flows = await runOk([
      'ovs-ofctl',
      'dump-flows',
      '--no-stats',
      bridge,
      `table=${portSecurityNdTable}`,
    ]);
    const slips = flows.split('\n').filter((flow) => flow.includes(',nw_ttl=225,'));
    const file = this.#file('repaired-flows');
    writeFileSync(file, slips.map((flow) => `${flow.replace(',nw_ttl=225,', ',nw_ttl=255,')}\n`).join(''));
    await runOk(['ovs-ofctl', 'add-flows', bridge, file]);
  }

  async #readDatapathPorts(): Promise<void> {
    const ofports = new Map([...this.#ofports].map(([port, ofport]) => [interfaceName(ofport), port]));
    const shown = await this.#vswitchd('dpif/show');
    this.#portsByDatapathPort.clear();
    for (const [, name = '', number = ''] of shown.matchAll(/^\s+(\S+) \d+\/(\d+):/gm)) {
      const port = ofports.get(name);
      if (port !== undefined) this.#portsByDatapathPort.set(number, port);
    }
  }

  #vswitchd(method: string, ...params: string[]): Promise<string> {
    if (this.#switch === undefined) throw new Error('the oracle is not running');
    return this.#switch.command(method, ...params);
  }

  #ofportOf(port: string): number {
    const ofport = this.#ofports.get(port);
    if (ofport === undefined) throw new Error(`${port} is not plugged in`);
    return ofport;
  }

  #captureOf(port: string): string {
    return this.#file(`${interfaceName(this.#ofportOf(port))}.pcap`);
  }

  #vsctl(...args: readonly string[]): Promise<string> {
    return runOk(['ovs-vsctl', `--db=${this.#conf}`, '--timeout=60', ...args]);
  }

  async #socket(name: string): Promise<void> {
    await waitFor(`${name} is there`, () => existsSync(this.#file(name)), { intervalMs: 5 });
  }

  #file(name: string): string {
    return path.join(this.#folder, name);
  }

  #unixctl(name: string): string {
    return `--unixctl=${this.#file(`${name}.ctl`)}`;
  }

  #daemon(name: string, ...command: string[]): Daemon {
    const env = { OVN_RUNDIR: this.#folder, OVS_RUNDIR: this.#folder, OVS_DBDIR: this.#folder };
    const quiet = ['-vconsole:warn', '-vsyslog:off', '-vfile:off'];
    return new Daemon({ name, command: [...command, ...quiet], env, logFile: this.#file(`${name}.log`) });
  }

  async #stop(): Promise<void> {
    this.#switch?.close();
    for (const daemon of [...this.#daemons].reverse()) await daemon.kill();
  }
}

function interfaceName(ofport: number): string {
  return `t${ofport}`;
}

/** `1,set(eth(src=…)),3` to its parts; commas inside parentheses do not count. */
function topLevelActions(actions: string): readonly string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = '';
  for (const character of actions) {
    if (character === '(') depth++;
    if (character === ')') depth--;
    if (character === ',' && depth === 0) {
      parts.push(part);
      part = '';
    } else part += character;
  }
  return [...parts, part];
}
