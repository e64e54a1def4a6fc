import type { Links } from '../links.js';

/** Words for what a link is, by name. */
export type LinkStates = ReadonlyMap<string, string>;

export function linkStates(links: Links): LinkStates {
  return new Map(
    Array.from(links.values(), ({ name, ifindex, adminUp, operUp }) => [
      name,
      `${operUp ? 'up' : adminUp ? 'no carrier' : 'down'} (ifindex ${ifindex})`,
    ]),
  );
}

/** Links that came, went or changed, one sentence each. */
export function linkChanges(
  before: LinkStates,
  after: LinkStates,
): readonly { readonly name: string; readonly text: string }[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names.flatMap((name) => {
    const [was, is] = [before.get(name), after.get(name)];
    if (was === is) return [];
    return [{ name, text: is === undefined ? 'removed' : was === undefined ? `new: ${is}` : is }];
  });
}
