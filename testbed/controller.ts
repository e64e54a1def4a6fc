import path from 'node:path';

import { packageRoot } from '../common/package-root.js';
import type { OvnCentral } from './central.js';
import type { CommandResult } from './process.js';
import type { Daemon } from './process.js';
import type { Testbed } from './testbed.js';
import { centralAddress } from './underlay.js';
import { waitFor } from './wait.js';

/** An executable of this project, as built. */
export function executable(name: 'iovn' | 'iovn-agent' | 'iovn-controller'): string {
  return path.join(packageRoot, 'bin', name);
}

/** Where the controller listens, as seen from hypervisors. */
export const controllerAddress = `${centralAddress}:6650`;
const metricsUrl = 'http://127.0.0.1:9650';

/** iovn-controller beside northd, in the central namespace. */
export class Controller {
  readonly daemon: Daemon;
  readonly #central: OvnCentral;

  constructor(bed: Testbed, central: OvnCentral) {
    this.#central = central;
    const command = [executable('iovn-controller'), '--nb', central.nb, '--sb', central.sb, '--insecure'];
    const listen = ['--listen', '0.0.0.0:6650', '--metrics', '127.0.0.1:9650', '--log-level', 'debug'];
    this.daemon = bed.daemon({
      name: 'controller',
      command: central.namespace.command([...command, ...listen]),
    });
  }

  /** Returns when it is healthy. */
  async start(): Promise<void> {
    this.daemon.start();
    await waitFor('the controller is healthy', async () => (await this.get('/healthz')).status === 200);
  }

  /** `iovn`, run beside the controller. */
  iovn(...args: string[]): Promise<CommandResult> {
    return this.#central.namespace.run([executable('iovn'), '--insecure', ...args]);
  }

  /** /metrics or /healthz. */
  get(route: string): Promise<{ readonly status: number; readonly body: string }> {
    return this.#central.namespace.get(`${metricsUrl}${route}`);
  }
}
