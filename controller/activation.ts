import type { PortBinding } from './southbound.js';

/** What activates a port on its additional chassis (ovn-nb(5) Logical_Switch_Port.options:activation-strategy). */
const knownStrategies: readonly string[] = ['rarp', 'garp', 'na'];

/** Port_Binding.options key: Chassis.names with commas between; northd drops it when the migration is over. */
export const activatedKey = 'additional-chassis-activated';

type Options = Pick<PortBinding, 'options'>;

function listed({ options }: Options, key: string): readonly string[] {
  return (options.get(key) ?? '').split(',').filter((name) => name !== '');
}

/** The port's strategies: any of them will do. Without one an additional chassis serves the port at once. */
export function activationStrategies(binding: Options): readonly string[] {
  return [...new Set(listed(binding, 'activation-strategy'))].filter((name) =>
    knownStrategies.includes(name),
  );
}

/** What is no strategy; like ovn-controller we act as if it was not there. */
export function unknownStrategies(row: Options): readonly string[] {
  return listed(row, 'activation-strategy').filter((name) => !knownStrategies.includes(name));
}

/** Those of a port's additional chassis, given by name, on which it waits to be activated. */
export function awaitingChassis(binding: Options, additional: readonly string[]): readonly string[] {
  if (activationStrategies(binding).length === 0) return [];
  const activated = listed(binding, activatedKey);
  return additional.filter((name) => !activated.includes(name));
}

/** The value of `activatedKey` with the given chassis added. */
export function activatedWith(binding: Options, names: readonly string[]): string {
  return [...new Set([...listed(binding, activatedKey), ...names])].join(',');
}
