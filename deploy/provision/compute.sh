#!/usr/bin/env bash
# A hypervisor: the local Open_vSwitch database with br-int, and iovn-agent; no ovs-vswitchd, no ovn-controller.
# IOVN_NODE: chassis name. IOVN_ENCAP_IP: its address in the underlay. IOVN_CONTROLLER: HOST:PORT of the controller.
# IOVN_ENCAP_TYPE: `geneve` (the default), or a list as Open_vSwitch.external_ids:ovn-encap-type takes it.
# IOVN_PKI: folder of pki.sh with a certificate of the chassis' name.
# IOVN_STATE_DIR, IOVN_BPFFS: what the agent's flags of these names say. The rest has defaults: lib.sh.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
needs IOVN_NODE IOVN_ENCAP_IP IOVN_CONTROLLER

install_certificates "$IOVN_NODE"
if [ "$supervisor" = systemd ]; then
  # The packages bring a vswitchd, and perhaps an ovn-controller: the agent takes their place.
  systemctl mask --quiet --now ovs-vswitchd ovn-controller
  systemctl enable --quiet --now openvswitch-switch ovsdb-server
  wait_for 'the Open_vSwitch database listens' test -S "$OVS_RUNDIR/db.sock"
else
  ovsdb_process ovsdb-server /usr/share/openvswitch/vswitch.ovsschema "$OVS_RUNDIR/db.sock"
fi
vsctl() { ovs-vsctl "--db=unix:$OVS_RUNDIR/db.sock" --timeout=20 --no-wait "$@"; }
vsctl init
vsctl --may-exist add-br br-int -- set Open_vSwitch . \
  "external_ids:system-id=$IOVN_NODE" "external_ids:hostname=$IOVN_NODE" \
  "external_ids:ovn-encap-type=\"${IOVN_ENCAP_TYPE:-geneve}\"" "external_ids:ovn-encap-ip=$IOVN_ENCAP_IP"

cat >"$etc/agent.yaml" <<YAML
ovsdb: unix:$OVS_RUNDIR/db.sock
controller: $IOVN_CONTROLLER
metrics: 127.0.0.1:9651
state-dir: ${IOVN_STATE_DIR:-/var/lib/iovn}
bpffs: ${IOVN_BPFFS:-/sys/fs/bpf/iovn}
$(tls_settings "$IOVN_NODE")
YAML
start_ours iovn-agent
wait_for 'iovn-agent is healthy' is_healthy 127.0.0.1:9651
say "$IOVN_NODE is a chassis; its tunnels end at $IOVN_ENCAP_IP"
