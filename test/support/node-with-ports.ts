import { Registry } from 'prom-client';

import { addFdbMetrics } from '../../agent/fdb/fdb-metrics.js';
import { applyUpdate, emptyIntent } from '../../agent/intent.js';
import { nothingInstalled } from '../../agent/interface-report.js';
import type { KernelDataPlane } from '../../agent/libbpf/kernel-data-plane.js';
import { findLocalPorts } from '../../agent/local-ports.js';
import { addCollectedMetrics, createObserver } from '../../agent/metrics.js';
import { PortMetrics } from '../../agent/port-metrics.js';
import type { ReconcilerView } from '../../agent/reconciler.js';
import type { BulkCounters } from '../../common/exposition.js';
import { vif } from '../agent/support/vif.js';
import { chassisName, makeUpdate, portResource, switchResource } from '../agent/support/intents.js';

/** Ports of switch `blue`, plugged in: the first by name in slot 1. */
export function plugPorts(names: readonly string[]): Pick<ReconcilerView, 'intent' | 'plugged'> {
  const resources = names.map((name, index) => portResource(name, index + 1));
  const intent = applyUpdate(emptyIntent, makeUpdate([switchResource('sw0', 1, 'blue'), ...resources]));
  const interfaces = names.map((ifaceId, index) => vif(ifaceId, index + 1));
  const plugged = findLocalPorts(intent, interfaces, chassisName).map((local, index) => ({
    ...local,
    slot: index + 1,
  }));
  return { intent, plugged };
}

/** The metrics of an agent with so many ports in slots 1 to `count` of a data plane: what its metrics server is given. */
export function metricsOfPorts(
  plane: Pick<KernelDataPlane, 'readCounters' | 'fdb'>,
  count: number,
): { readonly registry: Registry; readonly bulk: BulkCounters } {
  const names = Array.from({ length: count }, (_, index) => `lp${index + 1}`);
  const view: ReconcilerView = {
    config: undefined,
    ...plugPorts(names),
    interfaces: [],
    state: nothingInstalled,
    attachments: 0,
    tunnels: [],
    wanted: undefined,
    usage: [],
    refusals: { full: new Set(), refusedWrites: new Map() },
    driftRepaired: 0,
    generationApplied: '1',
    actsForVswitchd: true,
  };
  const registry = new Registry();
  createObserver(registry);
  addCollectedMetrics(registry, {
    reconciler: () => view,
  });
  addFdbMetrics(registry, plane.fdb, () => ({
    entries: 0,
    learned: 0n,
    moved: 0n,
    evicted: 0n,
    lostEvents: 0n,
  }));
  const bulk = new PortMetrics({
    readCounters: (slots) => plane.readCounters(slots),
    reconciler: () => view,
  });
  return { registry, bulk };
}
