#!/usr/bin/env bash
# Shows the main job on this machine, in network namespaces and folders of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh
exec node --import=tsx testbed/demo.ts "$@"
