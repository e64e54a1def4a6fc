import { errorMessage, IovnError } from '../common/errors.js';
import type { DataPlane } from './data-plane.js';
import type { IntentCache } from './intent-cache.js';
import type { Devices } from './links.js';
import { setPromiscuity } from './localnet/promiscuity.js';
import { relayNames } from './tunnels/relay.js';
import { tunnelDeviceNames } from './tunnels/tunnel-device.js';
import type { ControllerSession } from './session.js';
import { installedMarks } from './vswitch/installed-marks.js';
import { isAttachEnd } from './vswitch/internal-devices.js';
import type { VswitchDatabase } from './vswitch/tables.js';

/** What of a node is in the kernel. */
export interface LocalParts {
  readonly dataPlane: DataPlane;
  readonly devices: Devices;
}

export interface DecommissionParts extends LocalParts {
  readonly session: Pick<ControllerSession, 'decommission'>;
  readonly database: VswitchDatabase;
  readonly cache: Pick<IntentCache, 'remove'>;
  /** How long the controller and the database may take, each. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

async function releaseAtController({ session, timeoutMs, signal }: DecommissionParts): Promise<void> {
  await session.decommission(timeoutMs, signal);
}

async function clearDatabase({ database, timeoutMs, signal }: DecommissionParts): Promise<void> {
  const operations = installedMarks(database.tables.interface, new Set(), 0);
  if (operations.length > 0) await database.transact(operations, { timeoutMs, signal });
}

const ours: ReadonlySet<string> = new Set([relayNames.into, ...Object.values(tunnelDeviceNames)]);

function detachAll({ dataPlane, devices }: LocalParts): void {
  const uplinks = new Set(dataPlane.readAttachments('uplink_ingress').map(({ ifindex }) => ifindex));
  dataPlane.destroy();
  const problems = setPromiscuity(devices, new Set(), uplinks);
  if (problems.size > 0) throw new IovnError('still_promiscuous', [...problems.values()].join('; '));
}

function removeDevices({ devices }: LocalParts): void {
  for (const { name, ifindex } of [...devices.links.values()]) {
    if (isAttachEnd(name) || ours.has(name)) devices.deleteLink(ifindex);
  }
}

type Step = () => void | Promise<void>;

/** What fails does not stop the rest; each failure is one sentence of the result. */
async function takeSteps(steps: readonly Step[]): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      problems.push(errorMessage(error));
    }
  }
  return problems;
}

function localSteps(parts: LocalParts): readonly Step[] {
  return [() => detachAll(parts), () => removeDevices(parts)];
}

/**
 * Takes the node out: the controller releases its ports and removes its rows, then everything local goes. Resolves with what
 * could not be done. The reconciler must have ended before.
 */
export function decommissionNode(parts: DecommissionParts): Promise<readonly string[]> {
  return takeSteps([
    () => releaseAtController(parts),
    ...localSteps(parts),
    () => clearDatabase(parts),
    () => parts.cache.remove(),
  ]);
}

/** The same for a node that has no controller. */
export function decommissionLocally(parts: LocalParts): Promise<readonly string[]> {
  return takeSteps(localSteps(parts));
}
