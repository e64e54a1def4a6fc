import type { Registry } from 'prom-client';

import { type HttpRoutes, startHttpServer } from '../common/http-server.js';
import { formatListenAddress, type ListenAddress } from '../common/listen-address.js';
import type { Logger } from '../common/log.js';
import { type Health, startMetricsServer } from '../common/metrics-server.js';
import { isLoopback } from '../common/virtual-link.js';

export interface HttpServersOptions {
  readonly settings: {
    readonly metrics: ListenAddress | undefined;
    /** Undefined: beside the metrics; false: nowhere. */
    readonly web: ListenAddress | false | undefined;
  };
  readonly registry: Registry;
  readonly health: () => Health;
  /** The web page's. */
  readonly routes: () => HttpRoutes;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

export interface HttpAddresses {
  /** With the ports chosen where they were 0; undefined where nothing is served. */
  readonly metrics: ListenAddress | undefined;
  readonly web: ListenAddress | undefined;
}

/** Serves metrics and the web page where the settings say. Rejects with ConfigError when it can't listen there. */
export async function startHttpServers(options: HttpServersOptions): Promise<HttpAddresses> {
  const { settings, registry, health, routes, signal, log } = options;
  const isShared = settings.web === undefined || isSame(settings.web, settings.metrics);
  const metrics =
    settings.metrics &&
    (await startMetricsServer({
      listen: settings.metrics,
      registry,
      health,
      ...(isShared ? { routes: routes() } : {}),
      signal,
      log,
    }));
  const web = isShared
    ? metrics
    : settings.web &&
      (await startHttpServer({ listen: settings.web, flag: '--web', routes: routes(), signal, log }));
  if (!web) return { metrics, web: undefined };
  log.info('serving the web page', { listen: formatListenAddress(web) });
  if (!isLoopback(web.host))
    log.warn('the web page asks for no password and is not on loopback', {
      listen: formatListenAddress(web),
    });
  return { metrics, web };
}

function isSame(web: ListenAddress | false, metrics: ListenAddress | undefined): boolean {
  if (web === false || web.port === 0 || metrics === undefined) return false;
  return formatListenAddress(web) === formatListenAddress(metrics);
}
