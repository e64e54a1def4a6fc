import { once } from 'node:events';
import net from 'node:net';

import { MessageReader } from '../../ovsdb/framing.js';
import { isJsonArray, isJsonObject, type Json, type JsonObject } from '../../ovsdb/json.js';

/** One client's connection to the fake server. */
export class Peer {
  readonly socket: net.Socket;
  /** Everything received, in order. */
  readonly received: JsonObject[] = [];

  constructor(socket: net.Socket) {
    this.socket = socket;
  }

  send(message: JsonObject): void {
    this.socket.write(JSON.stringify(message));
  }

  notify(method: string, params: readonly Json[]): void {
    this.send({ method, params, id: null });
  }

  requests(method: string): readonly JsonObject[] {
    return this.received.filter((message) => message['method'] === method);
  }
}

/** What a request is answered with; `undefined`: not at all. An `Answer` with `error` refuses it. */
export type Answer = { readonly result: Json } | { readonly error: Json } | undefined;
export type Script = Readonly<Record<string, (params: readonly Json[], peer: Peer) => Answer>>;

export const unknownMethod = (): Answer => ({ error: { error: 'unknown method' } });

/** Answers as a small standalone server with an empty table would. */
const defaultScript: Script = {
  echo: (params) => ({ result: params }),
  set_db_change_aware: () => ({ result: {} }),
  monitor: ([database]) =>
    database === '_Server'
      ? { result: { Database: { [rowId(99)]: { new: serverRow({ model: 'standalone' }) } } } }
      : { error: { error: 'unknown database' } },
  get_schema: () => ({ result: fakeSchema() }),
  monitor_cond_since: () => ({ result: [false, rowId(0), {}] }),
  transact: (params) => ({ result: params.slice(1).map(() => ({ count: 0 })) }),
};

/** A server whose every answer a test can replace. Listens on a port of its own on the loopback. */
export class FakeServer {
  readonly peers: Peer[] = [];
  script: Script;
  readonly #server: net.Server;

  private constructor(server: net.Server, script: Script) {
    this.#server = server;
    this.script = script;
    server.on('connection', (socket) => {
      const peer = new Peer(socket);
      this.peers.push(peer);
      socket.on('error', () => undefined);
      const reader = new MessageReader(() => ({ accept: () => false }));
      socket.on('data', (chunk: Buffer) => {
        for (const { value } of reader.push(chunk)) this.#answer(peer, value);
      });
    });
  }

  static async start(script: Script = {}): Promise<FakeServer> {
    const server = net.createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new FakeServer(server, script);
  }

  get remote(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return `tcp:127.0.0.1:${address.port}`;
  }

  /** The newest connection. */
  get peer(): Peer {
    const peer = this.peers.at(-1);
    if (peer === undefined) throw new Error('nobody has connected');
    return peer;
  }

  stop(): void {
    this.#server.close();
    for (const { socket } of this.peers) socket.destroy();
  }

  #answer(peer: Peer, message: Json): void {
    if (!isJsonObject(message)) throw new Error('the client sent something else than an object');
    peer.received.push(message);
    const { method, params, id = null } = message;
    if (typeof method !== 'string' || id === null) return;
    const handler = this.script[method] ?? defaultScript[method] ?? unknownMethod;
    const answer = handler(isJsonArray(params) ? params : [], peer);
    if (answer !== undefined) peer.send({ result: null, error: null, ...answer, id });
  }
}

export function fakeSchema(columns: JsonObject = {}): JsonObject {
  const defaults = { name: { type: 'string' }, tags: { type: { key: 'string', min: 0, max: 'unlimited' } } };
  return { name: 'Test', version: '1.0.0', tables: { Thing: { columns: { ...defaults, ...columns } } } };
}

/** A row of `_Server.Database` for database Test. */
export function serverRow(values: JsonObject): JsonObject {
  return { name: 'Test', model: 'clustered', connected: true, leader: true, ...values };
}

/** A uuid for a row or transaction; 0 gives the zero uuid. */
export function rowId(serial: number): string {
  return `00000000-0000-0000-0000-${String(serial).padStart(12, '0')}`;
}
