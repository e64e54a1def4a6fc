#!/usr/bin/env bash
# Makes the machine and the checkout ready for the demo and the tests, and does nothing when they are:
# installs missing packages (Debian), node_modules, and builds when a source is newer than the last build. With the
# argument `vm` also what scripts/vm/run.sh needs.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# A need is a command or a file, then the Debian package that brings it.
needs='
python3 python3
make make
g++ g++
clang clang
llvm-strip llvm
/usr/include/bpf/bpf_helpers.h libbpf-dev
bpftool bpftool
ip iproute2
ping iputils-ping
ps procps
nsenter util-linux
openssl openssl
tcpdump tcpdump
ethtool ethtool
promtool prometheus
/usr/bin/chromium chromium
shellcheck shellcheck
vagrant vagrant
/usr/share/vagrant-plugins/plugins.d/vagrant-libvirt.json vagrant-libvirt
ovsdb-server openvswitch-switch
ovs-vsctl openvswitch-switch
/usr/share/openvswitch/vswitch.ovsschema openvswitch-switch
ovn-nbctl ovn-common
ovn-northd ovn-central
/usr/share/ovn/ovn-nb.ovsschema ovn-central
ovn-controller ovn-host
'
[ "${1:-}" != vm ] || needs+='
qemu-system-x86_64 qemu-system-x86
/usr/share/doc/busybox-static busybox-static
modprobe kmod
'
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

is_there() {
  case $1 in
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing_packages() {
  local need package
  while read -r need package; do
    [ -z "$need" ] || is_there "$need" || echo "$package"
  done <<<"$needs"
  ldconfig -p | grep -q 'libbpf\.so\.1' || echo libbpf1
}

apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 \
    -o Dpkg::Use-Pty=0 "$@" </dev/null >"$apt_log" 2>&1 || {
    cat "$apt_log" >&2
    die "apt-get $1 failed (above)"
  }
}

# The packages of OVN, Open vSwitch and Prometheus start their daemons where systemd runs. Nothing here needs those, and
# nobody asked for them: a policy-rc.d (see invoke-rc.d(8)) that answers 101 keeps them from starting.
policy=/usr/sbin/policy-rc.d
own_policy=no
cleanup() {
  [ "$own_policy" = no ] || rm -f "$policy"
  rm -f "${apt_log:-}"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

install_packages() {
  [ "$(id -u)" = 0 ] || die "not root, and these packages are missing: $*. Run it as root, or: apt-get install $*"
  command -v apt-get >/dev/null || die "no apt-get here; install what these Debian packages bring: $*"
  apt_log=$(mktemp)
  say "installing with apt-get: $*"
  local services
  services=$(printf '%s\n' "$@" | grep -xE 'openvswitch-switch|ovn-central|ovn-host|prometheus' | tr '\n' ' ' || true)
  if [ -n "$services" ] && [ ! -e "$policy" ]; then
    own_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  apt_get update
  apt_get install --no-install-recommends "$@"
  if [ "$own_policy" = yes ]; then
    rm -f "$policy"
    own_policy=no
    if [ -d /run/systemd/system ]; then
      # shellcheck disable=SC2086  # a list of words
      systemctl --quiet disable $services 2>/dev/null || true
      say "the services of $services were installed but neither started nor enabled"
    fi
  fi
}

node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
  die "needs Node.js 20.19 or newer, this is $(node --version)"
[ "$(uname -s)" = Linux ] || die "needs Linux"

mapfile -t missing < <(missing_packages | sort -u)
[ "${#missing[@]}" = 0 ] || install_packages "${missing[@]}"
mapfile -t missing < <(missing_packages | sort -u)
[ "${#missing[@]}" = 0 ] || die "still missing after the installation: ${missing[*]}"

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say "installing node_modules with npm ci"
  npm ci --include=dev --no-audit --no-fund --loglevel=error </dev/null
fi

built_from='agent bpf cli common controller inspect ovsdb proto scripts tsconfig.json tsconfig.build.json package-lock.json'
# shellcheck disable=SC2086  # a list of words
if [ ! -e dist/.built ] || [ -n "$(find $built_from -newer dist/.built -print -quit)" ]; then
  say "building"
  bash scripts/build.sh
fi

[ "$(id -u)" = 0 ] || die "not root: network namespaces and eBPF programs need it. Run the same command as root"
