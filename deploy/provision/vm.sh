#!/usr/bin/env bash
# On a hypervisor: a network namespace that plays a VM, behind a tap that is plugged in: vm.sh NAME MAC IP/LENGTH [NAMESPACE]
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# -ge 3 ] || die 'usage: vm.sh NAME MAC IP/LENGTH [NAMESPACE]'
name=$1 mac=$2 address=$3 namespace=${4:-$1} tap=tap-$1
[ -e "/run/netns/$namespace" ] || ip netns add "$namespace"
if ! ip link show "$tap" >/dev/null 2>&1; then
  ip link add "$tap" type veth peer name eth0 address "$mac" netns "$namespace"
fi
ip link set "$tap" up
ip -n "$namespace" link set lo up
ip -n "$namespace" addr replace "$address" dev eth0
ip -n "$namespace" link set eth0 mtu "${IOVN_VM_MTU:-1442}" up
ovs-vsctl "--db=unix:$OVS_RUNDIR/db.sock" --timeout=20 --may-exist add-port br-int "$tap" \
  -- set Interface "$tap" "external_ids:iface-id=$name"
say "$name has $address behind $tap"
