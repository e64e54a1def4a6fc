/** @import { Live, LivePort, Topology, TopologyNode, TopologyPort, TopologySwitch } from '../controller/web/shapes.js' */
import { connectionText } from './details.js';
import { element, setText, svgElement } from './dom.js';
import { bits, byLabel, byName, counted, rate, stateTexts } from './text.js';
import { drawTunnels } from './tunnels.js';

/** Ports up to which a size is chosen by itself. */
const largeUpTo = 24;
const mediumUpTo = 240;
const maximumLoad = 6;
const staleSeconds = 6;

/** @typedef {'small' | 'medium' | 'large'} Size */

/**
 * @typedef {object} Actions
 * @property {(port: string) => void} openPort
 * @property {(node: string) => void} openNode
 * @property {(text: string) => void} search
 */

/**
 * @typedef {object} Sum
 * @property {number} from bytes per second
 * @property {number} to
 * @property {number} dropped packets per second
 */

/** The topology as a table: a row for each switch, a column for each node, a port where they cross. */
export class Picture {
  #root;
  #actions;
  /** @type {Topology | undefined} */
  #topology;
  /** @type {Map<string, HTMLButtonElement[]>} by port */
  #buttons = new Map();
  /** @type {Map<string, HTMLElement>} by node */
  #cards = new Map();
  /** @type {Map<string, { rates: HTMLElement, row: HTMLElement }>} by uuid of the switch */
  #rows = new Map();
  /** @type {Set<string>} ports that are shown with traffic or drops */
  #active = new Set();
  /** @type {Size | undefined} */
  #size;
  /** @type {string | undefined} */
  #chosenNode;
  #svg = svgElement('svg', { class: 'tunnels', 'aria-hidden': 'true' });

