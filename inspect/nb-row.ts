/** A row of the northbound database as the messages of proto/node.proto name it. */
interface NamedRow {
  readonly row_table: string;
  readonly row_uuid: string;
  readonly row_name: string;
  readonly row_column: string;
  readonly row_entries: readonly string[];
}

/** `Logical_Switch_Port vm1 UUID port_security "ENTRY"`; '' where no row decided. */
export function rowText(row: NamedRow): string {
  if (row.row_table === '') return '';
  const entries = row.row_entries.map((entry) => JSON.stringify(entry)).join(', ');
  const parts = [row.row_table, row.row_name, row.row_uuid, row.row_column, entries];
  return parts.filter((part) => part !== '').join(' ');
}
