#!/usr/bin/env bash
# Runs a command in a virtual machine with Debian's kernel, and ends with its status: npm run vm -- uname -r
#
# The machine's root is this one's, read-only, with an overlay in memory; the command starts in the checkout, as root. There
# is no network but what it makes itself. IOVN_VM_KERNEL: a package with another kernel; IOVN_VM_TIMEOUT: in seconds (3600).
set -euo pipefail
cd "$(dirname "$0")/../.."

die() {
  printf 'vm: %s\n' "$*" >&2
  exit 1
}

[ $# -gt 0 ] || die "which command?"
[ "$(uname -m)" = x86_64 ] || die "this works on x86_64 only"
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

latest_kernel() {
  apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1
}

kernel=${IOVN_VM_KERNEL:-$(latest_kernel)}
[ -n "$kernel" ] || die "apt knows no package linux-image-amd64 (apt-get update?)"
release=${kernel#linux-image-}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/iovisor-ovn/$kernel
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Taken out of its package: installed, it would bring a boot loader's configuration.
fetch_kernel() {
  local new="$cache.new"
  printf 'vm: fetching %s\n' "$kernel" >&2
  rm -rf "$new"
  mkdir -p "$new"
  (cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$kernel") >"$work/apt.log" 2>&1 || {
    cat "$work/apt.log" >&2
    die "apt-get download failed (above)"
  }
  dpkg-deb -x "$work"/*.deb "$new"
  depmod -b "$new" "$release"
  mv "$new" "$cache"
}

# In the order in which they need one another.
modules_for_root() {
  local module
  for module in virtio_pci 9p 9pnet_virtio overlay; do
    modprobe -d "$cache" -S "$release" --show-depends "$module"
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

make_initramfs() {
  local root="$work/initramfs" module
  mkdir -p "$root/bin" "$root/modules"
  cp "$(command -v busybox)" "$root/bin/busybox"
  cp scripts/vm/init "$root/init"
  modules_for_root | while read -r module; do
    cp "$module" "$root/modules/"
    basename "$module"
  done >"$work/order"
  mv "$work/order" "$root/modules/order"
  (cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initramfs.img"
}

accelerator=tcg,thread=multi
[ ! -w /dev/kvm ] || accelerator=kvm
[ -d "$cache" ] || fetch_kernel
make_initramfs
mkdir "$work/share"
cp scripts/vm/start "$work/share/start"
{
  [ "$accelerator" = kvm ] || echo 'export IOVN_PATIENCE=10'
  printf 'cd %q\n' "$PWD"
  printf '%q ' "$@"
} >"$work/share/command"
printf '%s\n' "$cache/lib/modules" >"$work/share/modules"

share() { printf 'local,id=%s,path=%s,security_model=none,multidevs=remap%s' "$@"; }
# qemu in the background, so that a signal ends this script at once; its input must not be the terminal.
timeout --foreground "${IOVN_VM_TIMEOUT:-3600}" qemu-system-x86_64 -M q35 -accel "$accelerator" -cpu max -smp 2 -m 4096 \
  -nodefaults -no-reboot -display none -device virtio-rng-pci \
  -kernel "$cache/boot/vmlinuz-$release" -initrd "$work/initramfs.img" \
  -append 'console=ttyS0 quiet panic=-1 mitigations=off' \
  -serial "file:$work/console.log" -serial stdio \
  -fsdev "$(share root / ,readonly=on)" -device virtio-9p-pci,fsdev=root,mount_tag=root \
  -fsdev "$(share share "$work/share" '')" -device virtio-9p-pci,fsdev=share,mount_tag=share \
  </dev/null &
qemu=$!
trap 'kill "$qemu" 2>/dev/null || true; rm -rf "$work"' EXIT
wait "$qemu" || true
[ -s "$work/share/status" ] || {
  tail -n 40 "$work/console.log" >&2
  die "the machine ended without the command's status; the end of its console is above"
}
exit "$(cat "$work/share/status")"
