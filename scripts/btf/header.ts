/** Reading of our own C headers, as far as BTF does not have what is in them: names to look for, comments. */

export interface DropReason {
  /** Without the prefix, in lower case: `port_security_mac`. */
  readonly name: string;
  readonly number: number;
  /** The comment beside it. */
  readonly text: string;
}

export interface HeaderNames {
  readonly structs: readonly string[];
  readonly enums: readonly string[];
  /** Enumerators of enums without a name: plain constants. */
  readonly constants: readonly string[];
}

/** Names of what a header declares. */
export function findNames(header: string): HeaderNames {
  const code = header.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*/g, '');
  const named = (keyword: string): string[] =>
    Array.from(code.matchAll(new RegExp(`^${keyword} (\\w+) \\{`, 'gm')), ([, name = '']) => name);
  const anonymous = Array.from(code.matchAll(/^enum \{([^}]*)\}/gm), ([, body = '']) => body);
  const constants = anonymous.flatMap((body) =>
    Array.from(body.matchAll(/^\s*(\w+)\s*(?:=|,|$)/gm), ([, name = '']) => name),
  );
  return { structs: named('struct'), enums: named('enum'), constants };
}

/** A C file whose BTF has everything that `names` lists. */
export function referenceAll(names: HeaderNames, headers: readonly string[]): string {
  const { structs, enums, constants } = names;
  return [
    ...headers.map((header) => `#include "${header}"`),
    `enum constants { ${constants.map((name) => `constant_${name} = ${name}`).join(', ')} };`,
    ...structs.map((name) => `struct ${name} struct_${name};`),
    ...[...enums, 'constants'].map((name) => `enum ${name} enum_${name};`),
    '',
  ].join('\n');
}

const countName = 'DROP_REASON_COUNT';
const prefix = 'DROP_';

/**
 * The drop reasons of drop_reasons.h in order of number. Throws Error when the header's text and the compiler's
 * values disagree, a reason has no comment, or the numbers have gaps.
 */
export function parseDropReasons(
  header: string,
  values: readonly { readonly name: string; readonly value: number }[],
): DropReason[] {
  const lines = header.matchAll(/^\s*(DROP_\w+)\s*=\s*(\d+),[ \t]*(?:\/\*[ \t]*(.*?)[ \t]*\*\/)?[ \t]*$/gm);
  const written = new Map(
    Array.from(lines, ([, name = '', number, text = '']) => [name, { number: Number(number), text }]),
  );
  const reasons = values.filter(({ name }) => name !== countName);
  const count = values.find(({ name }) => name === countName)?.value;
  if (count !== reasons.length)
    throw new Error(`${countName} is not the number of reasons, ${reasons.length}`);
  if (written.size !== reasons.length) {
    throw new Error(
      `drop_reasons.h has ${written.size} lines NAME = NUMBER, /* TEXT */ for ${reasons.length} reasons`,
    );
  }
  return reasons.map(({ name, value }, index) => {
    const line = written.get(name);
    if (line?.number !== value)
      throw new Error(`${name} is ${value} to the compiler, but the header reads otherwise`);
    if (value !== index)
      throw new Error(`${name} is ${value}: reasons are numbered without gaps, ${index} is next`);
    if (line.text === '') throw new Error(`${name} has no comment beside it to tell users what it means`);
    return { name: name.slice(prefix.length).toLowerCase(), number: value, text: line.text };
  });
}
