#!/usr/bin/env bash
# Runs tests on Debian's kernel, in a virtual machine (docs/kernels.md): npm run test:vm -- [FILE…]
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh vm
[ $# -gt 0 ] || set -- 'test/vm/**/*.test.ts'
exec bash scripts/vm/run.sh npx --no-install ava --timeout=20m --concurrency=1 "$@"
