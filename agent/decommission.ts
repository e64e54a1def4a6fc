import { errorMessage, IovnError } from '../common/errors.js';
import type { DataPlane } from './data-plane.js';
import type { IntentCache } from './intent-cache.js';
import type { Devices } from './links.js';
import { setPromiscuity } from './promiscuity.js';
import { relayNames } from './relay.js';
import { tunnelDeviceNames } from './tunnel-device.js';
import type { ControllerSession } from './session.js';
import { installedMarks } from './vswitch/installed-marks.js';
import { isAttachEnd } from './vswitch/internal-devices.js';
import type { VswitchDatabase } from './vswitch/tables.js';

export interface DecommissionParts {
  readonly session: Pick<ControllerSession, 'decommission'>;
  readonly dataPlane: DataPlane;
  readonly devices: Devices;
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

function detachAll({ dataPlane, devices }: DecommissionParts): void {
  const uplinks = new Set(dataPlane.readAttachments('uplink_ingress').map(({ ifindex }) => ifindex));
  dataPlane.destroy();
  const problems = setPromiscuity(devices, new Set(), uplinks);
  if (problems.size > 0) throw new IovnError('still_promiscuous', [...problems.values()].join('; '));
}

function removeDevices({ devices }: DecommissionParts): void {
  for (const { name, ifindex } of [...devices.links.values()]) {
    if (isAttachEnd(name) || ours.has(name)) devices.deleteLink(ifindex);
  }
}

/**
 * Takes the node out: the controller releases its ports and removes its rows, then everything local goes. What fails
 * does not stop the rest; each failure is one sentence of the result. The reconciler must have ended before.
 */
export async function decommissionNode(parts: DecommissionParts): Promise<readonly string[]> {
  const problems: string[] = [];
  const attempt = async (step: () => void | Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      problems.push(errorMessage(error));
    }
  };
  await attempt(() => releaseAtController(parts));
  await attempt(() => detachAll(parts));
  await attempt(() => removeDevices(parts));
  await attempt(() => clearDatabase(parts));
  await attempt(() => parts.cache.remove());
  return problems;
}
