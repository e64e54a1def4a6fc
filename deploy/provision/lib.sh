# shellcheck shell=bash
# What the provisioning scripts share. They configure one machine each, and may run again: what is there stays.
#
# IOVN_SUPERVISOR says who keeps the daemons running: `systemd` (the default: a real machine, with the daemons of Debian's
# OVN packages and the units of deploy/systemd), or `processes` (the testbed: each daemon a process with a pid file, and
# every folder one of the testbed's own).

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
supervisor=${IOVN_SUPERVISOR:-systemd}
# Configuration and certificates of our own daemons.
etc=${IOVN_ETC:-/etc/iovn}
# Pid files and logs, for IOVN_SUPERVISOR=processes.
run=${IOVN_RUN:-/run/iovn}
# Where OVN's and Open vSwitch's sockets are.
export OVN_RUNDIR=${OVN_RUNDIR:-/var/run/ovn} OVS_RUNDIR=${OVS_RUNDIR:-/var/run/openvswitch}
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
  exit 1
}
needs() {
  local name
  for name in "$@"; do [ -n "${!name:-}" ] || die "\$$name is not set"; done
}

# wait_for WHAT COMMAND…: until it succeeds, for 30 s.
wait_for() {
  local what=$1 deadline=$((SECONDS + 30))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || die "waited 30 s in vain: $what"
    sleep 0.1
  done
}

is_running() {
  local pid
  pid=$(cat "$run/$1.pid" 2>/dev/null) && [ -d "/proc/$pid" ]
}

# start_process NAME COMMAND…: in the background, with nothing of the caller's terminal.
start_process() {
  local name=$1
  shift
  mkdir -p "$run"
  is_running "$name" && return
  setsid "$@" </dev/null >>"$run/$name.log" 2>&1 &
  echo $! >"$run/$name.pid"
}

ovsdb_process() { # NAME SCHEMA SOCKET
  [ -e "$run/$1.db" ] || ovsdb-tool create "$run/$1.db" "$2"
  is_running "$1" || rm -f "$3"
  start_process "$1" ovsdb-server "$run/$1.db" "--remote=punix:$3" "--unixctl=$run/$1.ctl" \
    -vconsole:warn -vsyslog:off -vfile:off
  wait_for "database $1 listens" test -S "$3"
}

# start_ours NAME: iovn-controller or iovn-agent, with the configuration file that was written for it.
start_ours() {
  if [ "$supervisor" = systemd ]; then
    sed "s|@CHECKOUT@|$checkout|g" "$checkout/deploy/systemd/$1.service" >"/etc/systemd/system/$1.service"
    systemctl daemon-reload
    systemctl enable --quiet "$1"
    systemctl restart "$1"
  else
    start_process "$1" "$checkout/bin/$1" --config "$etc/${1#iovn-}.yaml"
  fi
}

# is_healthy HOST:PORT: asks a daemon's /healthz. Without curl, which a Debian need not have.
is_healthy() {
  node -e 'fetch(process.argv[1]).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))' "http://$1/healthz"
}

# The certificates of this machine (pki.sh), where the daemons look for them.
install_certificates() { # NAME
  needs IOVN_PKI
  [ -r "$IOVN_PKI/$1.pem" ] || die "there is no certificate $IOVN_PKI/$1.pem: run pki.sh"
  install -d -m 0755 "$etc"
  install -d -m 0700 "$etc/tls"
  install -m 0644 "$IOVN_PKI/ca.pem" "$IOVN_PKI/$1.pem" "$etc/tls/"
  install -m 0600 "$IOVN_PKI/$1.key" "$etc/tls/"
}

tls_settings() { # NAME
  printf 'tls-cert: %s\ntls-key: %s\ntls-ca: %s\n' "$etc/tls/$1.pem" "$etc/tls/$1.key" "$etc/tls/ca.pem"
}
