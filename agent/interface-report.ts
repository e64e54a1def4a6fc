import type { Ifindex } from '../common/addresses.js';
import type { InterfaceInput } from '../generated/proto/iovn/v1/Interface.js';
import type { NestedPortInput } from '../generated/proto/iovn/v1/NestedPort.js';
import type { Desired } from './desired.js';
import type { Failure } from './kernel-state.js';
import { type LocalPort, type SlotKey, slotKey } from './local-ports.js';
import { type ResourceProblem, resourceKey } from './resources.js';
import type { VifInterface } from './vswitch/interfaces.js';

/** What became of the ports bound here after a plan was carried out. */
export interface InstallState {
  /** Ports that are in the kernel, by Interface.name. */
  readonly installed: ReadonlyMap<string, LocalPort>;
  /** Ports bound here that are not, by Interface.name. */
  readonly failed: ReadonlyMap<string, { readonly local: LocalPort; readonly message: string }>;
  /** Ports nested in others that are bound here, by Interface.name of the parent; `message` = why it is not in the kernel. */
  readonly nested: ReadonlyMap<string, readonly NestedState[]>;
  /** Interfaces to which the program could not be attached. */
  readonly unattached: ReadonlyMap<Ifindex, string>;
  /** Resources that could not be applied in full. */
  readonly problems: readonly ResourceProblem[];
}

export interface NestedState {
  readonly local: LocalPort;
  readonly message: string | undefined;
}

export const nothingInstalled: InstallState = {
  installed: new Map(),
  failed: new Map(),
  nested: new Map(),
  unattached: new Map(),
  problems: [],
};

/** Failures of entries that nobody wants any more concern no resource: they are removals, and are tried again. */
function entryProblems(failures: readonly Failure[], desired: Desired): readonly ResourceProblem[] {
  const byOwner = new Map<string, ResourceProblem>();
  for (const failure of failures) {
    if (failure.kind === 'underlay') {
      for (const owner of desired.behind(failure.ifindex)) {
        byOwner.set(resourceKey(owner), { ...owner, code: 'kernel_error', message: failure.message });
      }
    }
    if (failure.kind !== 'entry') continue;
    const owner = desired.owner(failure.table, failure.key);
    if (owner === undefined || byOwner.has(resourceKey(owner))) continue;
    const message = `map ${failure.table}: ${failure.message}`;
    byOwner.set(resourceKey(owner), { ...owner, code: failure.code, message });
  }
  return [...byOwner.values()];
}

/** Why interfaces could not be attached. */
export function attachmentFailures(failures: readonly Failure[]): ReadonlyMap<Ifindex, string> {
  return new Map(
    failures.flatMap((failure) =>
      failure.kind === 'attachment' ? [[failure.ifindex, failure.message] as const] : [],
    ),
  );
}

/** What keeps a local port from being installed; `code` is undefined where it is reported as a problem already. */
interface Obstacle {
  readonly code: ResourceProblem['code'] | undefined;
  readonly message: string;
}

/**
 * Judges each local port: it is installed when all its entries are written and its interface is attached. `refused` says
 * of which ports none was to be written, by name.
 */
export function installState(
  desired: Desired,
  localPorts: readonly LocalPort[],
  refused: ReadonlyMap<string, string>,
  unassigned: readonly SlotKey[],
  failures: readonly Failure[],
): InstallState {
  const written = entryProblems(failures, desired);
  const problemOf = new Map(
    written.filter(({ kind }) => kind === 'Port').map((problem) => [problem.name, problem]),
  );
  const withoutSlot = new Set(unassigned);
  const unattached = attachmentFailures(failures);
  const obstacleOf = (local: LocalPort): Obstacle | undefined => {
    const refusal = refused.get(local.port.name);
    const attachError = unattached.get(local.device.ifindex);
    const entryProblem = problemOf.get(local.port.name);
    if (refusal !== undefined) return { code: 'invalid', message: refusal };
    if (withoutSlot.has(slotKey(local.datapathKey, local.port.portKey))) {
      const message = 'no slot is free: the node has as many ports as --max-ports allows';
      return { code: 'map_full', message };
    }
    if (attachError !== undefined) return { code: 'kernel_error', message: attachError };
    return entryProblem && { code: undefined, message: entryProblem.message };
  };
  const installed = new Map<string, LocalPort>();
  const failed = new Map<string, { readonly local: LocalPort; readonly message: string }>();
  const nested = new Map<string, NestedState[]>();
  const problems: ResourceProblem[] = [...desired.problems, ...written];
  for (const local of localPorts) {
    const { port, interfaceName } = local;
    const obstacle = obstacleOf(local);
    if (obstacle?.code !== undefined) {
      problems.push({ kind: 'Port', name: port.name, code: obstacle.code, message: obstacle.message });
    }
    if (port.type === 'localnet') continue;
    if (port.parent !== '') {
      const siblings = nested.get(interfaceName) ?? [];
      nested.set(interfaceName, [...siblings, { local, message: obstacle?.message }]);
    } else if (obstacle !== undefined) failed.set(interfaceName, { local, message: obstacle.message });
    else installed.set(interfaceName, local);
  }
  return { installed, failed, nested, unattached, problems };
}

/** Whether what became of a port is still about this interface: its iface-id or its device may have changed since. */
function isAbout({ port, device }: LocalPort, vif: VifInterface): boolean {
  return vif.error === undefined && vif.ifaceId === port.name && vif.device?.ifindex === device.ifindex;
}

function reportNested(states: readonly NestedState[], vif: VifInterface): NestedPortInput[] {
  const ofVif = states.filter(
    ({ local: { port, device } }) =>
      vif.error === undefined && port.parent === vif.ifaceId && device.ifindex === vif.device?.ifindex,
  );
  return ofVif.map(({ local, message }) => ({ binding: local.port.binding, install_error: message ?? '' }));
}

/** What the controller is told of the interfaces (proto/iovn.proto InterfacesChanged), by name. */
export function reportInterfaces(
  interfaces: readonly VifInterface[],
  state: Pick<InstallState, 'installed' | 'failed' | 'nested'>,
): readonly InterfaceInput[] {
  return interfaces.map((vif) => {
    const { name, ifaceId, ifaceIdVer, encapIp, device, error } = vif;
    const installed = state.installed.get(name);
    const failed = state.failed.get(name);
    const local = installed ?? failed?.local;
    const bound = local && isAbout(local, vif) ? local : undefined;
    return {
      name,
      iface_id: ifaceId,
      ifindex: device?.ifindex ?? 0,
      link_up: device?.operUp ?? false,
      iface_id_ver: ifaceIdVer,
      encap_ip: encapIp,
      error: error ?? '',
      installed_binding: installed && isAbout(installed, vif) ? installed.port.binding : '',
      install_error: failed && isAbout(failed.local, vif) ? failed.message : '',
      nested: reportNested(state.nested.get(name) ?? [], vif),
      activated_binding: bound?.activated ? bound.port.binding : '',
      role: bound === undefined ? '' : bound.awaits.length > 0 ? 'waiting' : bound.role,
    };
  });
}
