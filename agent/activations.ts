import type { Ifindex } from '../common/addresses.js';
import { type LocalPort, slotKey } from './local-ports.js';

/** A port that a program has activated by itself, and the interface on which it did (bpf/activation.h). */
export interface Activation {
  readonly datapathKey: number;
  readonly portKey: number;
  readonly ifindex: Ifindex;
}

export interface JudgedActivations {
  /** The local ports; those that have been activated wait no longer. */
  readonly ports: readonly LocalPort[];
  /** Of no port that still was to wait: to be forgotten, or the port would not wait the next time. */
  readonly over: readonly Activation[];
}

/** Brings together who is to wait and who was activated. A nested port is activated with its parent, or by itself. */
export function judgeActivations(
  localPorts: readonly LocalPort[],
  activations: readonly Activation[],
): JudgedActivations {
  if (activations.length === 0) return { ports: localPorts, over: [] };
  const byPort = new Map(
    activations.map((each) => [`${slotKey(each.datapathKey, each.portKey)} ${each.ifindex}`, each] as const),
  );
  const used = new Set<Activation>();
  const interfaces = new Set<string>();
  const ports = localPorts.map((local) => {
    const { key, device, port, interfaceName, awaits } = local;
    const own = byPort.get(`${key} ${device.ifindex}`);
    if (awaits.length === 0) return local;
    if (own !== undefined) {
      used.add(own);
      if (port.parent === '') interfaces.add(interfaceName);
    } else if (!interfaces.has(interfaceName)) return local;
    return { ...local, awaits: [], activated: true };
  });
  return { ports, over: activations.filter((each) => !used.has(each)) };
}
