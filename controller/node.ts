import type { AgentStatus } from '../generated/proto/iovn/v1/AgentStatus.js';
import type { Applied } from '../generated/proto/iovn/v1/Applied.js';
import type { Interface } from '../generated/proto/iovn/v1/Interface.js';
import type { ResourceError } from '../generated/proto/iovn/v1/ResourceError.js';
import type { Answer } from './node-session.js';
import { changedPlugs, mergePlugs, type Plugs } from './plugs.js';
import { resourceKey } from './resource.js';
import type { ChassisConfig } from './sb-operations.js';

/** Who is behind a stream, from its Hello. */
export interface AgentIdentity {
  readonly agentId: string;
  readonly agentVersion: string;
  readonly kernelRelease: string;
  readonly kernelFeatures: readonly string[];
  readonly peer: string;
}

/** One hypervisor, as its agent describes it; remembered over disconnects until it is decommissioned. */
export class Node {
  readonly name: string;
  config: ChassisConfig;
  identity: AgentIdentity;
  connected = true;
  /** Epoch ms of the last connect or disconnect. */
  sinceMs: number;
  /** It has said on this connection which interfaces it has. */
  reported = false;
  decommissioning = false;
  interfaces: readonly Interface[] = [];
  plugs: Plugs = new Map();
  generationSent = 0;
  generationApplied = 0;
  /** Of the newest applied generation; undefined before the first. */
  nbCfgApplied: number | undefined;
  lastApplySeconds = 0;
  status: AgentStatus | undefined;
  /** What its chassis rows lack and why. */
  problems: readonly string[] = [];
  readonly errors = new Map<string, ResourceError>();

  constructor(config: ChassisConfig, identity: AgentIdentity, nowMs: number) {
    this.name = config.name;
    this.config = config;
    this.identity = identity;
    this.sinceMs = nowMs;
  }

  /** A new stream of the same agent; what was said of its interfaces stands until it says otherwise. */
  reconnect(config: ChassisConfig, identity: AgentIdentity, nowMs: number): void {
    this.config = config;
    this.identity = identity;
    this.connected = true;
    this.sinceMs = nowMs;
    this.reported = false;
    this.decommissioning = false;
    this.generationSent = 0;
    this.generationApplied = 0;
    this.nbCfgApplied = undefined;
    this.errors.clear();
  }

  disconnect(nowMs: number): void {
    this.connected = false;
    this.reported = false;
    this.sinceMs = nowMs;
  }

  /** Takes in a report; returns the iface-ids that it concerns. */
  report(interfaces: readonly Interface[], nextOrder: () => number): readonly string[] {
    const before = this.plugs;
    const first = !this.reported;
    this.plugs = mergePlugs(before, interfaces, first, nextOrder);
    this.interfaces = interfaces;
    this.reported = true;
    for (const { iface_id: id, installed_binding: binding } of interfaces) {
      if (binding !== '') this.errors.delete(`Port/${id}`);
    }
    return first ? [...new Set([...before.keys(), ...this.plugs.keys()])] : changedPlugs(before, this.plugs);
  }

  /** Takes in the first answer to a generation. */
  applied({ nbCfg }: Answer, message: Applied): void {
    this.generationApplied = Number(message.generation);
    this.nbCfgApplied = nbCfg;
    this.lastApplySeconds = message.apply_seconds;
    this.setErrors(message.errors);
  }

  /** Everything that the agent can't apply at present. */
  setErrors(errors: readonly ResourceError[]): void {
    this.errors.clear();
    for (const error of errors) {
      this.errors.set(resourceKey(error.id?.kind ?? '', error.id?.name ?? ''), error);
    }
  }

  /** The plug with this iface-id has had its chance. */
  spend(ifaceId: string): void {
    const plug = this.plugs.get(ifaceId);
    if (plug === undefined || plug.spent) return;
    this.plugs = new Map(this.plugs).set(ifaceId, { ...plug, spent: true });
  }
}
