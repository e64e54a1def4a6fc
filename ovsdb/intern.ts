import type { Intern } from './values.js';

const longestInternedLength = 64;
const capacity = 65_536;

/** An `Intern` with bounded memory: it forgets everything when it is full. Long strings pass through. */
export function createIntern(): Intern {
  const known = new Map<string, string>();
  return (text) => {
    if (text.length > longestInternedLength) return text;
    const held = known.get(text);
    if (held !== undefined) return held;
    if (known.size >= capacity) known.clear();
    known.set(text, text);
    return text;
  };
}
