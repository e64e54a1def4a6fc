import { formatIp, parseIp, type Uuid } from '../common/addresses.js';
import type { Interface } from '../generated/proto/iovn/v1/Interface.js';
import type { NestedPort } from '../generated/proto/iovn/v1/NestedPort.js';
import {
  type Decision,
  decideClaim,
  decideNested,
  type Holder,
  type ParentPlugs,
  type Plug,
  type Refusal,
} from './claims.js';
import type { Model } from './model.js';
import type { Node } from './node.js';
import type { PlugState } from './plugs.js';
import { isLocalport, isVif, parentOf, type PortBinding } from './southbound.js';

/** How long a chassis that is not connected here keeps a port from an undated plug, in ms. */
export const holderGraceMs = 30_000;

export interface ClaimContext {
  readonly model: Model;
  readonly nodes: ReadonlyMap<string, Node>;
  /** Connected nodes by iface-id of their plugs. */
  readonly nodesByPlug: ReadonlyMap<string, ReadonlySet<Node>>;
  readonly nowMs: number;
  /** Epoch ms since when this controller can have heard from agents. */
  readonly startedMs: number;
  /** See `ClaimInput.hasAdditional`. */
  readonly hasAdditional: boolean;
}

/** Decides one port by what the model and the nodes say now; undefined when no node of ours has to do with it. */
export function decidePort(context: ClaimContext, logicalPort: string): Decision | undefined {
  const { model, nodes } = context;
  const binding = model.binding(logicalPort);
  if (binding === undefined) return undefined;
  const plugs: Plug[] = [];
  for (const node of context.nodesByPlug.get(logicalPort) ?? []) {
    const state = node.plugs.get(logicalPort);
    if (state !== undefined && isClaimant(node)) plugs.push(plugOf(model, node, state));
  }
  const ours = new Map<Uuid, string>();
  for (const chassis of [binding.chassis, ...binding.additional_chassis]) {
    const node = nodes.get(model.chassisName(chassis) ?? '');
    if (chassis !== undefined && node !== undefined && isClaimant(node)) ours.set(chassis, node.name);
  }
  const { hasAdditional } = context;
  const parent = parentPlugs(context, binding);
  const hasParent = parent.main !== undefined || parent.additional.length > 0;
  if (plugs.length === 0 && ours.size === 0 && !hasParent) return undefined;
  const decision = decideClaim({ binding, plugs, holder: holderOf(context, binding), ours, hasAdditional });
  return parentOf(binding) === undefined ? decision : decideNested(decision, parent, ours);
}

function parentPlugs(context: ClaimContext, binding: PortBinding): ParentPlugs {
  const name = parentOf(binding);
  const parent = name === undefined ? undefined : context.model.binding(name);
  const decision = parent && isVif(parent) ? decidePort(context, parent.logical_port) : undefined;
  if (parent === undefined || decision === undefined) return { main: undefined, additional: [] };
  const ofNested = (plug: Plug): Plug => {
    const device = context.nodes.get(plug.node)?.plugs.get(parent.logical_port)?.interface;
    const nested = device === undefined ? undefined : nestedPort(device, binding);
    return { ...plug, installedBinding: nested?.install_error === '' ? binding._uuid : '' };
  };
  return {
    main: decision.main.kind === 'plug' ? ofNested(decision.main.plug) : undefined,
    additional: decision.additional.map(ofNested),
  };
}

/** What an agent says of a nested port behind the parent's interface. */
export function nestedPort(
  { nested }: Pick<Interface, 'nested'>,
  { _uuid }: PortBinding,
): NestedPort | undefined {
  return nested.find(({ binding }) => binding === _uuid);
}

/** Only what a node has said on its present connection counts. */
function isClaimant(node: Node): boolean {
  return node.connected && node.reported && !node.decommissioning;
}

function plugOf(model: Model, node: Node, { interface: device, order, spent }: PlugState): Plug {
  return {
    node: node.name,
    hostname: node.config.hostname,
    chassis: model.chassis(node.name)?._uuid,
    interface: device.name,
    ifaceIdVer: device.iface_id_ver,
    encap: encapOf(model, node.name, device.encap_ip),
    installedBinding: device.installed_binding,
    activatedBinding: device.activated_binding,
    order,
    spent,
  };
}

