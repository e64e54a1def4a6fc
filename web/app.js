/** @import { Live, Topology } from '../controller/web/shapes.js' */
/** @import { Size } from './picture.js' */
import { readLive, readTopology, readWhy } from './api.js';
import { nodeView, whyView } from './details.js';
import { byId, element, setText } from './dom.js';
import { dropsView } from './drops.js';
import { Picture } from './picture.js';
import { findPorts, resultsView } from './search.js';
import { clock, counted } from './text.js';

const intervalMs = 2000;
/** From then on the page says how old it is. */
const staleSeconds = 6;

/** @type {Topology | undefined} */
let topology;
/** @type {Live | undefined} */
let live;
/** Of the page's own clock, ms: when the controller answered last, and when it began not to. */
let answeredMs = performance.now();
/** @type {string | undefined} why the controller does not answer */
let failure;
/** @type {(() => void) | undefined} */
let returnFocus;

const search = byId('search');
if (!(search instanceof HTMLInputElement)) throw new Error('#search is no input');
const picture = new Picture(byId('picture'), { openPort, openNode, search: searchFor });

/** The controller's clock, seconds since the epoch. */
function now() {
  if (live === undefined) return Date.now() / 1000;
  return live.at + (performance.now() - liveMs) / 1000;
}
let liveMs = 0;
let isPolling = false;

async function poll() {
  if (isPolling) return;
  isPolling = true;
  try {
    const next = await readTopology();
    const isNew = next !== topology;
    topology = next;
    if (isNew) drawTopology(next);
    if (live === undefined) performance.mark('picture');
    live = await readLive();
    liveMs = performance.now();
    answeredMs = liveMs;
    failure = undefined;
    picture.showLive(live, now());
    byId('drops').replaceChildren(...dropsView(live, openPort));
    showNode();
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  } finally {
    isPolling = false;
  }
  showStanding();
}

/** @param {Topology} of */
function drawTopology(of) {
  picture.draw(of);
  const up = of.ports.filter(({ state }) => state === 'up').length;
  const parts = [counted(of.nodes.length, 'node'), counted(of.switches.length, 'switch')];
  setText(
    byId('summary'),
    `${[...parts, counted(of.ports.length, 'port')].join(' · ')}, ${up.toLocaleString('en')} up`,
  );
  showFound();
  markSize();
  picture.markOpen(openName('port'));
}

/** How old the data is, and what is wrong with where it comes from. */
function showStanding() {
  const seconds = (performance.now() - answeredMs) / 1000;
  const isStale = failure !== undefined || seconds > staleSeconds;
  document.documentElement.toggleAttribute('data-stale', isStale);
  const asOf = live === undefined ? '' : clock(live.at);
  setText(
    byId('age'),
    live === undefined ? 'asking the controller…' : isStale ? `as of ${asOf}` : `live, ${asOf}`,
  );
  const notices = [
    ...(isStale ? [`The controller does not answer${asOf === '' ? '' : `; this is as of ${asOf}`}.`] : []),
    ...(topology?.databases ?? [])
      .filter(({ state }) => state !== 'connected')
      .map(({ database, state, since, error }) => {
        const age = since === 0 ? '' : ` since ${clock(since)}`;
        const why = error === '' ? '' : `: ${error}`;
        return `The controller has no connection to ${database} (${state}${age}${why}); what it knew then is shown.`;
      }),
    ...(topology?.nodes ?? [])
      .filter((node) => node.kind === 'iovn' && !node.connected)
      .map((node) => {
        const when =
          node.since === 0
            ? 'has not been seen since the controller started'
            : `is gone since ${clock(node.since)}`;
        return `Node ${node.name} ${when}; its ports go on as they were.`;
      }),
  ];
  showNotices(notices);
}

/** @param {readonly string[]} notices */
function showNotices(notices) {
  const root = byId('notices');
  const shown = notices.slice(0, 5);
  if (notices.length > shown.length)
    shown.push(`and ${counted(notices.length - shown.length, 'more such notice')}`);
  if (shown.join('\n') === Array.from(root.children, (child) => child.textContent).join('\n')) return;
  root.replaceChildren(...shown.map((text) => element('p', {}, text)));
}

function showFound() {
  if (topology === undefined || !(search instanceof HTMLInputElement)) return;
  const found = findPorts(topology, search.value);
  picture.showFound(found);
  const results = byId('results');
  results.hidden = found === undefined;
  results.replaceChildren(...(found === undefined ? [] : resultsView(found, openPort)));
  setText(byId('search-count'), found === undefined ? '' : counted(found.length, 'port'));
}

/** @param {string} text */
function searchFor(text) {
  if (!(search instanceof HTMLInputElement)) return;
  search.value = text;
  showFound();
}

