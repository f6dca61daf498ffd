#!/usr/bin/env bash
# Makes a Debian 13 tree with the tools of others that our output must agree with: those that check
# signatures (cosign 2 and, as `cosign3`, the cosign 3 of Debian's next suite, skopeo, openssl, oras),
# crane (built here, in half a minute), engines (podman, Docker 26, containerd, buildah,
# umoci, docker-compose, kubectl, systemd's generators), Go's template engine, which is Helm's, and
# what we are measured against. As root:
#
#   tests/peers/install.sh [FOLDER]        (default: $PACKAGER_PEERS_ROOT, /var/lib/packager-peers)
#
# Tests run them by chroot, nothing else of the machine changes. The mirror is apt's own, or
# $PACKAGER_DEBIAN_MIRROR. A tree that was made from the same list is left as it is; to one from an
# older list is added what it lacks, while others may use it. It must be a tree of its own: Debian 12
# has no cosign, and its skopeo has sigstore compiled out.
set -euo pipefail

root="${1:-${PACKAGER_PEERS_ROOT:-/var/lib/packager-peers}}"
suite=trixie
next=forky
packages="ca-certificates cosign skopeo openssl oras docker-compose
  podman crun netavark aardvark-dns passt uidmap buildah containerd docker.io docker-cli umoci
  kubernetes-client systemd iproute2 iptables nftables procps busybox dash curl xdelta3 bsdiff zstd jq
  golang-go golang-github-masterminds-sprig-dev golang-gopkg-yaml.v3-dev"
# crane is in Debian as source alone: this is what its source and the packages that it imports are in.
crane_sources="golang-github-google-go-containerregistry-dev golang-github-klauspost-compress-dev
  golang-github-google-go-cmp-dev golang-github-docker-docker-dev golang-golang-x-sys-dev
  golang-github-opencontainers-image-spec-dev golang-github-docker-docker-credential-helpers-dev
  golang-github-containerd-stargz-snapshotter-dev golang-golang-x-sync-dev golang-github-vbatts-tar-split-dev
  golang-github-spf13-pflag-dev golang-github-spf13-cobra-dev golang-github-sirupsen-logrus-dev
  golang-github-pkg-errors-dev golang-github-opencontainers-go-digest-dev
  golang-github-mitchellh-go-homedir-dev golang-github-docker-distribution-dev golang-github-cespare-xxhash-dev"
stamp="$suite cosign3=$next crane $(echo "$packages" | tr -s ' \n' ' ')"

