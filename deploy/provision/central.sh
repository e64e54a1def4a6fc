#!/usr/bin/env bash
# The machine beside northd: OVN's databases, ovn-northd and iovn-controller.
# IOVN_PKI: folder of pki.sh with a certificate `central`. IOVN_SB_LISTEN: where the southbound database listens for
# ovn-controllers of OVN's own, such as ptcp:6642; nowhere by default. The rest has defaults: lib.sh.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

install_certificates central
if [ "$supervisor" = systemd ]; then
  systemctl enable --quiet --now ovn-central
  wait_for 'the southbound database listens' test -S "$OVN_RUNDIR/ovnsb_db.sock"
else
  ovsdb_process ovnnb_db /usr/share/ovn/ovn-nb.ovsschema "$OVN_RUNDIR/ovnnb_db.sock"
  ovsdb_process ovnsb_db /usr/share/ovn/ovn-sb.ovsschema "$OVN_RUNDIR/ovnsb_db.sock"
  start_process ovn-northd ovn-northd "--ovnnb-db=unix:$OVN_RUNDIR/ovnnb_db.sock" \
    "--ovnsb-db=unix:$OVN_RUNDIR/ovnsb_db.sock" "--unixctl=$run/ovn-northd.ctl" -vconsole:warn -vsyslog:off -vfile:off
fi

if [ -n "${IOVN_SB_LISTEN:-}" ]; then
  ovn-sbctl "--db=unix:$OVN_RUNDIR/ovnsb_db.sock" --timeout=20 set-connection "$IOVN_SB_LISTEN"
fi

cat >"$etc/controller.yaml" <<YAML
nb: unix:$OVN_RUNDIR/ovnnb_db.sock
sb: unix:$OVN_RUNDIR/ovnsb_db.sock
listen: 0.0.0.0:6650
metrics: 127.0.0.1:9650
$(tls_settings central)
YAML
start_ours iovn-controller
wait_for 'iovn-controller is healthy' is_healthy 127.0.0.1:9650
say "OVN's databases, ovn-northd and iovn-controller run"
