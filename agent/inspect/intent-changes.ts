import type { ResourceId } from '../../generated/proto/iovn/v1/ResourceId.js';
import type { Update } from '../../generated/proto/iovn/v1/Update.js';

/** Ports that are named one by one; of larger updates only the numbers are told. */
const maximumPorts = 100;

export interface IntentChange {
  /** Logical_Switch_Port.name, where it is about one. */
  readonly port?: string;
  readonly text: string;
}

/** What an update says, in sentences: one of the whole, and one for each port of a small one. */
export function intentChanges({ generation, snapshot, changed, removed }: Update): readonly IntentChange[] {
  const name = `${snapshot ? 'snapshot' : 'update'} ${generation}`;
  const whole = { text: `${name}: ${changed.length} changed, ${removed.length} removed` };
  const ports = [
    ...portsOf(changed.map(({ id }) => id)).map((port) => ({ port, text: `${name} changes it` })),
    ...portsOf(removed).map((port) => ({ port, text: `${name} removes it` })),
  ];
  return ports.length > maximumPorts ? [whole] : [whole, ...ports];
}

function portsOf(ids: readonly (ResourceId | null)[]): readonly string[] {
  return ids.flatMap((id) => (id?.kind === 'Port' ? [id.name] : []));
}
