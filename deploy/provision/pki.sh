#!/usr/bin/env bash
# A certificate authority for those without one, and a certificate for each name: pki.sh DIR NAME[=IP] …
# What is there stays. A hypervisor's name is its chassis name; the controller's certificate has its IP, too.
set -euo pipefail
umask 077

[ $# -ge 2 ] || {
  echo "usage: pki.sh DIR NAME[=IP] ..." >&2
  exit 2
}
folder=$1
shift
mkdir -p "$folder"
cd "$folder"

[ -e ca.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
  -subj '/CN=IOVisor-OVN testbed' -keyout ca.key -out ca.pem 2>/dev/null

for each in "$@"; do
  name=${each%%=*}
  [ ! -e "$name.pem" ] || continue
  names="DNS:$name"
  [ "$each" = "$name" ] || names="$names,IP:${each#*=}"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
    -addext "subjectAltName=$names" -keyout "$name.key" -out "$name.csr" 2>/dev/null
  openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -copy_extensions copy \
    -out "$name.pem" 2>/dev/null
  rm -f "$name.csr"
done
