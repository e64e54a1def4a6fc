import { type ServerDuplexStream, status } from '@grpc/grpc-js';

import type { Logger } from '../../common/log.js';
import type { RelayHello } from '../../generated/proto/iovn/v1/RelayHello.js';
import type { RelayQueryInput } from '../../generated/proto/iovn/v1/RelayQuery.js';
import type { RelayReply } from '../../generated/proto/iovn/v1/RelayReply.js';
import { certificateAllows } from '../peer-identity.js';
import { NodeLink } from './node-link.js';

type Call = ServerDuplexStream<RelayReply, RelayQueryInput>;

const helloTimeoutMs = 10_000;

/** Whether an agent with this id serves the chassis at present. */
export type Serves = (chassis: string, agentId: string) => boolean;

/** The nodes that can be asked at present. */
export class NodeLinks {
  readonly #links = new Map<string, NodeLink>();
  readonly #serves: Serves;
  readonly #log: Logger;

  constructor(serves: Serves, log: Logger) {
    this.#serves = serves;
    this.#log = log;
  }

  get(chassis: string): NodeLink | undefined {
    return this.#links.get(chassis);
  }

  /** Serves one NodeRelay.Serve stream until either side ends it. A newer one of the same chassis takes its place. */
  serve(call: Call): void {
    const link = new NodeLink((message) => void call.write(message));
    let chassis: string | undefined;
    const refuse = (code: status, details: string): void => {
      this.#log.warn('relay stream refused', { peer: call.getPeer(), reason: details });
      call.emit('error', { code, details });
    };
    const timer = setTimeout(() => refuse(status.DEADLINE_EXCEEDED, 'no hello'), helloTimeoutMs);
    timer.unref();
    const over = (): void => {
      clearTimeout(timer);
      link.close('the connection to the node was lost');
      if (chassis !== undefined && this.#links.get(chassis) === link) this.#links.delete(chassis);
    };
    call.on('data', (message: RelayReply) => {
      if (chassis !== undefined) link.receive(message);
      else if (!message.hello) refuse(status.FAILED_PRECONDITION, 'the first message must be hello');
      else {
        const refusal = this.#refusal(call, message.hello);
        clearTimeout(timer);
        if (refusal !== undefined) refuse(status.PERMISSION_DENIED, refusal);
        else chassis = this.#admit(message.hello, link);
      }
    });
    for (const event of ['end', 'cancelled', 'error']) call.on(event, over);
    call.on('end', () => call.end());
  }

  #admit({ chassis }: RelayHello, link: NodeLink): string {
    this.#links.get(chassis)?.close('the agent has opened another stream');
    this.#links.set(chassis, link);
    return chassis;
  }

  #refusal(call: Call, { chassis, agent_id: agentId }: RelayHello): string | undefined {
    const { sslPeerCertificate: certificate } = call.getAuthContext();
    if (certificate !== undefined && !certificateAllows(certificate, chassis))
      return `the agent's certificate is not for chassis ${chassis}`;
    return this.#serves(chassis, agentId) ? undefined : `the agent does not serve chassis ${chassis}`;
  }
}
