import fc from 'fast-check';

import { errorMessage } from '../../common/errors.js';
import { silentLogger } from '../../common/log.js';
import { Model } from '../../controller/model.js';
import { type NorthboundDatabase, northboundTables } from '../../controller/northbound.js';
import { type SouthboundDatabase, southboundTables } from '../../controller/southbound.js';
import { openDatabase } from '../../ovsdb/index.js';
import { OvnOracle, type OvnVerdict } from '../../testbed/ovn-oracle.js';
import type { Testbed } from '../../testbed/testbed.js';
import { waitFor } from '../../testbed/wait.js';
import { DataPlane, intentOf, type OurVerdict } from './data-plane.js';
import { knownDifference } from './differences.js';
import { type Frame, frameArbitrary } from './frames.js';
import {
  allowsZero,
  describeSwitch,
  nbctlCommands,
  type SwitchDescription,
  switchDescription,
} from './network.js';

export interface DifferentialOptions {
  readonly seed: number;
  readonly networks: number;
  readonly framesPerNetwork: number;
}

export interface Tally {
  readonly frames: number;
  /** Delivered or answered by OVN. */
  readonly passed: number;
  readonly answered: number;
  /** By what they are. */
  readonly knownDifferences: ReadonlyMap<string, number>;
}

/** The same random networks in real OVN and in our data plane, and frames for both. */
export class Differential {
  readonly #oracle: OvnOracle;
  readonly #switches: readonly SwitchDescription[];
  readonly #model: Model;
  readonly #devices: readonly number[];
  readonly #options: DifferentialOptions;
  #tally = { frames: 0, passed: 0, answered: 0, knownDifferences: new Map<string, number>() };

  private constructor(
    oracle: OvnOracle,
    model: Model,
    switches: readonly SwitchDescription[],
    devices: readonly number[],
    options: DifferentialOptions,
  ) {
    this.#oracle = oracle;
    this.#model = model;
    this.#switches = switches;
    this.#devices = devices;
    this.#options = options;
  }

  /** `devices` are there, with nothing behind them: copies of flooded frames are really sent. */
  static async open(
    bed: Testbed,
    devices: readonly number[],
    options: DifferentialOptions,
  ): Promise<Differential> {
    const switches = Array.from({ length: options.networks }, (_, index) => {
      const [one] = fc.sample(switchDescription(`n${index + 1}`), { seed: options.seed + index, numRuns: 1 });
      if (one === undefined) throw new Error('fast-check gave no sample');
      return one;
    });
    const oracle = await OvnOracle.start(bed.scope, bed.folder);
    await oracle.nbctl(...switches.flatMap(nbctlCommands).slice(1));
    const ports = switches.flatMap((each) => each.ports.map(({ name }) => name));
    await oracle.plug(ports);
    await oracle.sync();
    oracle.freeze();
    const model = await readModel(bed, oracle, ports.length);
    return new Differential(oracle, model, switches, devices, options);
  }

  /** Throws with both verdicts and the smallest frame that was found when they differ. */
  async run(): Promise<Tally> {
    for (const [index, description] of this.#switches.entries())
      await this.#compareSwitch(description, this.#options.seed + index);
    return this.#tally;
  }

  async #compareSwitch(description: SwitchDescription, seed: number): Promise<void> {
    const ports = description.ports.map(({ name }) => name);
    const ours = new DataPlane(intentOf(this.#model, description.name), ports, this.#devices);
    try {
      const property = fc.asyncProperty(frameArbitrary(description), (frame) =>
        this.#compareFrame(description, ours, frame),
      );
      const details = await fc.check(property, { seed, numRuns: this.#options.framesPerNetwork });
      const [smallest] = details.counterexample ?? [];
      if (details.failed && smallest !== undefined) {
        throw new Error(
          `${describeSwitch(description)}\n${errorMessage(details.errorInstance)}\n${await this.#explain(smallest)}\nseed ${this.#options.seed}`,
        );
      }
      if (details.failed)
        throw new Error('fast-check failed without a frame', { cause: details.errorInstance });
    } finally {
      ours.close();
    }
  }

  async #compareFrame(
    description: SwitchDescription,
    ours: DataPlane,
    { port, bytes }: Frame,
  ): Promise<void> {
    const ovn = await this.#oracle.trace(port, bytes);
    const mine = ours.send(port, bytes);
    this.#tally.frames += 1;
    if (ovn.outputs.length > 0 || ovn.answered) this.#tally.passed += 1;
    if (ovn.answered) this.#tally.answered += 1;
    if (sameVerdict(ovn, mine)) return;
    const known = knownDifference({ frame: bytes, ovn, ours: mine, allowsZero: allowsZero(description) });
    if (known === undefined)
      throw new Error(
        `${port} sends a frame: OVN ${summary(ovn)}, we ${summary(mine)} ${mine.drops.join(', ')}`,
      );
    this.#tally.knownDifferences.set(known, (this.#tally.knownDifferences.get(known) ?? 0) + 1);
  }

  async #explain({ port, bytes }: Frame): Promise<string> {
    const trace = await this.#oracle.explain(port, bytes);
    return `frame ${Buffer.from(bytes).toString('hex')}\n${trace.split('\n')[0] ?? ''}`;
  }
}

function sameVerdict(ovn: OvnVerdict, ours: OurVerdict): boolean {
  if (ovn.answeredByController) return ours.answered;
  return ovn.outputs.join() === ours.outputs.join();
}

function summary({ outputs, answered }: OvnVerdict | OurVerdict): string {
  if (answered) return 'answers';
  return outputs.length === 0 ? 'drops' : `delivers to ${outputs.join(', ')}`;
}

/** Both databases as the controller reads them, complete. */
export async function readModel(bed: Testbed, oracle: OvnOracle, portCount: number): Promise<Model> {
  const stop = new AbortController();
  bed.scope.defer('databases', () => stop.abort());
  const common = { signal: stop.signal, log: silentLogger };
  const nb: NorthboundDatabase = openDatabase({
    ...common,
    name: 'OVN_Northbound',
    remote: oracle.nb,
    tables: northboundTables,
  });
  const sb: SouthboundDatabase = openDatabase({
    ...common,
    name: 'OVN_Southbound',
    remote: oracle.sb,
    tables: southboundTables,
  });
  await Promise.all([nb.populated(), sb.populated()]);
  await waitFor(
    'every port is bound',
    () => [...sb.tables.portBinding].filter(({ chassis }) => chassis !== undefined).length === portCount,
  );
  return new Model(nb.tables, sb.tables);
}