tools_run() {
  for command in "cosign version" "cosign3 version" "skopeo --version" "oras version" "openssl version" \
    "crane version" "podman --version" "buildah --version" "umoci --version" "dockerd --version" \
    "containerd --version" "kubectl version --client" "xdelta3 -V" "test -x /usr/bin/bsdiff"; do
    # Engines look into /proc; the mount is gone with the process.
    # shellcheck disable=SC2016,SC2086 # the shell inside expands; a command with its arguments
    unshare --mount sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$1" $command \
      >/dev/null 2>&1 || { echo "does not run: $command"; return 1; }
  done
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
mkdir -p "$(dirname "$root")"
exec 9>"$root.lock"
flock 9
if [ -d "$root" ] && [ "$(cat "$root/.packager-peers" 2>/dev/null)" = "$stamp" ]; then
  echo "the peers are in $root"
  exit 0
fi
if [ -e "$root" ] && [ ! -e "$root/.packager-peers" ] && [ ! -x "$root/usr/bin/cosign" ]; then
  echo "tests/peers/install.sh: $root exists, and is no tree of ours: remove it first" >&2
  exit 1
fi

mirror="${PACKAGER_DEBIAN_MIRROR:-$(apt_mirror || true)}"
if [ -z "$mirror" ]; then
  echo "tests/peers/install.sh: no Debian mirror known: set PACKAGER_DEBIAN_MIRROR" >&2
  exit 1
fi
log="$root.log"

fail() {
  echo "tests/peers/install.sh: $1; the end of $log:" >&2
  tail -n 20 "$log" >&2
  exit 1
}

in_tree() {
  chroot "$1" /usr/bin/env DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    sh -euc "$2" >>"$log" 2>&1
}

# From Debian's own sources, unpacked aside: as packages they would bring two hundred others.
build_crane() {
  [ -x "$1/usr/bin/crane" ] && return 0
  # shellcheck disable=SC2016 # the shell inside expands
  unshare --mount sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" /usr/bin/env -u GOROOT -u GOFLAGS \
    LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -euc "$1"' "$1" "apart=\$(mktemp -d) && cd \"\$apart\"
    apt-get -o APT::Sandbox::User=root download -qq $(echo $crane_sources)
    for package in *.deb; do dpkg-deb -x \"\$package\" tree; done
    HOME=\"\$apart\" GO111MODULE=off GOPATH=\"\$apart/tree/usr/share/gocode\" GOCACHE=\"\$apart/cache\" \
      CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o crane github.com/google/go-containerregistry/cmd/crane
    mv crane /usr/bin/crane
    cd / && chmod -R u+w \"\$apart\" && rm -rf \"\$apart\"" >>"$log" 2>&1
}

# What apt of the tree needs, the packages, and the one program of the next suite that runs alone.
fill() {
  # No service may start in there, and apt reaches its mirror as this machine's does.
  printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
  chmod 755 "$1/usr/sbin/policy-rc.d"
  cp /etc/resolv.conf "$1/etc/resolv.conf"
  apt-config dump Acquire >"$1/etc/apt/apt.conf.d/90-acquire"
  # shellcheck disable=SC2086 # a list of names
  in_tree "$1" "apt-get update -qq
    apt-get install -y -qq --no-install-recommends $(echo $packages)" || fail "apt-get failed"
  # An apt of its own, so that nothing of the next suite is ever taken for the rest of the tree.
  in_tree "$1" "apart=\$(mktemp -d) && cd \"\$apart\" && mkdir -p state/lists/partial cache && : >status
    echo 'deb $mirror $next main' >sources.list
    set -- -o Dir::State=\"\$apart/state\" -o Dir::State::status=\"\$apart/status\" -o Dir::Cache=\"\$apart/cache\" \
      -o Dir::Etc::SourceList=\"\$apart/sources.list\" -o Dir::Etc::SourceParts=- -o APT::Sandbox::User=root
    apt-get \"\$@\" update -qq
    apt-get \"\$@\" download -qq cosign
    case \$(dpkg-deb -f cosign_*.deb Version) in 3.*) ;; *) echo 'that is no cosign 3'; exit 1 ;; esac
    dpkg-deb -x cosign_*.deb out
    mv out/usr/bin/cosign /usr/bin/cosign3
    cd / && rm -rf \"\$apart\"" || fail "cosign 3 of $next cannot be had"
  build_crane "$1" || fail "crane cannot be built"
  tools_run "$1" >>"$log" || fail "the tools do not run"
  rm -rf "$1/var/cache/apt/archives" "$1/var/lib/apt/lists"
  chmod 755 "$1"
  echo "$stamp" >"$1/.packager-peers"
}

case "$(cat "$root/.packager-peers" 2>/dev/null)" in
  "$suite "*)
    echo "adding to the Debian 13 tree in $root"
    : >"$log"
    fill "$root"
    ;;
  *)
    scratch=$(mktemp -d "$root.making-XXXXXX")
    tree="$scratch/tree"
    trap 'rm -rf "$scratch"' EXIT
    echo "making a Debian 13 tree in $root (some minutes)"
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$tree" "$mirror" >"$log" 2>&1 ||
      fail "debootstrap failed"
    fill "$tree"
    rm -rf "$root"
    mv "$tree" "$root"
    ;;
esac
echo "the peers are in $root"
