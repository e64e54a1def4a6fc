/** Database content that can't be used: an operator sees it, and nothing else is affected. */
export interface InvalidRow {
  readonly table: string;
  /** Its name, as people call it. */
  readonly object: string;
  readonly uuid: string;
  readonly column: string;
  readonly value: string;
  readonly reason: string;
}
