import type { Uuid } from '../common/addresses.js';
import { awaitingChassis } from './activation.js';
import { isLocalport, isVif, type PortBinding } from './southbound.js';

/** An interface without error that carries the port's name as iface-id, on a node that is connected and has reported. */
export interface Plug {
  /** Chassis.name */
  readonly node: string;
  readonly hostname: string;
  /** The node's Chassis row; undefined until it is there, and then nothing can be claimed. */
  readonly chassis: Uuid | undefined;
  /** The netdev. */
  readonly interface: string;
  readonly ifaceIdVer: string;
  /** The Encap row that the interface asks for by its encap-ip. */
  readonly encap: Uuid | undefined;
  readonly installedBinding: string;
  /** See proto/iovn.proto Interface.activated_binding. */
  readonly activatedBinding: string;
  /** When it was plugged, relative to others; 0 = before its node was heard of, nobody knows when. */
  readonly order: number;
  /** It has had its chance: the port has since been bound here, by a later plug, or where it was requested. It takes only a free port. */
  readonly spent: boolean;
}

/** Whoever has the port now. */
export type Holder =
  | { readonly kind: 'nobody' }
  /** A node connected to this controller; `reported` = it has said which interfaces it has. */
  | { readonly kind: 'node'; readonly node: string; readonly reported: boolean }
  /** Somebody not connected here. `mayReturn` = give it time before an undated plug takes the port. */
  | { readonly kind: 'elsewhere'; readonly name: string; readonly mayReturn: boolean };

export interface Refusal {
  readonly code: RefusalCode;
  readonly message: string;
}

export const refusalCodes = [
  'requested_elsewhere',
  'iface_id_ver',
  'claimed_elsewhere',
  'holder_may_return',
  'not_a_vif',
  'no_chassis',
] as const;
export type RefusalCode = (typeof refusalCodes)[number];

export interface Decision {
  readonly binding: PortBinding;
  /** Who shall have it; `keep` = leave chassis, encap and up as they are. */
  readonly main:
    | { readonly kind: 'plug'; readonly plug: Plug }
    | { readonly kind: 'release' }
    | { readonly kind: 'keep' };
  /** Who shall have it in addition, and which additional chassis of ours shall not have it any more. */
  readonly additional: readonly Plug[];
  readonly removeAdditional: readonly Uuid[];
  /** Chassis.names of additional chassis on which the port has been activated and is not known for it yet. */
  readonly activated: readonly string[];
  /** By node. */
  readonly refusals: ReadonlyMap<string, Refusal>;
  /** Plugs whose chance is over, by node. */
  readonly spent: readonly string[];
}

export interface ClaimInput {
  readonly binding: PortBinding;
  readonly plugs: readonly Plug[];
  readonly holder: Holder;
  /** Chassis rows of connected nodes that have reported, whose bindings are ours to release. */
  readonly ours: ReadonlyMap<Uuid, string>;
  /** The database has a place for additional chassis (OVN 22.06). */
  readonly hasAdditional: boolean;
}

/** Who gets the port in which another is nested, with what is said there of the nested one. */
export interface ParentPlugs {
  readonly main: Plug | undefined;
  readonly additional: readonly Plug[];
}

export type Eligibility = 'main' | 'additional' | 'no';

/** ovn-nb(5) Logical_Switch_Port.options:requested-chassis, as ovn-controller reads it. */
export function eligibility(
  binding: PortBinding,
  plug: Pick<Plug, 'node' | 'hostname' | 'chassis'>,
): Eligibility {
  if (plug.chassis !== undefined && binding.requested_chassis === plug.chassis) return 'main';
  if (plug.chassis !== undefined && binding.requested_additional_chassis.includes(plug.chassis))
    return 'additional';
  const requested = (binding.options.get('requested-chassis') ?? '').split(',').filter((name) => name !== '');
  if (requested.length === 0) return 'main';
  const position = requested.findIndex((name) => name === plug.node || name === plug.hostname);
  if (position < 0) return 'no';
  return position === 0 ? 'main' : 'additional';
}

/**
 * Who gets a port. The latest plug wins and an earlier one does not fight back; a port without any plug left is
 * released. Only what has been reported counts: a disconnected node keeps what it has.
 */
export function decideClaim(input: ClaimInput): Decision {
  const { binding, holder } = input;
  if (isLocalport(binding)) return claimOfNobody(input);
  const refusals = new Map<string, Refusal>();
  const main: Plug[] = [];
  const additional: Plug[] = [];
  for (const plug of input.plugs) {
    const refusal = refuse(input, plug);
    if (refusal !== undefined) refusals.set(plug.node, refusal);
    else if (eligibility(binding, plug) === 'main') main.push(plug);
    else additional.push(plug);
  }
  const winner = chooseMain(binding, holder, main);
  for (const plug of main) {
    if (plug !== winner) refusals.set(plug.node, lost(input, plug, winner));
  }
  const settled = winner !== undefined && binding.chassis === winner.chassis;
  return {
    binding,
    main: mainOutcome(input, winner),
    ...additionalOutcome(input, additional, winner),
    refusals,
    spent: settled ? (isRequested(binding) ? input.plugs : main).map((plug) => plug.node) : [],
  };
}

/** Every node has the port; a claim that is there, such as from before its type was changed, is undone. */
function claimOfNobody(input: ClaimInput): Decision {
  const { binding } = input;
  const additions = additionalOutcome(input, [], undefined);
  return { binding, main: mainOutcome(input, undefined), ...additions, refusals: new Map(), spent: [] };
}

