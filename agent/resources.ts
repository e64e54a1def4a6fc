/** Which resource of the intent something is about (proto/iovn.proto ResourceId). */
export interface ResourceRef {
  readonly kind: string;
  readonly name: string;
}

/** What is wrong with a resource; `code` is stable (proto/iovn.proto ResourceError). */
export interface ResourceProblem extends ResourceRef {
  readonly code:
    | 'invalid'
    | 'unsupported_kind'
    | 'duplicate_mac'
    | 'duplicate_address'
    | 'unreachable'
    | 'no_uplink'
    | 'map_full'
    | 'kernel_error';
  readonly message: string;
}

/** One string per resource, for use as a key. */
export function resourceKey({ kind, name }: ResourceRef): string {
  return `${kind}/${name}`;
}
