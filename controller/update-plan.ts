import { type IntentResource, noResources, type ResourceSet } from './resource.js';

/** What a node holds, or shall hold: for each datapath that concerns it one set of resources per kind of change. */
export type NodeView = ReadonlyMap<string, ResourceSet>;

export interface UpdatePlan {
  readonly changed: readonly IntentResource[];
  readonly removed: readonly IntentResource[];
}

/** What makes `wanted` of `sent`. A resource that moved between datapaths is changed, not removed. */
export function planUpdate(sent: NodeView, wanted: NodeView): UpdatePlan {
  const changed = new Map<string, IntentResource>();
  const removed = new Map<string, IntentResource>();
  for (const datapath of new Set([...sent.keys(), ...wanted.keys()])) {
    const before = sent.get(datapath) ?? noResources;
    const after = wanted.get(datapath) ?? noResources;
    if (before === after) continue;
    for (const [key, resource] of after) if (before.get(key) !== resource) changed.set(key, resource);
    for (const [key, resource] of before) if (!after.has(key)) removed.set(key, resource);
  }
  for (const key of changed.keys()) removed.delete(key);
  return { changed: [...changed.values()], removed: [...removed.values()] };
}