/** The chassis' Encap row with an interface's encap-ip, Geneve before others; undefined when the chassis has no such address. */
export function encapOf(model: Model, node: string, text: string): Uuid | undefined {
  const ip = parseIp(text);
  if (ip === undefined) return undefined;
  const rows = ['geneve', 'stt', 'vxlan'].flatMap((type) => model.encap(type, formatIp(ip)) ?? []);
  return rows.find((row) => row.chassis_name === node)?._uuid;
}

function holderOf({ model, nodes, nowMs, startedMs }: ClaimContext, binding: PortBinding): Holder {
  const name = model.chassisName(binding.chassis);
  if (name === undefined) return { kind: 'nobody' };
  const node = nodes.get(name);
  if (node?.connected) return { kind: 'node', node: name, reported: node.reported };
  const lastSeenMs = Math.max(startedMs, node?.sinceMs ?? 0);
  return { kind: 'elsewhere', name, mayReturn: nowMs - lastSeenMs < holderGraceMs };
}

/** Why a node can't have a port, by logical port and node, from the latest decisions. */
export class ClaimBoard {
  readonly #decisions = new Map<string, Decision>();
  readonly #waiting = new Set<string>();

  /** Takes in a decision; returns the one before it. */
  set(logicalPort: string, decision: Decision | undefined): Decision | undefined {
    const previous = this.#decisions.get(logicalPort);
    if (decision === undefined) this.#decisions.delete(logicalPort);
    else this.#decisions.set(logicalPort, decision);
    if (decision !== undefined && isWaiting(decision)) this.#waiting.add(logicalPort);
    else this.#waiting.delete(logicalPort);
    return previous;
  }

  decision(logicalPort: string): Decision | undefined {
    return this.#decisions.get(logicalPort);
  }

  refusal(logicalPort: string, node: string): Refusal | undefined {
    return this.#decisions.get(logicalPort)?.refusals.get(node);
  }

  /** Ports whose holder has been given time to return: to be decided again when that is over. */
  waiting(): ReadonlySet<string> {
    return this.#waiting;
  }

  /**
   * Whether everything that the node has plugged is dealt with: refused, or claimed in the database and answered by
   * the node, with `up` written. Until then nb_cfg is not acknowledged. `held` are the datapaths that the node gets.
   */
  isSettled(model: Model, node: Node, held: ReadonlySet<Uuid>): boolean {
    const chassis = model.chassis(node.name)?._uuid;
    for (const [name, { interface: device }] of node.plugs) {
      const binding = model.binding(name);
      if (binding === undefined) continue;
      if (chassis === undefined) return false;
      if (this.refusal(name, node.name) !== undefined) continue;
      const error = device.install_error;
      const isInstalled = device.installed_binding === binding._uuid;
      if (isLocalport(binding)) {
        if (held.has(binding.datapath) && !isInstalled && error === '') return false;
      } else if (!isAnswered(binding, chassis, isInstalled, error)) return false;
      if (!this.#areNestedSettled(model, node, chassis, device)) return false;
    }
    return true;
  }

  #areNestedSettled(model: Model, node: Node, chassis: Uuid, device: Interface): boolean {
    for (const binding of model.nestedIn(device.iface_id)) {
      const decision = this.decision(binding.logical_port);
      const plugs = decision?.main.kind === 'plug' ? [decision.main.plug] : [];
      if (![...plugs, ...(decision?.additional ?? [])].some((plug) => plug.node === node.name)) continue;
      const answer = nestedPort(device, binding);
      const error = answer?.install_error ?? '';
      if (!isAnswered(binding, chassis, answer !== undefined && error === '', error)) return false;
    }
    return true;
  }
}

/**
 * The port is bound to the chassis, which has said what became of it; `up` follows where it is installed, unless the chassis is
 * an additional one.
 */
function isAnswered(binding: PortBinding, chassis: Uuid, isInstalled: boolean, error: string): boolean {
  if (binding.additional_chassis.includes(chassis)) return isInstalled || error !== '';
  if (binding.chassis !== chassis) return false;
  return isInstalled ? binding.up !== false : error !== '';
}

function isWaiting(decision: Decision): boolean {
  return [...decision.refusals.values()].some(({ code }) => code === 'holder_may_return');
}
