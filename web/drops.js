/** @import { Live } from '../controller/web/shapes.js' */
import { element } from './dom.js';
import { rate } from './text.js';

const maximumPorts = 6;

/**
 * Drops by reason, and the ports where most is dropped.
 *
 * @param {Live} live
 * @param {(port: string) => void} open
 * @returns {readonly HTMLElement[]}
 */
export function dropsView(live, open) {
  const heading = element('h2', {}, 'Drops by reason');
  if (live.reasons.length === 0) return [heading, element('p', { class: 'quiet' }, 'Nothing was dropped.')];
  const items = live.reasons.map((reason) => {
    const of = live.drops.filter((drop) => drop.reason === reason.reason && drop.port !== '');
    const ports = [...new Set(of.map(({ port }) => port))];
    const item = element(
      'li',
      { class: 'reason' },
      element(
        'p',
        { class: 'head', title: reason.text },
        element('span', { class: 'name' }, reason.reason),
        element('span', { class: reason.per_second > 0 ? 'now' : 'quiet' }, rate(reason.per_second)),
        element('span', { class: 'quiet' }, `${reason.packets.toLocaleString('en')} in all`),
      ),
      element('p', { class: 'quiet' }, reason.text),
    );
    if (ports.length === 0) return item;
    const links = ports.slice(0, maximumPorts).map((port) => {
      const button = element('button', { type: 'button', class: 'link' }, port);
      button.addEventListener('click', () => open(port));
      return button;
    });
    const more = ports.length - links.length;
    item.append(element('p', { class: 'links' }, ...links, more > 0 ? ` and ${more} more` : ''));
    return item;
  });
  return [heading, element('ul', {}, ...items)];
}
