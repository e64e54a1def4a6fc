import { type ServerDuplexStream, status } from '@grpc/grpc-js';

import type { Logger } from '../common/log.js';
import type { AgentMessage } from '../generated/proto/iovn/v1/AgentMessage.js';
import type { ControllerMessageInput } from '../generated/proto/iovn/v1/ControllerMessage.js';
import type { Hello } from '../generated/proto/iovn/v1/Hello.js';
import { checkChassis, checkInterfaces, limits } from './agent-report.js';
import type { Controller } from './controller.js';
import { certificateAllows } from './peer-identity.js';
import type { ChassisConfig } from './sb-operations.js';
import type { Stream } from './stream.js';

/** How long a stream may be open without a Hello, in ms. */
const helloTimeoutMs = 10_000;

type Call = ServerDuplexStream<AgentMessage, ControllerMessageInput>;

/** Serves one ControlPlane.Connect stream until either side ends it. */
export function serveAgent(controller: Controller, call: Call, log: Logger): void {
  const connection = new AgentConnection(controller, call, log);
  call.on('data', (message: AgentMessage) => connection.receive(message));
  call.on('end', () => connection.end());
  call.on('cancelled', () => connection.end());
  call.on('error', () => connection.end());
}

class AgentConnection implements Stream {
  readonly #controller: Controller;
  readonly #call: Call;
  readonly #log: Logger;
  readonly #helloTimer: NodeJS.Timeout;
  /** Chassis.name, once it has been accepted. */
  #chassis: string | undefined;
  #ended = false;

  constructor(controller: Controller, call: Call, log: Logger) {
    this.#controller = controller;
    this.#call = call;
    this.#log = log.child({ peer: call.getPeer() });
    this.#helloTimer = setTimeout(() => this.#fail(status.DEADLINE_EXCEEDED, 'no hello'), helloTimeoutMs);
    this.#helloTimer.unref();
  }

  receive(message: AgentMessage): void {
    if (this.#ended) return;
    if (this.#chassis === undefined) {
      if (message.hello) this.#hello(message.hello);
      else this.#fail(status.FAILED_PRECONDITION, 'the first message must be hello');
    } else {
      this.#dispatch(this.#chassis, message);
    }
  }

  send(message: ControllerMessageInput, written: () => void): void {
    if (this.#ended) return;
    this.#call.write(message, () => {
      if (!this.#ended) written();
    });
  }

  replaced(): void {
    this.#fail(status.ABORTED, 'replaced by a newer stream of the same agent');
  }

  decommissioned(): void {
    this.send({ decommissioned: {} }, () => undefined);
    this.#close();
    this.#call.end();
  }

  /** The other side is gone or done. */
  end(): void {
    if (this.#ended) return;
    this.#close();
    this.#call.end();
  }

  #hello(hello: Hello): void {
    const chassis = checkChassis(hello.chassis);
    if (!chassis.ok) {
      this.#refuse('invalid_chassis', chassis.reason);
      return;
    }
    const { name } = chassis.value;
    if (hello.agent_id === '' || Buffer.byteLength(hello.agent_id) > limits.nameLength) {
      this.#refuse('invalid_agent_id', 'the agent id is empty or too long');
      return;
    }
    const { sslPeerCertificate: certificate } = this.#call.getAuthContext();
    if (certificate !== undefined && !certificateAllows(certificate, name)) {
      this.#refuse('chassis_not_in_certificate', `the agent's certificate is not for chassis ${name}`);
      return;
    }
    const identity = {
      agentId: hello.agent_id,
      agentVersion: hello.agent_version.slice(0, limits.nameLength),
      kernelRelease: hello.kernel_release.slice(0, limits.nameLength),
      kernelFeatures: hello.kernel_features.slice(0, limits.encaps),
      peer: this.#call.getPeer(),
    };
    const taken = this.#controller.connect(chassis.value, identity, this);
    if (taken !== undefined) {
      this.#refuse('chassis_name_taken', taken);
      return;
    }
    clearTimeout(this.#helloTimer);
    this.#chassis = name;
  }

  #dispatch(chassis: string, message: AgentMessage): void {
    if (message.applied) this.#applied(chassis, message.applied);
    else if (message.interfaces) this.#interfaces(chassis, message.interfaces.interfaces);
    else if (message.chassis) this.#configure(chassis, checkChassis(message.chassis));
    else if (message.decommission) this.#controller.decommission(chassis);
    else if (message.learned)
      this.#controller.learned(chassis, message.learned.macs.slice(0, limits.learnedMacs));
    else if (message.status) {
      const maps = message.status.maps.slice(0, limits.mapUsages);
      this.#controller.setStatus(chassis, { ...message.status, maps });
    } else if (message.hello) this.#fail(status.FAILED_PRECONDITION, 'a second hello');
  }

  #applied(chassis: string, message: NonNullable<AgentMessage['applied']>): void {
    const errors = message.errors.slice(0, limits.resourceErrors);
    if (!this.#controller.applied(chassis, { ...message, errors })) {
      this.#fail(status.INVALID_ARGUMENT, `generation ${message.generation} has not been sent`);
    }
  }

  #interfaces(chassis: string, interfaces: NonNullable<AgentMessage['interfaces']>['interfaces']): void {
    const checked = checkInterfaces(interfaces);
    if (checked.ok) this.#controller.report(chassis, checked.value);
    else this.#fail(status.INVALID_ARGUMENT, checked.reason);
  }

  #configure(chassis: string, checked: ReturnType<typeof checkChassis>): void {
    if (!checked.ok) this.#refuse('invalid_chassis', checked.reason);
    else if (checked.value.name !== chassis) this.#renamed(checked.value);
    else this.#controller.configure(chassis, checked.value);
  }

  /** Another name is another chassis: it starts with a hello. */
  #renamed({ name }: ChassisConfig): void {
    this.#fail(status.ABORTED, `the chassis is called ${name} now: connect again`);
  }

  #refuse(code: string, message: string): void {
    this.#log.warn('agent refused', { code, reason: message });
    this.send({ refusal: { code, message } }, () => undefined);
    this.#close();
    this.#call.end();
  }

  #fail(code: status, details: string): void {
    if (this.#ended) return;
    this.#log.warn('agent stream closed', { chassis: this.#chassis, reason: details });
    this.#close();
    this.#call.emit('error', { code, details });
  }

  #close(): void {
    this.#ended = true;
    clearTimeout(this.#helloTimer);
    if (this.#chassis !== undefined) this.#controller.disconnect(this.#chassis, this);
  }
}
