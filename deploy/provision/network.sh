#!/usr/bin/env bash
# On the central machine: a logical switch with a port for each VM: network.sh SWITCH [NAME MAC IP]…
set -euo pipefail
. "$(dirname "$0")/lib.sh"

nbctl() { ovn-nbctl "--db=unix:$OVN_RUNDIR/ovnnb_db.sock" --timeout=20 "$@"; }
switch=${1:?usage: network.sh SWITCH [NAME MAC IP]...}
shift
nbctl --may-exist ls-add "$switch"
while [ $# -ge 3 ]; do
  nbctl --may-exist lsp-add "$switch" "$1" -- lsp-set-addresses "$1" "$2 $3" -- lsp-set-port-security "$1" "$2 $3"
  shift 3
done
[ $# = 0 ] || die "a VM has a name, a MAC and an IP"
