import type { Node } from './node.js';

/** Nodes by the iface-ids of their plugs. */
export class PlugIndex {
  readonly #nodes = new Map<string, Set<Node>>();

  get byId(): ReadonlyMap<string, ReadonlySet<Node>> {
    return this.#nodes;
  }

  add(ids: Iterable<string>, node: Node): void {
    for (const id of ids) {
      const nodes = this.#nodes.get(id);
      if (nodes === undefined) this.#nodes.set(id, new Set([node]));
      else nodes.add(node);
    }
  }

  remove(ids: Iterable<string>, node: Node): void {
    for (const id of ids) {
      const nodes = this.#nodes.get(id);
      nodes?.delete(node);
      if (nodes?.size === 0) this.#nodes.delete(id);
    }
  }
}
