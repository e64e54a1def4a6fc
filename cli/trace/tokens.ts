/** A word of an expression. */
export interface Token {
  readonly text: string;
  /** Characters before it. */
  readonly at: number;
}

/** Strings, to be left alone, and comments (ovn-sb(5) Logical_Flow.match). */
const stringOrComment = /"(?:[^"\\]|\\.)*"|\/\/[^\n]*|\/\*.*?\*\//gs;
const pattern = /\s*("(?:[^"\\]|\\.)*"|&&|\|\||[=!<>]=|[!<>(){},[\]]|[$@]?[\w.:]+(?:\/[\w.:]+)?|\S)/gy;

export function tokenize(text: string): readonly Token[] {
  const blanked = text.replace(stringOrComment, (found) =>
    found.startsWith('"') ? found : ' '.repeat(found.length),
  );
  return Array.from(blanked.matchAll(pattern), (match) => {
    const token = match[1] ?? '';
    return { text: token, at: match.index + match[0].length - token.length };
  });
}
