import type { Registry } from 'prom-client';

import { type HttpRoutes, send, startHttpServer } from './http-server.js';
import { formatListenAddress, type ListenAddress } from './listen-address.js';
import type { Logger } from './log.js';

/** What /healthz says: 200 when `ok`, else 503; the whole of it is the JSON body. */
export interface Health {
  readonly ok: boolean;
  readonly [detail: string]: unknown;
}

export interface MetricsServerOptions {
  readonly listen: ListenAddress;
  readonly registry: Registry;
  readonly health: () => Health;
  /** What is served beside them. */
  readonly routes?: HttpRoutes;
  /** Aborting it closes the server and every connection. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/**
 * Serves /metrics (Prometheus text format) and /healthz. Resolves with the address it listens on, its port chosen
 * where `listen.port` is 0. Rejects with ConfigError when it can't listen there.
 */
export async function startMetricsServer(options: MetricsServerOptions): Promise<ListenAddress> {
  const { listen, registry, health, log, signal } = options;
  const routes: HttpRoutes = new Map([
    [
      '/metrics',
      async (_request, response) => send(response, 200, registry.contentType, await registry.metrics()),
    ],
    [
      '/healthz',
      (_request, response) => {
        const report = health();
        send(response, report.ok ? 200 : 503, 'application/json', `${JSON.stringify(report)}\n`);
      },
    ],
    ...(options.routes ?? []),
  ]);
  const address = await startHttpServer({ listen, flag: '--metrics', routes, signal, log });
  log.info('serving metrics', { listen: formatListenAddress(address) });
  return address;
}
