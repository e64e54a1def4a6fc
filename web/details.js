/** @import { LiveNode, Topology, TopologyNode } from '../controller/web/shapes.js' */
/** @import { WhyDrop, WhyPage } from '../inspect/why.js' */
import { element } from './dom.js';
import { byName, counted, duration } from './text.js';

/**
 * What `iovn why` prints.
 *
 * @param {WhyPage} page
 * @returns {readonly HTMLElement[]}
 */
export function whyView(page) {
  return [
    pairs(page.facts),
    ...(page.problems.length === 0
      ? [element('p', { class: 'fine' }, 'Nothing is known to be wrong with it.')]
      : [element('h3', {}, 'What is wrong'), list(page.problems, 'problems')]),
    ...(page.drops.length === 0
      ? [element('p', { class: 'quiet' }, page.noDrops)]
      : [
          element('h3', {}, 'Dropped at it'),
          element('ul', { class: 'dropped' }, ...page.drops.map(dropItem)),
        ]),
    ...(page.advice.length === 0 ? [] : [element('h3', {}, 'What can be done'), list(page.advice, 'advice')]),
  ];
}

/** @param {WhyDrop} drop */
function dropItem(drop) {
  const way = drop.direction === '' ? '' : `, ${drop.direction}`;
  return element(
    'li',
    {},
    element('p', { class: 'name' }, drop.reason),
    element('p', {}, drop.text),
    element('p', { class: 'quiet' }, `${drop.packets} packets${way}; first ${drop.first}, last ${drop.last}`),
    ...(drop.packet === '' ? [] : [element('p', {}, 'The last: ', element('code', {}, drop.packet))]),
    ...(drop.decidedBy === '' ? [] : [element('p', { class: 'quiet' }, `Decided by ${drop.decidedBy}`)]),
  );
}

/**
 * @param {TopologyNode} node
 * @param {Topology} topology
 * @param {LiveNode | undefined} live
 * @param {number} now seconds since the epoch
 * @returns {readonly HTMLElement[]}
 */
export function nodeView(node, topology, live, now) {
  const ports = topology.ports.filter((port) => port.node === node.name);
  const up = ports.filter(({ state }) => state === 'up').length;
  const tunnels = [...node.tunnels].sort((a, b) => byName({ name: a.to }, { name: b.to }));
  return [
    pairs([
      ['Host', node.hostname],
      ['Agent', node.kind === 'ovn' ? 'ovn-controller: vanilla OVN' : node.agent_version],
      ['Connected', connectionText(node, now)],
      ['Answers', live?.error ? `no: ${live.error}` : ''],
      ['Tunnels from', node.tunnel_ips.join(', ')],
      ['Ports', `${ports.length}, ${up} up`],
    ]),
    ...(node.problems.length === 0
      ? []
      : [element('h3', {}, 'What is wrong'), list(node.problems, 'problems')]),
    element('h3', {}, counted(tunnels.length, 'tunnel')),
    ...(tunnels.length === 0
      ? []
      : [
          table(
            ['To', 'Type', 'Addresses', 'By', 'MTU'],
            tunnels.map((each) => [
              each.to,
              each.type,
              `${each.local_ip} → ${each.remote_ip}`,
              each.interface,
              String(each.mtu),
            ]),
          ),
        ]),
  ];
}

/**
 * @param {TopologyNode} node
 * @param {number} now seconds since the epoch
 */
export function connectionText({ kind, connected, since }, now) {
  if (kind === 'ovn') return '';
  if (since === 0) return 'not seen since the controller started';
  return connected ? `for ${duration(now - since)}` : `gone for ${duration(now - since)}`;
}

/** @param {readonly (readonly [string, string])[]} rows */
function pairs(rows) {
  const shown = rows.filter(([, value]) => value !== '');
  return element(
    'dl',
    {},
    ...shown.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]),
  );
}

/**
 * @param {readonly string[]} items
 * @param {string} kind
 */
function list(items, kind) {
  return element('ul', { class: kind }, ...items.map((item) => element('li', {}, item)));
}

/**
 * @param {readonly string[]} headings
 * @param {readonly (readonly string[])[]} rows
 */
function table(headings, rows) {
  const head = element('tr', {}, ...headings.map((each) => element('th', { scope: 'col' }, each)));
  const body = rows.map((row) => element('tr', {}, ...row.map((each) => element('td', {}, each))));
  return element('table', {}, element('thead', {}, head), element('tbody', {}, ...body));
}
