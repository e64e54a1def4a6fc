import { readSettings } from '../common/config.js';
import { serverCredentials, tlsFiles } from '../common/credentials.js';
import { runDaemon } from '../common/daemon.js';
import { ConfigError } from '../common/errors.js';
import { createLogger } from '../common/log.js';
import { packageVersion } from '../common/package-root.js';
import { daemonFiles } from '../common/support-files.js';
import { openDatabase } from '../ovsdb/index.js';
import { Controller } from './controller.js';
import { Inspector } from './inspect.js';
import { createMetrics } from './metrics.js';
import { northboundTables } from './northbound.js';
import { startHttpServers } from './http-servers.js';
import { startServer } from './server.js';
import { controllerOptions } from './settings.js';
import { southboundTables } from './southbound.js';
import { webRoutes } from './web/web-routes.js';

const program = {
  name: 'iovn-controller',
  description: 'Turns OVN northbound and southbound content into intent for the agents on the hypervisors.',
};

async function main(signal: AbortSignal): Promise<void> {
  const settings = readSettings(program, controllerOptions);
  const { listen } = settings;
  if (listen === undefined) throw new ConfigError('give --listen HOST:PORT (or IOVN_LISTEN)');
  const log = createLogger(program.name, settings.logLevel);
  const credentials = serverCredentials(settings, listen);
  const files = tlsFiles(settings);
  const common = { signal, log, ...(files === undefined ? {} : { tls: files }) };
  log.info('starting', { version: packageVersion, nb: settings.nb, sb: settings.sb });
  const northbound = openDatabase({
    ...common,
    name: 'OVN_Northbound',
    remote: settings.nb,
    tables: northboundTables,
  });
  const southbound = openDatabase({
    ...common,
    name: 'OVN_Southbound',
    remote: settings.sb,
    tables: southboundTables,
  });
  const metrics = createMetrics();
  const controller = new Controller({ northbound, southbound, metrics, signal, log });
  const inspector = new Inspector({ controller, northbound, southbound });
  metrics.observe(() => inspector.snapshot());
  const supportFiles = daemonFiles({
    program: program.name,
    startedMs: controller.startedMs,
    settings,
    log,
    metrics: () => metrics.registry.metrics(),
  });
  const server = await startServer({
    controller,
    inspector,
    self: { log, supportFiles },
    listen,
    credentials,
    signal,
    log,
  });
  for (const database of [northbound, southbound]) {
    database.onStatus(() => server.setServing(inspector.health().ok));
    database.onUpdate(() => server.setServing(inspector.health().ok));
  }
  server.setServing(inspector.health().ok);
  const { registry } = metrics;
  const health = () => inspector.health();
  const routes = () => webRoutes({ controller, inspector, nodes: server.nodes });
  await startHttpServers({ settings, registry, health, routes, signal, log });
  await controller.run();
}

runDaemon(main, { name: program.name });
