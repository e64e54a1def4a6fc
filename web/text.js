const order = new Intl.Collator(undefined, { numeric: true });

/**
 * By name, numbers in it as numbers.
 *
 * @param {{ readonly name: string }} a
 * @param {{ readonly name: string }} b
 */
export function byName(a, b) {
  return order.compare(a.name, b.name);
}

/**
 * Likewise by Neutron's name, where there is one: OVN's is a uuid then.
 *
 * @param {{ readonly name: string, readonly neutron_name: string }} a
 * @param {{ readonly name: string, readonly neutron_name: string }} b
 */
export function byLabel(a, b) {
  return order.compare(a.neutron_name || a.name, b.neutron_name || b.name) || byName(a, b);
}

/** A number and its unit stay on one line. */
const space = '\u00a0';

/** @type {readonly (readonly [string, number])[]} */
const units = [
  ['G', 1e9],
  ['M', 1e6],
  ['k', 1e3],
];

/** @param {number} value */
function short(value) {
  for (const [unit, size] of units) {
    if (value >= size) return `${(value / size).toFixed(value < 10 * size ? 1 : 0)}${space}${unit}`;
  }
  return `${value.toFixed(value > 0 && value < 10 ? 1 : 0)}${space}`;
}

/** @param {number} bytesPerSecond */
export function bits(bytesPerSecond) {
  return `${short(bytesPerSecond * 8)}bit/s`;
}

/** @param {number} perSecond */
export function rate(perSecond) {
  return `${short(perSecond).trim()}/s`;
}

/** @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 2 * 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 2 * 86_400) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86_400)} d`;
}

/**
 * @param {number} count
 * @param {string} noun
 */
export function counted(count, noun) {
  const plural = noun.endsWith('ch') ? `${noun}es` : `${noun}s`;
  return `${count.toLocaleString('en')} ${count === 1 ? noun : plural}`;
}

/** @param {number} at seconds since the epoch */
export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString('en-GB');
}

/** @type {Readonly<Record<import('../controller/web/shapes.js').PortState, string>>} */
export const stateTexts = {
  up: 'up',
  pending: 'on its way',
  problem: 'something is wrong',
  unplugged: 'not plugged in',
  disabled: 'disabled',
  node_gone: 'its node is gone',
  unsupported: 'of a type that is not done',
};
