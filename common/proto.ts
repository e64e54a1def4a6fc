import path from 'node:path';

import { loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

import type { ProtoGrpcType } from '../generated/proto/iovn.js';
import { packageRoot } from './package-root.js';

/** `proto/iovn.proto` as loaded, for gRPC reflection. Field names are as in the file; 64-bit integers are decimal strings. */
export const packageDefinition = loadSync(path.join(packageRoot, 'proto', 'iovn.proto'), {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});

/* gRPC gives a tree without types; ProtoGrpcType is generated from the very file that is loaded above. */
/** The services and message types of package `iovn.v1`; a message type has `serialize` and `deserialize`. */
export const { v1 } = (loadPackageDefinition(packageDefinition) as unknown as ProtoGrpcType).iovn;