  /**
   * @param {HTMLElement} root
   * @param {Actions} actions
   */
  constructor(root, actions) {
    this.#root = root;
    this.#actions = actions;
    root.addEventListener('keydown', (event) => this.#move(event));
    root.addEventListener('focusin', ({ target }) => {
      if (target instanceof HTMLButtonElement && target.matches('button.port')) this.#makeStop(target);
    });
    for (const type of ['pointerover', 'focusin']) {
      root.addEventListener(type, ({ target }) => {
        const card = target instanceof Element ? target.closest('button.node') : null;
        this.chooseNode(card instanceof HTMLElement ? card.dataset['node'] : undefined);
      });
    }
    new ResizeObserver(() => this.#drawTunnels()).observe(root);
  }

  /** @param {Size} size */
  setSize(size) {
    this.#size = size;
    this.#applySize();
    this.#drawTunnels();
  }

  /** @returns {string} */
  get size() {
    return this.#root.dataset['size'] ?? 'large';
  }

  #applySize() {
    const count = this.#topology?.ports.length ?? 0;
    const fitting = count <= largeUpTo ? 'large' : count <= mediumUpTo ? 'medium' : 'small';
    this.#root.dataset['size'] = this.#size ?? fitting;
  }

  /**
   * Draws all of it anew; focus and scroll positions stay.
   *
   * @param {Topology} topology
   */
  draw(topology) {
    this.#topology = topology;
    const focused = this.#root.contains(document.activeElement) ? document.activeElement : null;
    const selector = focused instanceof HTMLElement ? selectorOf(focused) : undefined;
    const { scrollLeft, scrollTop } = this.#root;
    this.#buttons.clear();
    this.#cards.clear();
    this.#rows.clear();
    this.#active.clear();
    const content = this.#content(topology);
    this.#applySize();
    this.#root.replaceChildren(content);
    if (scrollLeft > 0 || scrollTop > 0) this.#root.scrollTo(scrollLeft, scrollTop);
    this.#drawTunnels();
    const [first] = this.#buttons.values();
    if (first?.[0] !== undefined) this.#makeStop(first[0]);
    if (selector !== undefined) {
      const again = this.#root.querySelector(selector);
      if (again instanceof HTMLElement) again.focus({ preventScroll: true });
    }
  }

  /** @param {Topology} topology */
  #content(topology) {
    if (topology.switches.length === 0 && topology.nodes.length === 0) {
      return element('p', { class: 'empty' }, 'There is no logical switch and no node yet.');
    }
    const columns = columnsOf(topology);
    /** @type {Map<string, HTMLElement[]>} */
    const cells = new Map();
    for (const port of [...topology.ports].sort(byLabel)) {
      for (const [index, node] of [port.node, ...port.additional_nodes].entries()) {
        const key = JSON.stringify([port.switch, node]);
        cells.set(key, [...(cells.get(key) ?? []), this.#portItem(port, index > 0)]);
      }
    }
    const counts = countsOf(topology.ports);
    const rows = [...topology.switches].sort(byLabel).map((owner) => {
      const row = element(
        'tr',
        { 'data-switch': owner.uuid },
        this.#switchHead(owner, counts.get(owner.uuid)),
        ...columns.map(({ name }) => {
          const items = cells.get(JSON.stringify([owner.uuid, name])) ?? [];
          if (items.length === 0) return element('td', { class: 'bare' });
          return element('td', {}, element('ul', { class: 'ports' }, ...items));
        }),
      );
      row.style.setProperty('--hue', String(hueOf(owner.uuid)));
      const rates = row.querySelector('.rates');
      if (rates instanceof HTMLElement) this.#rows.set(owner.uuid, { rates, row });
      return row;
    });
    const table = element(
      'table',
      { class: 'matrix' },
      element('thead', {}, ...this.#heads(columns, topology)),
      element('tbody', {}, ...rows),
    );
    table.style.setProperty('--columns', String(columns.length));
    return table;
  }

  /**
   * @param {readonly (TopologyNode | { readonly name: '' })[]} columns
   * @param {Topology} topology
   */
  #heads(columns, topology) {
    const counts = countsOf(topology.ports.map((port) => ({ switch: port.node, state: port.state })));
    const heads = columns.map((column) => {
      if (!('kind' in column)) {
        return element('th', { scope: 'col', class: 'nowhere' }, element('span', {}, 'on no node'));
      }
      const { total = 0, up = 0 } = counts.get(column.name) ?? {};
      const state = column.kind === 'ovn' ? 'other' : column.connected ? 'connected' : 'gone';
      const card = element(
        'button',
        { type: 'button', class: 'node', 'data-node': column.name, 'data-state': state },
        element('span', { class: 'name' }, column.name),
        element('span', { class: 'quiet' }, `${counted(total, 'port')}, ${up} up`),
        element('span', { class: 'standing' }),
        element('span', { class: 'rates' }),
      );
      if (column.problems.length > 0) card.dataset['trouble'] = '';
      card.title = [column.hostname, ...column.problems].join('\n');
      card.addEventListener('click', () => this.#actions.openNode(column.name));
      this.#cards.set(column.name, card);
      return element('th', { scope: 'col' }, card);
    });
    const corner = element('td', { class: 'corner' }, element('span', {}, 'switches ↓  nodes →'));
    const lines = element('td', { colspan: String(columns.length), class: 'lines' }, this.#svg);
    const hasTunnels = topology.nodes.some(({ tunnels }) => tunnels.length > 0);
    return [
      ...(hasTunnels
        ? [element('tr', { 'aria-hidden': 'true' }, element('td', { class: 'corner' }, 'tunnels'), lines)]
        : []),
      element('tr', {}, corner, ...heads),
    ];
  }

  /**
   * @param {TopologySwitch} owner
   * @param {{ total: number, up: number } | undefined} count
   */
  #switchHead(owner, count = { total: 0, up: 0 }) {
    const button = element(
      'button',
      { type: 'button', class: 'switch' },
      element('span', { class: 'name' }, owner.neutron_name || owner.name || owner.uuid),
      ...(owner.neutron_name === '' ? [] : [element('span', { class: 'alias' }, owner.name)]),
      element('span', { class: 'quiet' }, `${counted(count.total, 'port')}, ${count.up} up`),
      element('span', { class: 'rates' }),
    );
    button.title = `${owner.name}\n${owner.neutron_name}\n${owner.uuid}\nShow only its ports`;
    button.addEventListener('click', () => this.#actions.search(owner.uuid));
    return element('th', { scope: 'row' }, button);
  }

  /**
   * @param {TopologyPort} port
   * @param {boolean} isAdditional
   */
  #portItem(port, isAdditional) {
    const sub = port.addresses[0] ?? (port.type === '' ? '' : `(${port.type})`);
    const button = element(
      'button',
      { type: 'button', class: 'port', 'data-port': port.name, 'data-state': port.state, tabindex: '-1' },
      element('span', { class: 'name' }, port.neutron_name || port.name),
      element('span', { class: 'quiet' }, sub),
      element('span', { class: 'rates' }),
    );
    const state = isAdditional ? 'moving here' : stateTexts[port.state];
    if (isAdditional) button.dataset['additional'] = '';
    button.setAttribute('aria-label', [port.name, port.neutron_name, state].filter(Boolean).join(', '));
    button.title = [port.name, port.neutron_name, ...port.addresses, state, ...port.problems]
      .filter(Boolean)
      .join('\n');
    button.addEventListener('click', () => this.#actions.openPort(port.name));
    this.#buttons.set(port.name, [...(this.#buttons.get(port.name) ?? []), button]);
    return element('li', {}, button);
  }

  /**
   * @param {Live} live
   * @param {number} now seconds since the epoch
   */
  showLive(live, now) {
    const topology = this.#topology;
    if (topology === undefined) return;
    const owners = new Map(topology.ports.map((port) => [port.name, port.switch]));
    /** @type {Map<string, Sum>} by node, and by uuid of the switch */
    const sums = new Map();
    const before = this.#active;
    this.#active = new Set();
    for (const port of live.ports) {
      before.delete(port.name);
      this.#active.add(port.name);
      this.#showPort(port);
      for (const key of [`node ${port.node}`, `switch ${owners.get(port.name) ?? ''}`]) {
        const sum = sums.get(key) ?? { from: 0, to: 0, dropped: 0 };
        sum.from += port.from_vm_bytes;
        sum.to += port.to_vm_bytes;
        sum.dropped += port.dropped_packets;
        sums.set(key, sum);
      }
    }
    for (const name of before) this.#quietPort(name);
    for (const [uuid, { rates }] of this.#rows) setText(rates, sumText(sums.get(`switch ${uuid}`)));
    this.#showNodes(topology, live, sums, now);
  }

  /**
   * @param {Topology} topology
   * @param {Live} live
   * @param {ReadonlyMap<string, Sum>} sums
   * @param {number} now
   */
  #showNodes(topology, live, sums, now) {
    const answers = new Map(live.nodes.map((node) => [node.name, node]));
    for (const node of topology.nodes) {
      const card = this.#cards.get(node.name);
      const [standing, rates] = [card?.querySelector('.standing'), card?.querySelector('.rates')];
      if (!card || !standing || !rates) continue;
      const answer = answers.get(node.name);
      const age = answer === undefined || answer.at === 0 ? 0 : now - answer.at;
      const isSilent = node.connected && ((answer?.error ?? '') !== '' || age > staleSeconds);
      card.toggleAttribute('data-silent', isSilent);
      setText(standing, standingText(node, isSilent, age, now));
      const isMeasured = answer !== undefined && answer.seconds > 0 && answer.error === '';
      const isOurs = node.kind === 'iovn' && node.connected && !isSilent;
      setText(
        rates,
        !isOurs ? '' : isMeasured ? sumText(sums.get(`node ${node.name}`)) || 'no traffic' : 'measuring…',
      );
    }
  }

  /** @param {LivePort} port */
  #showPort(port) {
    const bytes = port.from_vm_bytes + port.to_vm_bytes;
    const load = bytes === 0 ? 0 : Math.min(maximumLoad, Math.max(1, Math.ceil(Math.log10(bytes * 8) - 2)));
    const text = sumText({ from: port.from_vm_bytes, to: port.to_vm_bytes, dropped: port.dropped_packets });
    for (const button of this.#buttons.get(port.name) ?? []) {
      button.dataset['load'] = String(load);
      button.toggleAttribute('data-dropping', port.dropped_packets > 0);
      const rates = button.querySelector('.rates');
      if (rates !== null) setText(rates, text);
    }
  }

  /** @param {string} name */
  #quietPort(name) {
    for (const button of this.#buttons.get(name) ?? []) {
      delete button.dataset['load'];
      button.removeAttribute('data-dropping');
      const rates = button.querySelector('.rates');
      if (rates !== null) setText(rates, '');
    }
  }

  /**
   * Dims ports that are not among them and hides switches without one.
   *
   * @param {readonly TopologyPort[] | undefined} found undefined shows all
   */
  showFound(found) {
    const names = found && new Set(found.map(({ name }) => name));
    const owners = found && new Set(found.map((port) => port.switch));
    this.#root.toggleAttribute('data-searching', found !== undefined);
    for (const [name, buttons] of this.#buttons) {
      for (const button of buttons) button.toggleAttribute('data-found', names?.has(name) ?? false);
    }
    for (const [uuid, { row }] of this.#rows) row.hidden = owners !== undefined && !owners.has(uuid);
    const [first] = found ?? [];
    if (first !== undefined) this.#buttons.get(first.name)?.[0]?.scrollIntoView({ block: 'nearest' });
  }

  /** @param {string | undefined} name the one of which the details are open */
  markOpen(name) {
    for (const button of this.#root.querySelectorAll('[aria-current]'))
      button.removeAttribute('aria-current');
    const shown = name === undefined ? [] : (this.#buttons.get(name) ?? []);
    for (const button of shown) button.setAttribute('aria-current', 'true');
  }

  /** @param {string} name */
  focusPort(name) {
    this.#buttons.get(name)?.[0]?.focus();
  }

  /** @param {string | undefined} name the node whose tunnels stand out */
  chooseNode(name) {
    if (name === this.#chosenNode) return;
    this.#chosenNode = name;
    this.#drawTunnels();
  }

  #drawTunnels() {
    const topology = this.#topology;
    if (topology === undefined || !this.#svg.isConnected) return;
    const left = this.#svg.getBoundingClientRect().left;
    const columns = Array.from(this.#cards, ([name, card]) => {
      const rectangle = card.getBoundingClientRect();
      return { name, x: Math.round(rectangle.left + rectangle.width / 2 - left) };
    });
    drawTunnels(this.#svg, columns, topology.nodes, this.#chosenNode);
  }

  /** @param {HTMLButtonElement} button the one of all ports that Tab stops at */
  #makeStop(button) {
    for (const other of this.#root.querySelectorAll('button.port[tabindex="0"]')) {
      other.setAttribute('tabindex', '-1');
    }
    button.setAttribute('tabindex', '0');
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const { target } = event;
    if (!(target instanceof HTMLButtonElement) || !target.matches('button.port')) return;
    const visible = [...this.#buttons.values()].flat().filter((button) => button.offsetParent !== null);
    const inOrder = visible.sort((a, b) =>
      a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1,
    );
    const next = nextButton(inOrder, target, event.key);
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  }
}

/**
 * @param {readonly HTMLButtonElement[]} buttons
 * @param {HTMLButtonElement} from
 * @param {string} key
 */
function nextButton(buttons, from, key) {
  const index = buttons.indexOf(from);
  if (key === 'ArrowRight') return buttons[index + 1];
  if (key === 'ArrowLeft') return buttons[index - 1];
  if (key === 'Home') return buttons[0];
  if (key === 'End') return buttons.at(-1);
  if (key !== 'ArrowDown' && key !== 'ArrowUp') return undefined;
  const start = from.getBoundingClientRect();
  const sign = key === 'ArrowDown' ? 1 : -1;
  const ahead = buttons.flatMap((button) => {
    const place = button.getBoundingClientRect();
    const down = (place.top - start.top) * sign;
    return down < 2 ? [] : [{ button, distance: down * 3 + Math.abs(place.left - start.left) }];
  });
  return ahead.sort((a, b) => a.distance - b.distance)[0]?.button;
}

/** @param {HTMLElement} focused */
function selectorOf({ dataset }) {
  if (dataset['port'] !== undefined) return `[data-port="${CSS.escape(dataset['port'])}"]`;
  if (dataset['node'] !== undefined) return `[data-node="${CSS.escape(dataset['node'])}"]`;
  return undefined;
}

/**
 * The nodes, and a last column where there are ports that are on none.
 *
 * @param {Topology} topology
 * @returns {readonly (TopologyNode | { readonly name: '' })[]}
 */
function columnsOf({ nodes, ports }) {
  const sorted = [...nodes].sort(byName);
  return ports.some(({ node }) => node === '') ? [...sorted, { name: '' }] : sorted;
}

/** @param {readonly { readonly switch: string, readonly state: string }[]} ports */
function countsOf(ports) {
  /** @type {Map<string, { total: number, up: number }>} */
  const counts = new Map();
  for (const port of ports) {
    const count = counts.get(port.switch) ?? { total: 0, up: 0 };
    count.total += 1;
    if (port.state === 'up') count.up += 1;
    counts.set(port.switch, count);
  }
  return counts;
}

/** @param {Sum | undefined} sum */
function sumText(sum) {
  if (sum === undefined) return '';
  const dropped = sum.dropped > 0 ? ` drops\u00a0${rate(sum.dropped)}` : '';
  return `↑\u00a0${bits(sum.from)} ↓\u00a0${bits(sum.to)}${dropped}`;
}

/**
 * @param {TopologyNode} node
 * @param {boolean} isSilent
 * @param {number} age seconds since it last answered
 * @param {number} now
 */
function standingText(node, isSilent, age, now) {
  if (node.kind === 'ovn') return 'vanilla OVN';
  if (!node.connected) return connectionText(node, now);
  if (!isSilent) return '';
  return age > 0 ? `no answer for ${Math.round(age)} s` : 'no answer';
}

/**
 * A colour that stays the switch's own.
 *
 * @param {string} uuid
 */
function hueOf(uuid) {
  let hash = 0;
  for (const character of uuid) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 3600;
  return Math.round(hash / 10);
}
