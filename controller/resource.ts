/** One resource of the intent protocol, serialized. Two nodes that hold the same content share the object. */
export interface IntentResource {
  /** `kind/name`, unique over all resources. */
  readonly key: string;
  readonly kind: 'Switch' | 'Port' | 'FdbEntry' | 'Chassis';
  readonly name: string;
  /** The serialized message of that kind. */
  readonly body: Uint8Array;
}

/** The resources of one datapath by key. Replaced as a whole, never changed. */
export type ResourceSet = ReadonlyMap<string, IntentResource>;

export const noResources: ResourceSet = new Map();

export function resourceKey(kind: string, name: string): string {
  return `${kind}/${name}`;
}

/** `next`, but with the objects of `previous` where the content is the same; `previous` itself when all of it is. */
export function shareUnchanged(previous: ResourceSet, next: ResourceSet): ResourceSet {
  let kept = 0;
  const shared = new Map<string, IntentResource>();
  for (const [key, resource] of next) {
    const old = previous.get(key);
    const same = old !== undefined && Buffer.compare(old.body, resource.body) === 0;
    if (same) kept += 1;
    shared.set(key, same ? old : resource);
  }
  return kept === next.size && kept === previous.size ? previous : shared;
}
