#!/usr/bin/env bash
# Builds hypervisors and VMs on this machine and leaves them running, or removes them: npm run testbed -- --help
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/setup.sh
exec node --import=tsx testbed/command.ts "$@"
