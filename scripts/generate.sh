#!/usr/bin/env bash
# Generates what is derived: TypeScript types of proto/, eBPF objects, and TypeScript from the objects' BTF.
set -euo pipefail
cd "$(dirname "$0")/.."

npx --no-install proto-loader-gen-types --longs=String --enums=String --defaults --oneofs --keepCase \
  --grpcLib=@grpc/grpc-js --targetFileExtension=.ts --importFileExtension=.js --includeComments --inputTemplate='%sInput' --outputTemplate='%s' \
  --outDir=generated/proto proto/*.proto >/dev/null
