import {
  type ChannelCredentials,
  type ClientDuplexStream,
  credentials,
  type ServiceError,
} from '@grpc/grpc-js';

import { v1 } from '../../../common/proto.js';
import type { AgentMessageInput } from '../../../generated/proto/iovn/v1/AgentMessage.js';
import type { ControllerMessage } from '../../../generated/proto/iovn/v1/ControllerMessage.js';
import type { InterfaceInput } from '../../../generated/proto/iovn/v1/Interface.js';
import type { Port } from '../../../generated/proto/iovn/v1/Port.js';
import type { Update } from '../../../generated/proto/iovn/v1/Update.js';

export interface FakeAgentOptions {
  readonly address: string;
  readonly chassis: string;
  readonly agentId?: string;
  readonly ip?: string;
  readonly hostname?: string;
  /** Answer each update and install what is bound here, as a working agent does; default true. */
  readonly obedient?: boolean;
  readonly credentials?: ChannelCredentials;
}

/** An agent without a kernel: it keeps what it is sent and answers as told. */
export class FakeAgent {
  readonly updates: Update[] = [];
  readonly refusals: { readonly code: string; readonly message: string }[] = [];
  /** Resources held, `kind/name` → body. */
  readonly held = new Map<string, Buffer>();
  decommissioned = false;
  ended = false;
  error: ServiceError | undefined;
  obedient: boolean;
  readonly #client;
  readonly #stream: ClientDuplexStream<AgentMessageInput, ControllerMessage>;
  readonly #chassis: string;
  #interfaces = new Map<string, InterfaceInput>();

  constructor(options: FakeAgentOptions) {
    this.#chassis = options.chassis;
    this.obedient = options.obedient ?? true;
    this.#client = new v1.ControlPlane(options.address, options.credentials ?? credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
    });
    this.#stream = this.#client.Connect();
    this.#stream.on('data', (message: ControllerMessage) => this.#receive(message));
    this.#stream.on('error', (error: ServiceError) => {
      this.error = error;
      this.ended = true;
    });
    this.#stream.on('end', () => {
      this.ended = true;
    });
    this.send({
      hello: {
        chassis: {
          name: options.chassis,
          hostname: options.hostname ?? `${options.chassis}.example`,
          encaps: [{ type: 'geneve', ip: options.ip ?? '192.0.2.1', options: { csum: 'true' } }],
          other_config: { 'datapath-type': 'ebpf', 'ovn-bridge-mappings': '' },
        },
        agent_id: options.agentId ?? `id-${options.chassis}`,
        agent_version: '0.0.0',
        kernel_release: 'test',
      },
    });
  }

  send(message: AgentMessageInput): void {
    if (!this.ended) this.#stream.write(message);
  }

  /** Plugs or replugs an interface and reports all of them. */
  plug(ifaceId: string, more: InterfaceInput = {}): void {
    const name = more.name ?? `tap-${ifaceId}`;
    this.#interfaces.set(name, { name, iface_id: ifaceId, ifindex: this.#interfaces.size + 1, ...more });
    this.report();
  }

  /** Plugs them all and reports once. */
  plugAll(ifaceIds: readonly string[]): void {
    for (const ifaceId of ifaceIds) {
      const name = `tap-${ifaceId}`;
      this.#interfaces.set(name, { name, iface_id: ifaceId, ifindex: this.#interfaces.size + 1 });
    }
    this.report();
  }

  unplug(ifaceId: string): void {
    for (const [name, device] of this.#interfaces) {
      if (device.iface_id === ifaceId) this.#interfaces.delete(name);
    }
    this.report();
  }

  /** Says what it has, after installing what is bound here when it is obedient. */
  report(): void {
    if (this.obedient) this.#install();
    this.send({ interfaces: { interfaces: [...this.#interfaces.values()] } });
  }

  /** Changes what is reported of an interface. */
  amend(ifaceId: string, more: InterfaceInput): void {
    for (const [name, device] of this.#interfaces) {
      if (device.iface_id === ifaceId) this.#interfaces.set(name, { ...device, ...more });
    }
    this.report();
  }

  apply(generation: string): void {
    this.send({ applied: { generation, apply_seconds: 0.001 } });
  }

  port(name: string): Port | undefined {
    const body = this.held.get(`Port/${name}`);
    return body && v1.Port.deserialize(body);
  }

  get generation(): number {
    return Number(this.updates.at(-1)?.generation ?? 0);
  }

  close(): void {
    this.ended = true;
    this.#stream.cancel();
    this.#client.close();
  }

  #receive(message: ControllerMessage): void {
    if (message.refusal) this.refusals.push(message.refusal);
    if (message.decommissioned) this.decommissioned = true;
    if (message.update) this.#update(message.update);
  }

  #update(update: Update): void {
    this.updates.push(update);
    if (update.snapshot) this.held.clear();
    for (const { id, body } of update.changed) this.held.set(`${id?.kind ?? ''}/${id?.name ?? ''}`, body);
    for (const { kind, name } of update.removed) this.held.delete(`${kind}/${name}`);
    if (!this.obedient) return;
    if (this.#install()) this.send({ interfaces: { interfaces: [...this.#interfaces.values()] } });
    this.apply(update.generation);
  }

  #install(): boolean {
    let changed = false;
    for (const [name, device] of this.#interfaces) {
      const port = this.port(device.iface_id ?? '');
      const hosts = port === undefined ? [] : [port.chassis, ...port.additional_chassis];
      const isHere = hosts.includes(this.#chassis) && (device.error ?? '') === '';
      const installed = isHere ? (port?.binding ?? '') : '';
      if (installed === (device.installed_binding ?? '')) continue;
      this.#interfaces.set(name, { ...device, installed_binding: installed });
      changed = true;
    }
    return changed;
  }
}
