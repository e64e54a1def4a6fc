import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';

import type { Registry } from 'prom-client';

import { ConfigError, errorMessage } from './errors.js';
import { type BulkCounters, exposition } from './exposition.js';
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
  readonly bulk?: BulkCounters;
  readonly health: () => Health;
  /** Aborting it closes the server and every connection. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/**
 * Serves /metrics (Prometheus text format) and /healthz. Resolves with the address it listens on, its port chosen
 * where `listen.port` is 0. Rejects with ConfigError when it can't listen there.
 */
export async function startMetricsServer(options: MetricsServerOptions): Promise<ListenAddress> {
  const { listen, log, signal } = options;
  const server = createServer(requestListener(options));
  await listening(server, listen);
  server.on('error', (error) => log.error('metrics server failed', { error: error.message }));
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  if (signal.aborted) close();
  else signal.addEventListener('abort', close, { once: true });
  const bound = server.address();
  const address = { host: listen.host, port: typeof bound === 'object' && bound ? bound.port : listen.port };
  log.info('serving metrics', { listen: formatListenAddress(address) });
  return address;
}

function listening(server: Server, listen: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      const why = error.code === 'EADDRINUSE' ? 'the address is in use' : error.message;
      reject(new ConfigError(`--metrics '${formatListenAddress(listen)}': ${why}`, { code: error.code }));
    };
    server.once('error', failed);
    server.listen(listen.port, listen.host, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

function requestListener(options: MetricsServerOptions): RequestListener {
  const { registry, health } = options;
  return (request, response) => {
    const [route] = (request.url ?? '').split('?');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      send(response, 405, 'text/plain', 'only GET and HEAD\n');
    } else if (route === '/metrics') {
      if (request.method === 'HEAD') response.writeHead(200, { 'Content-Type': registry.contentType }).end();
      else void sendMetrics(response, options);
    } else if (route === '/healthz') {
      const report = health();
      send(response, report.ok ? 200 : 503, 'application/json', `${JSON.stringify(report)}\n`);
    } else {
      send(response, 404, 'text/plain', 'there are /metrics and /healthz\n');
    }
  };
}

/** Node sends bytes faster than text. */
async function* encode(pieces: AsyncIterable<string>): AsyncGenerator<Buffer> {
  for await (const piece of pieces) yield Buffer.from(piece);
}

/** What fails after the first piece breaks the connection off, so that nobody takes a part for the whole. */
async function sendMetrics(
  response: ServerResponse,
  { registry, bulk, log }: MetricsServerOptions,
): Promise<void> {
  const pieces = encode(exposition(registry, bulk));
  try {
    const first = await pieces.next();
    response.writeHead(200, { 'Content-Type': registry.contentType });
    if (first.done !== true) response.write(first.value);
    await pipeline(pieces, response);
  } catch (error) {
    if (response.headersSent) {
      log.warn('a scrape was broken off', { error: errorMessage(error) });
      response.destroy();
    } else {
      log.error('metrics could not be collected', { error: errorMessage(error) });
      send(response, 500, 'text/plain', `${errorMessage(error)}\n`);
    }
  }
}

/** Node leaves the body out of the answer to HEAD by itself. */
function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}
