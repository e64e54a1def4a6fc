import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

import { ConfigError, errorMessage } from './errors.js';
import { formatListenAddress, type ListenAddress } from './listen-address.js';
import type { Logger } from './log.js';

/** What answers one path. */
export type HttpAnswer = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/** By path, such as `/metrics`. */
export type HttpRoutes = ReadonlyMap<string, HttpAnswer>;

export interface HttpServerOptions {
  readonly listen: ListenAddress;
  /** The setting that says where to listen, for error messages. */
  readonly flag: `--${string}`;
  readonly routes: HttpRoutes;
  /** Aborting it closes the server and every connection. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/**
 * Serves GET and HEAD; anything else is 405, a path without a route 404. Resolves with the address it listens on, its port
 * chosen where `listen.port` is 0. Rejects with ConfigError when it can't listen there.
 */
export async function startHttpServer(options: HttpServerOptions): Promise<ListenAddress> {
  const { listen, flag, log, signal } = options;
  const server = createServer((request, response) => {
    answer(options, request, response).catch((error: unknown) => {
      log.error('request failed', { path: request.url, error: errorMessage(error) });
      if (response.headersSent) response.destroy();
      else sendText(response, 500, `${errorMessage(error)}\n`);
    });
  });
  await listening(server, listen, flag);
  server.on('error', (error) => log.error('HTTP server failed', { flag, error: error.message }));
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  if (signal.aborted) close();
  else signal.addEventListener('abort', close, { once: true });
  const bound = server.address();
  return { host: listen.host, port: typeof bound === 'object' && bound ? bound.port : listen.port };
}

async function answer(
  { routes }: HttpServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [path = ''] = (request.url ?? '').split('?');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    sendText(response, 405, 'only GET and HEAD\n');
    return;
  }
  const route = routes.get(path);
  if (route === undefined) sendText(response, 404, `there is no such page; there are ${pathsOf(routes)}\n`);
  else await route(request, response);
}

/** The files of a page are left out. */
function pathsOf(routes: HttpRoutes): string {
  return [...routes.keys()].filter((path) => !path.includes('.')).join(', ');
}

function listening(server: Server, listen: ListenAddress, flag: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      const why = error.code === 'EADDRINUSE' ? 'the address is in use' : error.message;
      reject(new ConfigError(`${flag} '${formatListenAddress(listen)}': ${why}`, { code: error.code }));
    };
    server.once('error', failed);
    server.listen(listen.port, listen.host, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

/** Node leaves the body out of the answer to HEAD by itself. */
export function send(
  response: ServerResponse,
  status: number,
  contentType: string,
  body: string | Buffer,
): void {
  response.writeHead(status, { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}

export function sendText(response: ServerResponse, status: number, text: string): void {
  send(response, status, 'text/plain; charset=utf-8', text);
}
