#!/usr/bin/env bash
# A hypervisor as OVN makes it: ovsdb-server, ovs-vswitchd and ovn-controller, to stand beside ours.
# IOVN_NODE, IOVN_ENCAP_IP, IOVN_ENCAP_TYPE: as for compute.sh. OVN_REMOTE: the southbound database.
# IOVN_UNDERLAY: the interface that has IOVN_ENCAP_IP. With it Open vSwitch's userspace datapath is used, which needs
# that interface in a bridge of its own; without it the kernel's.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
needs IOVN_NODE IOVN_ENCAP_IP OVN_REMOTE

vsctl() { ovs-vsctl "--db=unix:$OVS_RUNDIR/db.sock" --timeout=20 "$@"; }
datapath=system
[ -z "${IOVN_UNDERLAY:-}" ] || datapath=netdev
if [ "$supervisor" = systemd ]; then
  systemctl unmask --quiet ovs-vswitchd ovn-controller
  systemctl enable --quiet --now openvswitch-switch
else
  ovsdb_process ovsdb-server /usr/share/openvswitch/vswitch.ovsschema "$OVS_RUNDIR/db.sock"
  vsctl --no-wait init
  start_process ovs-vswitchd ovs-vswitchd "unix:$OVS_RUNDIR/db.sock" --disable-system \
    "--unixctl=$run/ovs-vswitchd.ctl" -vconsole:warn -vsyslog:off -vfile:off
fi
vsctl --may-exist add-br br-int -- set Bridge br-int "datapath_type=$datapath" fail_mode=secure -- set Open_vSwitch . \
  "external_ids:system-id=$IOVN_NODE" "external_ids:hostname=$IOVN_NODE" "external_ids:ovn-remote=\"$OVN_REMOTE\"" \
  "external_ids:ovn-encap-type=\"${IOVN_ENCAP_TYPE:-geneve}\"" "external_ids:ovn-encap-ip=$IOVN_ENCAP_IP" \
  "external_ids:ovn-bridge-datapath-type=$datapath"
if [ -n "${IOVN_UNDERLAY:-}" ]; then
  vsctl --may-exist add-br br-phys -- set Bridge br-phys datapath_type=netdev
  vsctl --may-exist add-port br-phys "$IOVN_UNDERLAY"
  ip addr flush dev "$IOVN_UNDERLAY"
  ip addr replace "$IOVN_ENCAP_IP/24" dev br-phys
  ip link set br-phys up
fi
if [ "$supervisor" = systemd ]; then
  systemctl enable --quiet --now ovn-host
else
  start_process ovn-controller ovn-controller "unix:$OVS_RUNDIR/db.sock" -vconsole:warn -vsyslog:off -vfile:off
fi
say "$IOVN_NODE is a chassis of OVN's own; its tunnels end at $IOVN_ENCAP_IP"
