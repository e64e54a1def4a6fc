import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { packageRoot } from '../common/package-root.js';
import type { NetworkNamespace } from './namespace.js';
import type { Daemon } from './process.js';
import type { Testbed } from './testbed.js';

const deployed = path.join(packageRoot, 'deploy', 'prometheus');
const listen = '127.0.0.1:9090';

/** One rule as Prometheus tells of it. */
export interface RuleState {
  readonly name: string;
  /** 'unknown' until it has been evaluated, then 'ok' or 'err'. */
  readonly health: string;
  readonly lastError?: string;
  /** Of an alert: 'inactive', 'pending' or 'firing'. */
  readonly state?: string;
}

/** A result of an instant query: the labels, and the value as text. */
export interface QueryResult {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [timestamp: number, value: string];
}

/**
 * Debian's Prometheus with the configuration and the rules of deploy/prometheus, in the controller's namespace. Only the agents'
 * addresses are filled in, and it goes faster: it scrapes and evaluates every second, and alerts wait for two.
 */
export class Prometheus {
  readonly daemon: Daemon;
  readonly #namespace: NetworkNamespace;

  /** `agents`: HOST:PORT of each agent's --metrics. */
  constructor(bed: Testbed, namespace: NetworkNamespace, agents: readonly string[]) {
    this.#namespace = namespace;
    const configuration = bed.file('prometheus.yml');
    const text = (name: string): string => readFileSync(path.join(deployed, name), 'utf8');
    writeFileSync(bed.file('agents.yml'), JSON.stringify([{ targets: agents }]));
    writeFileSync(bed.file('rules.yml'), text('rules.yml').replaceAll(/^( +for:) .*$/gm, '$1 2s'));
    writeFileSync(configuration, text('prometheus.yml').replaceAll(/(_interval:) .*$/gm, '$1 1s'));
    this.daemon = bed.daemon({
      name: 'prometheus',
      command: namespace.command([
        'prometheus',
        `--config.file=${configuration}`,
        `--storage.tsdb.path=${bed.file('prometheus')}`,
        `--web.listen-address=${listen}`,
      ]),
    });
  }

  /** The health of every target, by instance. */
  async targets(): Promise<Readonly<Record<string, string>>> {
    interface Targets {
      readonly activeTargets: readonly {
        readonly health: string;
        readonly labels: { readonly instance: string };
      }[];
    }
    const [found] = await this.#ask<Targets>(['targets']);
    return Object.fromEntries(
      (found?.activeTargets ?? []).map(({ health, labels }) => [labels.instance, health]),
    );
  }

  async rules(): Promise<readonly RuleState[]> {
    interface Rules {
      readonly groups: readonly { readonly rules: readonly RuleState[] }[];
    }
    const [found] = await this.#ask<Rules>(['rules']);
    return (found?.groups ?? []).flatMap(({ rules }) => rules);
  }

  /** Names of the alerts that fire. */
  async firing(): Promise<readonly string[]> {
    return (await this.rules()).filter(({ state }) => state === 'firing').map(({ name }) => name);
  }

  /** The labels of every series whose name begins with `prefix`, `__name__` among them. */
  async series(prefix: string): Promise<readonly Readonly<Record<string, string>>[]> {
    const match = encodeURIComponent(`{__name__=~"${prefix}.*"}`);
    const [found] = await this.#ask<readonly Readonly<Record<string, string>>[]>([`series?match[]=${match}`]);
    return found ?? [];
  }

  /** What each of these gives at this moment. */
  async query(...expressions: readonly string[]): Promise<readonly (readonly QueryResult[])[]> {
    const routes = expressions.map((expression) => `query?query=${encodeURIComponent(expression)}`);
    const found = await this.#ask<{ readonly result: readonly QueryResult[] }>(routes);
    return found.map(({ result }) => result);
  }

  /** Asks the HTTP API, all in one go. Throws what it says when it says no. */
  async #ask<T>(routes: readonly string[]): Promise<readonly T[]> {
    const script = `
      const answers = [];
      for (const route of process.argv.slice(1)) answers.push(await (await fetch(route)).json());
      process.stdout.write(JSON.stringify(answers));`;
    const urls = routes.map((route) => `http://${listen}/api/v1/${route}`);
    const output = await this.#namespace.runOk([
      ...[process.execPath, '--input-type=module', '-e', script],
      ...urls,
    ]);
    const answers = JSON.parse(output) as readonly (
      | { readonly status: 'success'; readonly data: T }
      | { readonly status: 'error'; readonly error: string }
    )[];
    return answers.map((answer, index) => {
      if (answer.status === 'success') return answer.data;
      throw new Error(`${routes[index] ?? ''}: ${answer.error}`);
    });
  }
}
