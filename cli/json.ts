import { packageDefinition } from '../common/proto.js';

interface FieldDescriptor {
  readonly name: string;
  readonly type: string;
  readonly typeName: string;
}

const wideTypes = new Set(['TYPE_INT64', 'TYPE_UINT64', 'TYPE_SINT64', 'TYPE_FIXED64', 'TYPE_SFIXED64']);

/**
 * A message of package iovn.v1 as JSON text for scripts: as in the .proto, its 64-bit integers, which gRPC gives us
 * as decimal strings, as numbers, and bytes in hexadecimal. (Ours count generations and entries and stay below 2^53.)
 */
export function toJson(messageType: string, message: object): string {
  return formatJson(toPlain(messageType, message));
}

export function formatJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2);
}

/** What `toJson` makes text of. */
export function toPlain(messageType: string, message: object): Readonly<Record<string, unknown>> {
  return withNumbers(messageType, message);
}

function withNumbers(messageType: string, message: object): Record<string, unknown> {
  const fields = new Map(fieldsOf(messageType).map((field) => [field.name, field]));
  return Object.fromEntries(
    Object.entries(message).map(([name, value]: [string, unknown]) => {
      const field = fields.get(name);
      return [name, field === undefined ? value : convert(field, value)];
    }),
  );
}

function convert(field: FieldDescriptor, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map((each: unknown) => convert(field, each));
  if (wideTypes.has(field.type)) return Number(value);
  if (field.type !== 'TYPE_MESSAGE' || typeof value !== 'object' || value === null) return value;
  return withNumbers(field.typeName, value);
}

/** Empty for what is not a message of the package, such as the entries of a map field. */
function fieldsOf(messageType: string): readonly FieldDescriptor[] {
  const definition = packageDefinition[`iovn.v1.${messageType.replace(/^.*\./, '')}`];
  if (definition === undefined || !('type' in definition)) return [];
  return (definition.type as { readonly field?: readonly FieldDescriptor[] }).field ?? [];
}
