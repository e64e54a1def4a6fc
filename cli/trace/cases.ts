import type { Token } from './tokens.js';

/** Some bits of a header field have this value, because a term of the expression says so; of `inport` it is a name. */
export interface Part {
  readonly field: string;
  readonly mask: bigint;
  readonly value: bigint;
  readonly said: Token;
}

/** A conjunction: one kind of packet. */
export type Case = readonly Part[];

/** Two parts that no packet has both. */
export interface Conflict {
  readonly first: Part;
  readonly second: Part;
}

/** A disjunction of cases, as what an expression means; with none left `conflict` says why. */
export interface Cases {
  readonly cases: readonly Case[];
  readonly conflict: Conflict | undefined;
}

/** More than any packet needs; what has more is nowhere near to one. */
export const mostCases = 4096;

export class TooManyCases extends Error {}

export const everything: Cases = { cases: [[]], conflict: undefined };
export const nothing: Cases = { cases: [], conflict: undefined };

export function only(part: Part): Cases {
  return { cases: [[part]], conflict: undefined };
}

/** All the values and masks of a case, by field. */
export function known(parts: Case): ReadonlyMap<string, { readonly mask: bigint; readonly value: bigint }> {
  const fields = new Map<string, { mask: bigint; value: bigint }>();
  for (const { field, mask, value } of parts) {
    const before = fields.get(field) ?? { mask: 0n, value: 0n };
    fields.set(field, { mask: before.mask | mask, value: before.value | value });
  }
  return fields;
}

function join(a: Case, b: Case): Case | Conflict {
  const parts = [...a];
  for (const second of b) {
    const same = parts.filter(({ field }) => field === second.field);
    const first = same.find(({ mask, value }) => ((value ^ second.value) & mask & second.mask) !== 0n);
    if (first !== undefined) return { first, second };
    const mask = same.reduce((all, each) => all | each.mask, 0n);
    if ((second.mask & ~mask) !== 0n) parts.push(second);
  }
  return parts;
}

/** Each case once, and none that another one includes. */
function simplify(cases: readonly Case[]): readonly Case[] {
  const kept: { readonly parts: Case; readonly fields: ReturnType<typeof known> }[] = [];
  for (const parts of cases.toSorted((a, b) => a.length - b.length)) {
    const fields = known(parts);
    const isIncluded = kept.some((wider) =>
      [...wider.fields].every(([name, { mask, value }]) => {
        const own = fields.get(name);
        return own !== undefined && (own.mask & mask) === mask && (own.value & mask) === value;
      }),
    );
    if (!isIncluded) kept.push({ parts, fields });
  }
  return kept.map(({ parts }) => parts);
}

/** Throws TooManyCases. */
export function and(a: Cases, b: Cases): Cases {
  if (a.cases.length * b.cases.length > mostCases) throw new TooManyCases();
  let conflict = a.conflict ?? b.conflict;
  const cases: Case[] = [];
  for (const one of a.cases) {
    for (const other of b.cases) {
      const joined = join(one, other);
      if ('first' in joined) conflict ??= joined;
      else cases.push(joined);
    }
  }
  return { cases: simplify(cases), conflict };
}

/** Throws TooManyCases. */
export function or(a: Cases, b: Cases): Cases {
  const cases = [...a.cases, ...b.cases];
  if (cases.length > mostCases) throw new TooManyCases();
  return { cases: simplify(cases), conflict: a.conflict ?? b.conflict };
}

export type Relation = '==' | '!=' | '<' | '<=' | '>' | '>=';

/** `field relation value`, of the bits in `mask`. For an order `mask` is of bits that are side by side. */
export function related(field: string, relation: Relation, value: bigint, mask: bigint, said: Token): Cases {
  const part = (bits: bigint, of: bigint): Part => ({ field, mask: bits, value: of & bits, said });
  const each = (pick: (bit: bigint) => Case | undefined): Cases => {
    const cases: Case[] = [];
    for (let bit = 1n; bit <= mask; bit <<= 1n) {
      const found = (mask & bit) === 0n ? undefined : pick(bit);
      if (found !== undefined) cases.push(found);
    }
    return { cases, conflict: undefined };
  };
  /* The bits above are as in `value`, this one is not. */
  const differsAt = (wanted: boolean): Cases =>
    each((bit) => (((value & bit) !== 0n) === wanted ? undefined : [part(mask & ~(bit - 1n), value ^ bit)]));
  switch (relation) {
    case '==':
      return only(part(mask, value));
    case '!=':
      return each((bit) => [part(bit, ~value)]);
    case '>':
      return differsAt(true);
    case '<':
      return differsAt(false);
    case '>=':
      return or(differsAt(true), only(part(mask, value)));
    case '<=':
      return or(differsAt(false), only(part(mask, value)));
  }
}

const opposites = { '==': '!=', '!=': '==', '<': '>=', '>=': '<', '>': '<=', '<=': '>' } as const;
const mirrored = { '==': '==', '!=': '!=', '<': '>', '>': '<', '<=': '>=', '>=': '<=' } as const;

/** What holds when the relation does not. */
export function opposite(relation: Relation): Relation {
  return opposites[relation];
}

/** What holds with its sides exchanged. */
export function mirror(relation: Relation): Relation {
  return mirrored[relation];
}

export function isRelation(text: string): text is Relation {
  return Object.hasOwn(opposites, text);
}
