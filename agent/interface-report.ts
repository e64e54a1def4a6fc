import type { Ifindex } from '../common/addresses.js';
import type { InterfaceInput } from '../generated/proto/iovn/v1/Interface.js';
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
  /** Interfaces to which the program could not be attached. */
  readonly unattached: ReadonlyMap<Ifindex, string>;
  /** Resources that could not be applied in full. */
  readonly problems: readonly ResourceProblem[];
}

export const nothingInstalled: InstallState = {
  installed: new Map(),
  failed: new Map(),
  unattached: new Map(),
  problems: [],
};

/** Failures of entries that nobody wants any more concern no resource: they are removals, and are tried again. */
function entryProblems(failures: readonly Failure[], desired: Desired): readonly ResourceProblem[] {
  const byOwner = new Map<string, ResourceProblem>();
  for (const failure of failures) {
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

/** Judges each local port: it is installed when all its entries are written and its interface is attached. */
export function installState(
  desired: Desired,
  localPorts: readonly LocalPort[],
  unassigned: readonly SlotKey[],
  failures: readonly Failure[],
): InstallState {
  const written = entryProblems(failures, desired);
  const problemOf = new Map(written.map((problem) => [problem.name, problem]));
  const withoutSlot = new Set(unassigned);
  const unattached = attachmentFailures(failures);
  const installed = new Map<string, LocalPort>();
  const failed = new Map<string, { readonly local: LocalPort; readonly message: string }>();
  const problems: ResourceProblem[] = [...desired.problems, ...written];
  const reject = (local: LocalPort, code: ResourceProblem['code'], message: string): void => {
    failed.set(local.interfaceName, { local, message });
    problems.push({ kind: 'Port', name: local.port.name, code, message });
  };
  for (const local of localPorts) {
    const attachError = unattached.get(local.device.ifindex);
    const entryProblem = problemOf.get(local.port.name);
    if (withoutSlot.has(slotKey(local.datapathKey, local.port.portKey))) {
      reject(local, 'map_full', 'no slot is free: the node has as many ports as --max-ports allows');
    } else if (attachError !== undefined) {
      reject(local, 'kernel_error', attachError);
    } else if (entryProblem !== undefined) {
      failed.set(local.interfaceName, { local, message: entryProblem.message });
    } else {
      installed.set(local.interfaceName, local);
    }
  }
  return { installed, failed, unattached, problems };
}

/** Whether what became of a port is still about this interface: its iface-id or its device may have changed since. */
function isAbout({ port, device }: LocalPort, vif: VifInterface): boolean {
  return vif.error === undefined && vif.ifaceId === port.name && vif.device?.ifindex === device.ifindex;
}

/** What the controller is told of the interfaces (proto/iovn.proto InterfacesChanged), by name. */
export function reportInterfaces(
  interfaces: readonly VifInterface[],
  state: Pick<InstallState, 'installed' | 'failed'>,
): readonly InterfaceInput[] {
  return interfaces.map((vif) => {
    const { row, name, ifaceId, device, error } = vif;
    const installed = state.installed.get(name);
    const failed = state.failed.get(name);
    return {
      name,
      iface_id: ifaceId,
      ifindex: device?.ifindex ?? 0,
      link_up: device?.operUp ?? false,
      iface_id_ver: row.external_ids.get('iface-id-ver') ?? '',
      encap_ip: row.external_ids.get('encap-ip') ?? '',
      error: error ?? '',
      installed_binding: installed && isAbout(installed, vif) ? installed.port.binding : '',
      install_error: failed && isAbout(failed.local, vif) ? failed.message : '',
    };
  });
}
