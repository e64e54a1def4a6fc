#!/usr/bin/env bash
# All checks and all tests; with arguments only the tests that they select: npm test -- 'test/ovsdb/**'
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh
exec node --import=tsx scripts/run-tests.ts "$@"
