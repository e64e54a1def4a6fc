/** @import { Topology, TopologyPort, TopologySwitch } from '../controller/web/shapes.js' */
import { element } from './dom.js';
import { byLabel, counted, stateTexts } from './text.js';

const maximumShown = 50;

/**
 * The ports that have all the words in their names, their switch's names, addresses or node's name, or begin a uuid, first those that are
 * called just so; undefined when nothing is searched.
 *
 * @param {Topology} topology
 * @param {string} text
 * @returns {readonly TopologyPort[] | undefined}
 */
export function findPorts(topology, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return undefined;
  const switches = new Map(topology.switches.map((each) => [each.uuid, each]));
  return topology.ports
    .filter((port) => {
      const haystack = haystackOf(port, switches.get(port.switch));
      const uuids = [port.uuid, port.switch];
      return words.every((word) => haystack.includes(word) || uuids.some((uuid) => begins(uuid, word)));
    })
    .sort((a, b) => Number(isCalled(b, text)) - Number(isCalled(a, text)) || byLabel(a, b));
}

/**
 * Fewer digits are found in any uuid.
 *
 * @param {string} uuid
 * @param {string} word
 */
function begins(uuid, word) {
  return word.length >= 8 && uuid.startsWith(word);
}

/**
 * @param {TopologyPort} port
 * @param {string} text
 */
function isCalled({ name, neutron_name: alias, addresses }, text) {
  const names = [name, alias, ...addresses.flatMap((each) => each.split(' '))];
  return names.some((each) => each.toLowerCase() === text.trim().toLowerCase());
}

/**
 * @param {TopologyPort} port
 * @param {TopologySwitch | undefined} owner
 */
function haystackOf(port, owner) {
  const own = [port.name, port.neutron_name, port.node, ...port.addresses];
  const ofSwitch = owner === undefined ? [] : [owner.name, owner.neutron_name];
  return [...own, ...ofSwitch].join('\n').toLowerCase();
}

/**
 * @param {readonly TopologyPort[]} found
 * @param {(port: string) => void} open
 * @returns {readonly HTMLElement[]}
 */
export function resultsView(found, open) {
  const items = found.slice(0, maximumShown).map((port) => {
    const button = element(
      'button',
      { type: 'button', class: 'result' },
      element('i', { class: 'port', 'data-state': port.state }),
      element('span', { class: 'name' }, port.neutron_name || port.name),
      element('span', { class: 'quiet' }, port.neutron_name === '' ? (port.addresses[0] ?? '') : port.name),
      element('span', { class: 'quiet' }, port.node || stateTexts[port.state]),
    );
    button.addEventListener('click', () => open(port.name));
    return element('li', {}, button);
  });
  const more = found.length - items.length;
  return [
    element('h2', {}, `Found: ${counted(found.length, 'port')}`),
    element('ul', {}, ...items),
    ...(more > 0 ? [element('p', { class: 'quiet' }, `and ${more} more: type more of it`)] : []),
  ];
}