/**
 * A nested port is where its parent is (ovn-controller's rule): whoever gets the parent gets it, without a choice of its
 * own. `own` is what its own name as iface-id leads to, which is nothing but refusals; `parent` is who gets the parent.
 * In a migration that holds for the additional chassis, too, where two ovn-controllers would take it from each other.
 */
export function decideNested(own: Decision, parent: ParentPlugs, ours: ClaimInput['ours']): Decision {
  const { main, additional } = parent;
  const { binding } = own;
  const isOurs = binding.chassis !== undefined && ours.has(binding.chassis);
  return {
    ...own,
    main: main === undefined ? { kind: isOurs ? 'release' : 'keep' } : { kind: 'plug', plug: main },
    additional,
    removeAdditional: leftOver(binding, ours, additional),
  };
}

function refuse({ binding, hasAdditional }: ClaimInput, plug: Plug): Refusal | undefined {
  if (!isVif(binding)) {
    const what =
      binding.type === '' ? `nested in port ${binding.parent_port ?? ''}` : `of type ${binding.type}`;
    return { code: 'not_a_vif', message: `the port is ${what}: an interface can't be bound to it` };
  }
  if (plug.chassis === undefined) {
    return {
      code: 'no_chassis',
      message: `chassis ${plug.node} is not registered in the southbound database`,
    };
  }
  const eligible = eligibility(binding, plug);
  const wanted = binding.options.get('requested-chassis') ?? '';
  if (eligible === 'no') {
    return {
      code: 'requested_elsewhere',
      message: `options:requested-chassis wants it on ${wanted}, not here`,
    };
  }
  if (eligible === 'additional' && !hasAdditional) {
    return {
      code: 'requested_elsewhere',
      message: `options:requested-chassis is ${wanted}, and this southbound database (OVN before 22.06) takes one chassis only`,
    };
  }
  const version = binding.options.get('iface-id-ver');
  if (version !== undefined && version !== plug.ifaceIdVer) {
    const has = plug.ifaceIdVer === '' ? 'none' : plug.ifaceIdVer;
    return {
      code: 'iface_id_ver',
      message: `the port wants iface-id-ver ${version}, the interface has ${has}`,
    };
  }
  return undefined;
}

function isRequested({ options }: PortBinding): boolean {
  return (options.get('requested-chassis') ?? '') !== '';
}

function chooseMain(binding: PortBinding, holder: Holder, plugs: readonly Plug[]): Plug | undefined {
  const held = holder.kind === 'node' ? plugs.find((plug) => plug.node === holder.node) : undefined;
  // Where the operator has said who shall have it, an earlier holder has no right left.
  const isFree = isRequested(binding) && held === undefined;
  const challengers = plugs.filter((plug) => plug !== held && (isFree || mayTake(plug, holder, held)));
  const latest = challengers.reduce<Plug | undefined>(
    (best, plug) => (later(plug, best) ? plug : best),
    undefined,
  );
  return latest ?? held;
}

/** Whether the plug may take the port from whoever holds it. */
function mayTake(plug: Plug, holder: Holder, held: Plug | undefined): boolean {
  switch (holder.kind) {
    case 'nobody':
      return true;
    case 'node':
      if (!holder.reported) return plug.order > 0 && !plug.spent;
      return held === undefined || (!plug.spent && plug.order > held.order);
    case 'elsewhere':
      return !plug.spent && (plug.order > 0 || !holder.mayReturn);
  }
}

function later(plug: Plug, best: Plug | undefined): boolean {
  if (best === undefined || plug.order > best.order) return true;
  return plug.order === best.order && plug.node < best.node;
}

function lost({ holder }: ClaimInput, plug: Plug, winner: Plug | undefined): Refusal {
  if (winner !== undefined) {
    return {
      code: 'claimed_elsewhere',
      message: `bound to ${winner.interface} on ${winner.node}, plugged later`,
    };
  }
  if (holder.kind === 'elsewhere' && holder.mayReturn && !plug.spent) {
    return { code: 'holder_may_return', message: `bound to ${holder.name}, which may still come back` };
  }
  const name = holder.kind === 'node' ? holder.node : holder.kind === 'elsewhere' ? holder.name : 'nobody';
  return { code: 'claimed_elsewhere', message: `bound to chassis ${name}` };
}

/** A port without a winner is released by the node that has it, of whatever type it has become. */
function mainOutcome({ binding, ours }: ClaimInput, winner: Plug | undefined): Decision['main'] {
  if (winner !== undefined) return { kind: 'plug', plug: winner };
  const isOurs = binding.chassis !== undefined && ours.has(binding.chassis);
  return { kind: isOurs ? 'release' : 'keep' };
}

function additionalOutcome(
  { binding, ours }: ClaimInput,
  additional: readonly Plug[],
  winner: Plug | undefined,
): Pick<Decision, 'additional' | 'removeAdditional' | 'activated'> {
  const wanted = additional.filter((plug) => plug.node !== winner?.node);
  const activated = wanted.filter(
    ({ chassis, activatedBinding }) =>
      chassis !== undefined &&
      binding.additional_chassis.includes(chassis) &&
      activatedBinding === binding._uuid,
  );
  const names = activated.map(({ node }) => node).sort();
  return {
    additional: wanted,
    removeAdditional: leftOver(binding, ours, wanted),
    activated: awaitingChassis(binding, names),
  };
}

/** The additional chassis of ours that are none of `wanted`. */
function leftOver(binding: PortBinding, ours: ClaimInput['ours'], wanted: readonly Plug[]): readonly Uuid[] {
  const chassis = new Set(wanted.map((plug) => plug.chassis));
  return binding.additional_chassis.filter((uuid) => ours.has(uuid) && !chassis.has(uuid));
}
