#!/usr/bin/env bash
# On a fresh Debian 12: Node.js, which Debian has too old, then what scripts/setup.sh installs and builds.
# NODE_TARBALL: URL or file of a Node.js archive for this machine.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

is_new_enough() {
  command -v node >/dev/null &&
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
}

if ! is_new_enough; then
  tarball=${NODE_TARBALL:-https://nodejs.org/dist/v20.20.2/node-v20.20.2-linux-x64.tar.xz}
  say "installing Node.js from $tarball"
  apt-get -q update
  DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends ca-certificates curl git xz-utils
  case $tarball in
    *://*) curl -fsSL "$tarball" ;;
    *) cat "$tarball" ;;
  esac | tar -xJ -C /usr/local --strip-components=1 --no-same-owner
  is_new_enough || die "$tarball is no Node.js 20.19 or newer for this machine"
fi
bash "$checkout/scripts/setup.sh"
