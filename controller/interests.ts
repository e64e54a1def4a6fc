import type { Uuid } from '../common/addresses.js';
import type { ClaimBoard } from './claim-board.js';
import type { Model } from './model.js';
import type { Node } from './node.js';

/**
 * The datapaths that concern a node: those with a port that is bound to it or that it is about to get. A localport alone
 * is no reason, as in OVN.
 */
export function interestOf(model: Model, board: ClaimBoard, node: Node): ReadonlySet<Uuid> {
  const datapaths = new Set<Uuid>();
  const chassis = model.chassis(node.name);
  if (chassis !== undefined) {
    for (const binding of model.bindingsAt(chassis._uuid)) datapaths.add(binding.datapath);
  }
  for (const name of node.plugs.keys()) {
    const binding = model.binding(name);
    for (const each of [...(binding === undefined ? [] : [binding]), ...model.nestedIn(name)]) {
      const main = board.decision(each.logical_port)?.main;
      if (main?.kind === 'plug' && main.plug.node === node.name) datapaths.add(each.datapath);
    }
  }
  return datapaths;
}

/** Which node holds which datapaths, in both directions. */
export class Interests {
  readonly #byNode = new Map<string, ReadonlySet<Uuid>>();
  readonly #byDatapath = new Map<Uuid, Set<string>>();

  set(node: string, datapaths: ReadonlySet<Uuid>): void {
    for (const datapath of this.of(node)) this.#leave(datapath, node);
    this.#byNode.delete(node);
    if (datapaths.size > 0) this.#byNode.set(node, datapaths);
    for (const datapath of datapaths) {
      const nodes = this.#byDatapath.get(datapath);
      if (nodes === undefined) this.#byDatapath.set(datapath, new Set([node]));
      else nodes.add(node);
    }
  }

  of(node: string): ReadonlySet<Uuid> {
    return this.#byNode.get(node) ?? new Set();
  }

  holders(datapath: Uuid): ReadonlySet<string> {
    return this.#byDatapath.get(datapath) ?? new Set();
  }

  #leave(datapath: Uuid, node: string): void {
    const nodes = this.#byDatapath.get(datapath);
    nodes?.delete(node);
    if (nodes?.size === 0) this.#byDatapath.delete(datapath);
  }
}
