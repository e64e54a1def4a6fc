/** What scripts/generate-btf.ts needs of `bpftool btf dump --json`. */

export interface Field {
  /** As in C. */
  readonly name: string;
  readonly offset: number;
  readonly type: FieldType;
}

type FieldType =
  | { readonly kind: 'integer'; readonly size: 1 | 2 | 4 | 8 }
  | { readonly kind: 'bytes'; readonly length: number }
  | { readonly kind: 'struct'; readonly name: string; readonly size: number };

export interface Struct {
  readonly name: string;
  readonly size: number;
  readonly fields: readonly Field[];
}

export interface Enum {
  readonly name: string;
  readonly values: readonly { readonly name: string; readonly value: number }[];
}

export interface Layouts {
  readonly structs: readonly Struct[];
  readonly enums: readonly Enum[];
}

interface BtfType {
  readonly id: number;
  readonly kind: string;
  readonly name: string;
  readonly size?: number;
  readonly type_id?: number;
  readonly nr_elems?: number;
  readonly members?: readonly {
    readonly name: string;
    readonly type_id: number;
    readonly bits_offset: number;
  }[];
  readonly values?: readonly { readonly name: string; readonly val: number }[];
}

/** Reads the named structs and enums of a dump. Throws Error for a field of a type that the generated code can't hold. */
export function parseBtf(json: string, names: ReadonlySet<string>): Layouts {
  const { types } = JSON.parse(json) as { types: readonly BtfType[] };
  const byId = new Map(types.map((type) => [type.id, type]));
  const wanted = types.filter(({ name }) => names.has(name));
  const structs = wanted
    .filter(({ kind }) => kind === 'STRUCT')
    .map(({ name, size = 0, members = [] }) => ({
      name,
      size,
      fields: members.map((member) => ({
        name: member.name,
        offset: member.bits_offset / 8,
        type: fieldType(`${name}.${member.name}`, member.type_id, byId),
      })),
    }));
  const enums = wanted
    .filter(({ kind }) => kind === 'ENUM')
    .map(({ name, values = [] }) => ({
      name,
      values: values.map(({ name: value, val }) => ({ name: value, value: val })),
    }));
  return { structs, enums };
}

function fieldType(where: string, id: number, byId: ReadonlyMap<number, BtfType>): FieldType {
  const type = byId.get(id);
  switch (type?.kind) {
    case 'TYPEDEF':
    case 'CONST':
    case 'VOLATILE':
      return fieldType(where, type.type_id ?? 0, byId);
    case 'INT':
    case 'ENUM':
      if (type.size === 1 || type.size === 2 || type.size === 4 || type.size === 8) {
        return { kind: 'integer', size: type.size };
      }
      break;
    case 'ARRAY': {
      const element = fieldType(where, type.type_id ?? 0, byId);
      if (element.kind === 'integer' && element.size === 1)
        return { kind: 'bytes', length: type.nr_elems ?? 0 };
      break;
    }
    case 'STRUCT':
      return { kind: 'struct', name: type.name, size: type.size ?? 0 };
  }
  throw new Error(`${where} is of a type that the generator does not know (${type?.kind ?? 'none'})`);
}
