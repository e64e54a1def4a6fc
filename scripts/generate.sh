#!/usr/bin/env bash
# Generates what is derived: TypeScript types of proto/, eBPF objects, and TypeScript from the objects' BTF.
set -euo pipefail
cd "$(dirname "$0")/.."

npx --no-install proto-loader-gen-types --longs=String --enums=String --defaults --oneofs --keepCase \
  --grpcLib=@grpc/grpc-js --targetFileExtension=.ts --importFileExtension=.js --includeComments --inputTemplate='%sInput' --outputTemplate='%s' \
  --includeDirs=proto --outDir=generated/proto iovn.proto node.proto >/dev/null

# Debian keeps bpftool in sbin.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
mkdir -p generated/bpf
for source in bpf/*.bpf.c; do
  object=generated/bpf/$(basename "$source" .c).o
  clang -O2 -g -Wall -Wextra -Werror -target bpf -mcpu=v3 \
    "-I/usr/include/$(uname -m)-linux-gnu" -Ibpf -c "$source" -o "$object.new"
  # Without DWARF, which only debuggers read; BTF stays.
  llvm-strip -g "$object.new"
  mv "$object.new" "$object"
done
node --import=tsx scripts/generate-btf.ts
