import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';

import type { Registry } from 'prom-client';

import { errorMessage } from './errors.js';
import { type BulkCounters, exposition } from './exposition.js';
import { type HttpRoutes, send, sendText, startHttpServer } from './http-server.js';
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
  const { listen, health, log, signal } = options;
  const routes: HttpRoutes = new Map([
    ['/metrics', (request, response) => answerScrape(request, response, options)],
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

async function answerScrape(
  { method }: IncomingMessage,
  response: ServerResponse,
  options: MetricsServerOptions,
): Promise<void> {
  if (method === 'HEAD') response.writeHead(200, { 'Content-Type': options.registry.contentType }).end();
  else await sendMetrics(response, options);
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
      sendText(response, 500, `${errorMessage(error)}\n`);
    }
  }
}
