/** @import { TopologyNode } from '../controller/web/shapes.js' */
import { svgElement } from './dom.js';

/** Above so many nodes only the tunnels of one at a time are drawn: all would be a grey area. */
const maximumAtOnce = 16;
const height = 64;

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {number} x its middle, px
 */

/**
 * An arc between each two nodes that have a tunnel. Dashed: one of them does not have it, or is gone.
 *
 * @param {SVGElement} svg
 * @param {readonly Column[]} columns
 * @param {readonly TopologyNode[]} nodes
 * @param {string | undefined} chosen the node whose tunnels stand out
 */
export function drawTunnels(svg, columns, nodes, chosen) {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const positions = new Map(columns.map(({ name, x }, index) => [name, { x, index }]));
  const arcs = pairsOf(nodes).flatMap(([a, b]) => {
    const isChosen = chosen !== undefined && (a === chosen || b === chosen);
    const [from, to] = [positions.get(a), positions.get(b)];
    if (from === undefined || to === undefined || (!isChosen && columns.length > maximumAtOnce)) return [];
    const state = isWhole(byName.get(a), byName.get(b)) ? 'whole' : 'broken';
    const arc = svgElement('path', {
      d: arcBetween(from, to, columns.length),
      'data-state': state,
      ...(isChosen ? { 'data-chosen': '' } : {}),
    });
    return [arc];
  });
  svg.replaceChildren(...arcs);
}

/**
 * @param {{ readonly x: number, readonly index: number }} from
 * @param {{ readonly x: number, readonly index: number }} to
 * @param {number} count
 */
function arcBetween(from, to, count) {
  const far = Math.abs(from.index - to.index) / Math.max(1, count - 1);
  const top = height - 22 - far * (height - 28) * 1.25;
  return `M ${from.x} ${height} C ${from.x} ${top}, ${to.x} ${top}, ${to.x} ${height}`;
}

/**
 * Each two nodes of which at least one has a tunnel to the other.
 *
 * @param {readonly TopologyNode[]} nodes
 * @returns {readonly (readonly [string, string])[]}
 */
function pairsOf(nodes) {
  /** @type {Map<string, readonly [string, string]>} */
  const pairs = new Map();
  for (const { name, tunnels } of nodes) {
    for (const { to } of tunnels) {
      /** @type {readonly [string, string]} */
      const pair = name < to ? [name, to] : [to, name];
      pairs.set(JSON.stringify(pair), pair);
    }
  }
  return [...pairs.values()];
}

/**
 * What a vanilla node has is not known.
 *
 * @param {TopologyNode | undefined} a
 * @param {TopologyNode | undefined} b
 */
function isWhole(a, b) {
  if (a === undefined || b === undefined) return false;
  return hasTunnel(a, b) && hasTunnel(b, a);
}

/**
 * @param {TopologyNode} node
 * @param {TopologyNode} other
 */
function hasTunnel(node, other) {
  return node.kind === 'ovn' || (node.connected && node.tunnels.some(({ to }) => to === other.name));
}
