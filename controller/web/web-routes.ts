import type { IncomingMessage, ServerResponse } from 'node:http';

import { IovnError } from '../../common/errors.js';
import { type HttpAnswer, type HttpRoutes, send } from '../../common/http-server.js';
import type { NodeAsker } from '../../inspect/node-answers.js';
import { gatherPortFacts, whyPage } from '../../inspect/why.js';
import type { Controller } from '../controller.js';
import type { Inspector } from '../inspect.js';
import { LiveFeed } from './live-feed.js';
import { etagOf, type PageFile, readPageFiles } from './page-files.js';
import type { ApiError } from './shapes.js';
import { topologyOf } from './topology.js';

export interface WebOptions {
  readonly controller: Controller;
  readonly inspector: Inspector;
  readonly nodes: NodeAsker;
  /** Epoch ms. */
  readonly now?: () => number;
  /** Shortest time between two questions to a node, and between two views of the databases. */
  readonly intervalMs?: number;
}

/** Questions about single ports that may be open at a time; each goes to a node by itself. */
const maximumQuestions = 8;
const defaultIntervalMs = 2000;

/** Nothing from elsewhere, nothing inline, no text that becomes markup, in nobody's frame. */
const securityHeaders: Readonly<Record<string, string>> = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

/** The web page and what it asks for (docs/web.md). It reads; nothing here changes anything. */
export function webRoutes(options: WebOptions): HttpRoutes {
  const routes = new Map<string, HttpAnswer>([
    ['/api/topology', topologyRoute(options)],
    ['/api/live', liveRoute(options)],
    ['/api/why', whyRoute(options)],
  ]);
  for (const [name, file] of readPageFiles()) {
    const route: HttpAnswer = (request, response) => sendUnlessKnown(request, response, file);
    routes.set(name === 'index.html' ? '/' : `/web/${name}`, route);
  }
  return new Map(Array.from(routes, ([path, route]) => [path, secured(route)]));
}

function secured(route: HttpAnswer): HttpAnswer {
  return (request, response) => {
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    return route(request, response);
  };
}

/** Computed anew once per interval, for all who look. */
function topologyRoute({ controller, inspector, now = Date.now, intervalMs }: WebOptions): HttpAnswer {
  let cached: PageFile | undefined;
  let computedMs = Number.NEGATIVE_INFINITY;
  return (request, response) => {
    if (cached === undefined || now() - computedMs >= (intervalMs ?? defaultIntervalMs)) {
      computedMs = now();
      cached = jsonFile(topologyOf(controller, inspector));
    }
    sendUnlessKnown(request, response, cached);
  };
}

function liveRoute({ inspector, nodes, now = Date.now, intervalMs }: WebOptions): HttpAnswer {
  const feed = new LiveFeed({
    findNodes: () => inspector.knownNodes(''),
    nodes,
    now,
    intervalMs: intervalMs ?? defaultIntervalMs,
  });
  const bodies = new WeakMap<object, Buffer>();
  return async (_request, response) => {
    const live = await feed.read();
    const body = bodies.get(live) ?? jsonFile(live).body;
    bodies.set(live, body);
    sendJson(response, 200, body);
  };
}

function whyRoute({ inspector, nodes, now = Date.now }: WebOptions): HttpAnswer {
  const source = {
    listPorts: () => Promise.resolve(inspector.ports('', '')),
    listNodes: (chassis: string) => {
      const known = inspector.knownNodes(chassis);
      return Promise.resolve({
        nodes: known.map(({ connected, sinceMs }) => ({ connected, since: sinceMs / 1000 })),
      });
    },
  };
  let open = 0;
  return async (request, response) => {
    const port = new URLSearchParams((request.url ?? '').replace(/^[^?]*\??/, '')).get('port');
    if (port === null) {
      sendError(response, 400, 'say which port: api/why?port=NAME');
      return;
    }
    if (open >= maximumQuestions) {
      response.setHeader('Retry-After', '1');
      sendError(response, 503, `${maximumQuestions} such questions are open already: try again`);
      return;
    }
    open += 1;
    try {
      const facts = await gatherPortFacts(port, source, nodes);
      sendJson(response, 200, JSON.stringify(whyPage(facts, now() / 1000)));
    } catch (error) {
      if (!(error instanceof IovnError)) throw error;
      sendError(response, error.code === 'unknown_port' ? 404 : 502, error.message);
    } finally {
      open -= 1;
    }
  };
}

function jsonFile(value: object): PageFile {
  const body = Buffer.from(JSON.stringify(value));
  return { contentType: 'application/json', body, etag: etagOf(body) };
}

/** The browser asks each time whether it has changed, and gets it only then. */
function sendUnlessKnown(
  request: IncomingMessage,
  response: ServerResponse,
  { contentType, body, etag }: PageFile,
): void {
  response.setHeader('Cache-Control', 'no-cache');
  response.setHeader('ETag', etag);
  const known = (request.headers['if-none-match'] ?? '').split(',').map((each) => each.trim());
  if (known.some((each) => each.replace(/^W\//, '') === etag)) response.writeHead(304).end();
  else send(response, 200, contentType, body);
}

function sendJson(response: ServerResponse, status: number, body: string | Buffer): void {
  response.setHeader('Cache-Control', 'no-store');
  send(response, status, 'application/json', body);
}

function sendError(response: ServerResponse, status: number, error: string): void {
  sendJson(response, status, JSON.stringify({ error } satisfies ApiError));
}
