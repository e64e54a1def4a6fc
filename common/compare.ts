/** By code unit, so that an order depends on no locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

export function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return compareText(a.name, b.name);
}
