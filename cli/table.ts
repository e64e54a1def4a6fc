/** Columns under headings, two spaces apart, as wide as their content. No rows give no lines. */
export function formatTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  if (rows.length === 0) return [];
  return align([headings, ...rows.map((row) => row.map((cell) => (cell === '' ? '-' : printable(cell))))]);
}

/** Names and values in two columns, values that are empty left out. */
export function formatPairs(pairs: readonly (readonly [name: string, value: string])[]): readonly string[] {
  return align(pairs.filter(([, value]) => value !== '').map(([name, value]) => [name, printable(value)]));
}

function align(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** What comes from a database may hold anything; a terminal must not obey it. */
export function printable(text: string): string {
  return text.replaceAll(
    /\p{Cc}/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