/** @param {string} port */
function openPort(port) {
  open('port', port);
}

/** @param {string} node */
function openNode(node) {
  open('node', node);
}

/**
 * @param {'port' | 'node'} kind
 * @param {string} name
 */
function open(kind, name) {
  const active = document.activeElement;
  returnFocus = active instanceof HTMLElement ? () => active.focus() : undefined;
  const hash = `#${kind}=${encodeURIComponent(name)}`;
  if (location.hash === hash) void showDetail();
  else location.hash = hash;
}

/**
 * The name in the address, `#port=NAME`.
 *
 * @param {'port' | 'node'} kind
 * @returns {string | undefined}
 */
function openName(kind) {
  const prefix = `#${kind}=`;
  if (!location.hash.startsWith(prefix)) return undefined;
  try {
    return decodeURIComponent(location.hash.slice(prefix.length));
  } catch {
    return undefined;
  }
}

async function showDetail() {
  const port = openName('port');
  const node = openName('node');
  picture.markOpen(port);
  if (port === undefined && node === undefined) {
    byId('detail').hidden = true;
    return;
  }
  const body = element('div', { class: 'body' });
  const heading = element(
    'h2',
    { tabindex: '-1' },
    port === undefined ? `Node ${node ?? ''}` : whyTitle(port),
  );
  const close = element('button', { type: 'button', class: 'link' }, 'Close');
  close.addEventListener('click', closeDetail);
  const again = element('button', { type: 'button', class: 'link' }, 'Ask again');
  again.addEventListener('click', () => void showDetail());
  const head = element('div', { class: 'head' }, heading, ...(port === undefined ? [] : [again]), close);
  byId('detail').replaceChildren(head, body);
  byId('detail').hidden = false;
  byId('side').scrollTo(0, 0);
  heading.focus();
  if (port === undefined) showNode();
  else await showWhy(port, body);
}

/** @param {string} port */
function whyTitle(port) {
  const alias = topology?.ports.find(({ name }) => name === port)?.neutron_name ?? '';
  return alias === '' ? `Why ${port}` : `Why ${port} (${alias})`;
}

/**
 * @param {string} port
 * @param {HTMLElement} body
 */
async function showWhy(port, body) {
  body.setAttribute('aria-busy', 'true');
  body.replaceChildren(element('p', { class: 'quiet' }, 'asking…'));
  try {
    const page = await readWhy(port);
    body.replaceChildren(...whyView(page), element('p', { class: 'quiet' }, `As of ${clock(now())}.`));
  } catch (error) {
    body.replaceChildren(
      element('p', { class: 'failed' }, error instanceof Error ? error.message : String(error)),
    );
  }
  body.removeAttribute('aria-busy');
}

/** The open node, as it is now. */
function showNode() {
  const name = openName('node');
  const body = document.querySelector('#detail .body');
  if (name === undefined || topology === undefined || body === null) return;
  const node = topology.nodes.find((each) => each.name === name);
  const answers = live?.nodes.find((each) => each.name === name);
  const content =
    node === undefined
      ? [element('p', { class: 'failed' }, `There is no node ${name}.`)]
      : nodeView(node, topology, answers, now());
  const next = element('div', { class: 'body' }, ...content);
  if (!next.isEqualNode(body)) body.replaceWith(next);
}

function closeDetail() {
  history.pushState(null, '', location.pathname + location.search);
  const back = returnFocus;
  void showDetail();
  back?.();
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  if (event.key === '/' && event.target !== search && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    search.focus();
  }
  if (event.key === 'Escape' && event.target !== search && !byId('detail').hidden) closeDetail();
}

function markSize() {
  for (const button of byId('sizes').querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(button.dataset['size'] === picture.size));
  }
}

/** @param {string | undefined} size @returns {size is Size} */
function isSize(size) {
  return size === 'small' || size === 'medium' || size === 'large';
}

byId('sizes').addEventListener('click', ({ target }) => {
  const size = target instanceof HTMLElement ? target.dataset['size'] : undefined;
  if (!isSize(size)) return;
  picture.setSize(size);
  markSize();
});
search.addEventListener('input', showFound);
byId('search-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const [first] = (topology && search instanceof HTMLInputElement && findPorts(topology, search.value)) || [];
  if (first !== undefined) openPort(first.name);
});
document.addEventListener('keydown', onKey);
addEventListener('hashchange', () => void showDetail());
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void poll();
});

setInterval(showStanding, 1000);
void showDetail();
for (;;) {
  if (!document.hidden) await poll();
  await new Promise((resolve) => setTimeout(resolve, intervalMs));
}
