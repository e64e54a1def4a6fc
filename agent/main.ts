import path from 'node:path';

import { readSettings } from '../common/config.js';
import { runDaemon } from '../common/daemon.js';
import { ConfigError, IovnError } from '../common/errors.js';
import { type AdjustableLogger, createLogger, type Logger } from '../common/log.js';
import { packageRoot, packageVersion } from '../common/package-root.js';
import { Agent } from './agent.js';
import { ControlSocket, isListening, requestDecommission } from './control-socket.js';
import { openDataPlane } from './libbpf/kernel-data-plane.js';
import type { Devices } from './links.js';
import { openLinkMonitor } from './netlink/link-monitor.js';
import {
  configureRelay,
  createVeth,
  createTunnelDevice,
  deleteLink,
  raiseTunnelDevice,
  setPromiscuous,
  setUp,
} from './netlink/requests.js';
import { Routes } from './netlink/routes.js';
import { agentOptions, type AgentSettings } from './settings.js';
import { StandaloneAgent } from './standalone/standalone-agent.js';
import { StateDir } from './state-dir.js';

const program = {
  name: 'iovn-agent',
  description: 'Brings the ports of this hypervisor into its kernel, as a controller wants them.',
};

const objectFile = path.join(packageRoot, 'generated', 'bpf', 'vif.bpf.o');
/** The agent itself waits for the controller and for the database, one after the other. */
const decommissionCallTimeoutMs = 30_000;
const replyGraceMs = 500;

function openDevices(signal: AbortSignal, log: Logger): Devices {
  const monitor = openLinkMonitor({ signal, log });
  const routes = new Routes(monitor);
  return {
    get links() {
      return monitor.links;
    },
    refresh: () => monitor.refresh(),
    onChange: (listener) => monitor.onChange(listener),
    createVeth,
    deleteLink,
    setUp,
    setPromiscuous,
    configureRelay,
    createTunnelDevice,
    raiseTunnelDevice,
    routeTo: (address) => routes.routeTo(address),
    interfacesWith: (addresses) => routes.interfacesWith(addresses),
  };
}

/** Throws KernelError when this kernel, or what the process may do, is not enough. */
function createAgent(
  settings: AgentSettings,
  stateDir: StateDir,
  signal: AbortSignal,
  log: AdjustableLogger,
): Agent | StandaloneAgent {
  const { standalone: file } = settings;
  const dataPlane = openDataPlane({
    bpffsDir: settings.bpffs,
    objectFile,
    attachMode: settings.attach,
    maxPorts: settings.maxPorts,
    mapSizes: { ...settings.mapSizes, fdb: settings.maxLearned },
    log,
  });
  log.info('data plane opened', { attach: dataPlane.attachMode, bpffs: settings.bpffs });
  const devices = openDevices(signal, log);
  return file === undefined
    ? new Agent({ settings, stateDir, dataPlane, devices, log })
    : new StandaloneAgent({ file, settings, dataPlane, devices, log });
}

function reportDecommission(problems: readonly string[], log: Logger): void {
  if (problems.length === 0) {
    log.info('this node is decommissioned');
    return;
  }
  throw new IovnError('decommission_incomplete', `decommissioned with problems: ${problems.join('; ')}`);
}

async function serve(
  settings: AgentSettings,
  stateDir: StateDir,
  signal: AbortSignal,
  log: AdjustableLogger,
): Promise<void> {
  let agent: Agent | StandaloneAgent | undefined;
  const started = (): Agent | StandaloneAgent => {
    if (agent === undefined) throw new IovnError('starting', 'the agent is still starting');
    return agent;
  };
  const control = await ControlSocket.open(stateDir.controlSocket, {
    decommission: async () => started().decommission(),
    ask: async function* (query, asker) {
      yield* started().ask(query, asker);
    },
  });
  try {
    agent = createAgent(settings, stateDir, signal, log);
    await agent.run(signal);
  } finally {
    await control.close(replyGraceMs);
  }
}

async function main(signal: AbortSignal): Promise<void> {
  const settings = readSettings(program, agentOptions);
  if (settings.standalone !== undefined && settings.controllers !== undefined)
    throw new ConfigError('--standalone is for an agent without --controller');
  const log = createLogger(program.name, settings.logLevel);
  const stateDir = new StateDir(settings.stateDir);
  const source =
    settings.standalone === undefined ? { ovsdb: settings.ovsdb } : { file: settings.standalone };
  log.info('starting', { version: packageVersion, ...source, stateDir: settings.stateDir });
  if (!settings.decommission) {
    await serve(settings, stateDir, signal, log);
  } else if (await isListening(stateDir.controlSocket)) {
    reportDecommission(await requestDecommission(stateDir.controlSocket, decommissionCallTimeoutMs), log);
  } else {
    const agent = createAgent(settings, stateDir, signal, log);
    reportDecommission(
      await (agent instanceof Agent ? agent.decommissionAlone(signal) : agent.decommission()),
      log,
    );
  }
}

runDaemon(main, { name: program.name });
