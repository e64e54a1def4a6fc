import path from 'node:path';

import { loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

import type { ProtoGrpcType as ControlTypes } from '../generated/proto/iovn.js';
import type { ProtoGrpcType as NodeTypes } from '../generated/proto/node.js';
import { packageRoot } from './package-root.js';

/** `proto/*.proto` as loaded, for gRPC reflection. Field names are as in the files; 64-bit integers are decimal strings. */
export const packageDefinition = loadSync(['iovn.proto', 'node.proto'], {
  includeDirs: [path.join(packageRoot, 'proto')],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});

/* gRPC gives a tree without types; these are generated from the very files that are loaded above. */
type V1 = ControlTypes['iovn']['v1'] & NodeTypes['iovn']['v1'];

/** The services and message types of package `iovn.v1`; a message type has `serialize` and `deserialize`. */
export const { v1 } = (
  loadPackageDefinition(packageDefinition) as unknown as { readonly iovn: { readonly v1: V1 } }
).iovn;
