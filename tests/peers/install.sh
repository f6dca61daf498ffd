#!/usr/bin/env bash
# Makes a Debian 13 tree with the tools that check our signatures: cosign, skopeo, oras, openssl,
# and docker-compose. As root:
#
#   tests/peers/install.sh [FOLDER]        (default: $PACKAGER_PEERS_ROOT, /var/lib/packager-peers)
#
# Tests run them by chroot, nothing else of the machine changes. The mirror is apt's own, or
# $PACKAGER_DEBIAN_MIRROR. A tree whose tools run is left as it is. It must be a tree of its own:
# Debian 12 has no cosign, and its skopeo has sigstore compiled out.
set -euo pipefail

root="${1:-${PACKAGER_PEERS_ROOT:-/var/lib/packager-peers}}"
suite=trixie
packages=ca-certificates,cosign,skopeo,openssl,oras,docker-compose

tools_run() {
  chroot "$1" cosign version >/dev/null 2>&1 &&
    chroot "$1" skopeo --version >/dev/null 2>&1 &&
    chroot "$1" oras version >/dev/null 2>&1 &&
    chroot "$1" openssl version >/dev/null 2>&1 &&
    test -x "$1/usr/libexec/docker/cli-plugins/docker-compose"
}

# The root of the main archive, as apt on this machine knows it; security and others end otherwise.
apt_mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
    grep -E '^https?://.*/debian(/[0-9TZ]+)?/?$' | head -n 1
}

if [ "$(id -u)" != 0 ]; then
  echo "tests/peers/install.sh: making a tree and changing into it needs root" >&2
  exit 1
fi
if [ -d "$root" ] && tools_run "$root"; then
  echo "the peers are in $root"
  exit 0
fi
if [ -e "$root" ]; then
  echo "tests/peers/install.sh: $root exists, and its tools do not run: remove it first" >&2
  exit 1
fi

mirror="${PACKAGER_DEBIAN_MIRROR:-$(apt_mirror || true)}"
if [ -z "$mirror" ]; then
  echo "tests/peers/install.sh: no Debian mirror known: set PACKAGER_DEBIAN_MIRROR" >&2
  exit 1
fi

mkdir -p "$(dirname "$root")"
scratch=$(mktemp -d "$root.making-XXXXXX")
log="$root.log"
trap 'rm -rf "$scratch"' EXIT
echo "making a Debian 13 tree in $root (a minute or two)"
# A bare tree has no place for the configuration files of containers-common, so that package, and
# skopeo after it, stay unconfigured and debootstrap says so. Their programs run all the same, and
# whether they do is what decides.
debootstrap --variant=minbase --include="$packages" "$suite" "$scratch/tree" "$mirror" \
  >"$log" 2>&1 || true
if ! tools_run "$scratch/tree"; then
  echo "tests/peers/install.sh: the tools do not run; the end of $log:" >&2
  tail -n 20 "$log" >&2
  exit 1
fi
rm -rf "$scratch/tree/var/cache/apt/archives"
chmod 755 "$scratch/tree"
mv "$scratch/tree" "$root"
echo "the peers are in $root"
