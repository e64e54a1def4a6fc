import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';

import { v1 } from '../../../common/proto.js';
import type { AgentMessage } from '../../../generated/proto/iovn/v1/AgentMessage.js';
import type { ControllerMessageInput } from '../../../generated/proto/iovn/v1/ControllerMessage.js';
import type { Update } from '../../../generated/proto/iovn/v1/Update.js';
import { eventually } from './eventually.js';

type Stream = ServerDuplexStream<AgentMessage, ControllerMessageInput>;

/** A controller that does what the test says, on loopback. */
export class FakeController {
  readonly port: number;
  readonly messages: AgentMessage[] = [];
  readonly streams: Stream[] = [];
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** `port` 0 lets the kernel choose. */
  static async start(port = 0): Promise<FakeController> {
    const server = new Server();
    const handlers = { accept: (_stream: Stream): void => undefined };
    server.addService(v1.ControlPlane.service, { Connect: (stream: Stream) => handlers.accept(stream) });
    const bound = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, actual) => {
        if (error) reject(error);
        else resolve(actual);
      });
    });
    const controller = new FakeController(server, bound);
    handlers.accept = (stream) => controller.#accept(stream);
    return controller;
  }

  get address(): { readonly host: string; readonly port: number } {
    return { host: '127.0.0.1', port: this.port };
  }

  /** On the newest stream. */
  send(message: ControllerMessageInput): void {
    const stream = this.streams.at(-1);
    if (stream === undefined) throw new Error('nobody is connected');
    stream.write(message);
  }

  update(update: Update): void {
    this.send({ update });
  }

  /** Waits for `count` streams and the hello of the newest. */
  async connected(count = 1): Promise<void> {
    await eventually(
      () => this.streams.length >= count && this.kinds().filter((kind) => kind === 'hello').length >= count,
      () => `${count} streams, there are ${this.streams.length}`,
    );
  }

  kinds(): readonly string[] {
    return this.messages.map(({ body }) => body ?? '');
  }

  last<K extends 'hello' | 'applied' | 'interfaces' | 'chassis' | 'status'>(
    kind: K,
  ): AgentMessage[K] | undefined {
    return this.messages.findLast(({ body }) => body === kind)?.[kind];
  }

  close(): void {
    this.#server.forceShutdown();
  }

  #accept(stream: Stream): void {
    this.streams.push(stream);
    stream.on('data', (message: AgentMessage) => this.messages.push(message));
    stream.on('end', () => stream.end());
    stream.on('error', () => undefined);
  }
}
