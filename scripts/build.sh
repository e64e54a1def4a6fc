#!/usr/bin/env bash
# Builds everything: what is generated, the eBPF objects, and dist/ for the executables in bin/.
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/generate.sh
node node_modules/typescript/bin/tsc -p tsconfig.build.json
touch dist/.built
