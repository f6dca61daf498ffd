#!/usr/bin/env bash
# Builds a Kubernetes of one node for tests/integration/test_site_cluster.py: Debian carries etcd and
# the network plug-ins as packages, and Kubernetes 1.20 as whole source (later sources are kubectl's
# alone), built here with the Go of its time. As root, and only when wanted: some 20 minutes on two
# cores, 4 GB of disk for the while, 0.6 GB kept. No CI needs it: the tests ask for PACKAGER_CLUSTER=1.
#
#   tests/peers/cluster.sh [FOLDER]        (default: $PACKAGER_CLUSTER_ROOT, /var/lib/packager-cluster)
#
# What runs there runs in a room of its own (tests/support/cluster.py); nothing else of the machine
# changes. The mirror is apt's own, or $PACKAGER_DEBIAN_MIRROR. Needs gcc, libc6-dev and the peers of
# tests/peers/install.sh.
set -euo pipefail

root="${1:-${PACKAGER_CLUSTER_ROOT:-/var/lib/packager-cluster}}"
version=1.20.2
source="kubernetes=1.20.5+really$version-1.1+deb12u1"
stamp="kubernetes $version"
programs="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy"

if [ "$(cat "$root/.packager-cluster" 2>/dev/null)" = "$stamp" ]; then
  echo "the cluster is in $root"
  exit 0
fi
# shellcheck disable=SC2016 # apt expands it
mirror="${PACKAGER_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
  grep -E '^https?://.*/debian(/[0-9TZ]+)?/?$' | head -n 1)}"
[ -n "$mirror" ] || { echo "tests/peers/cluster.sh: no Debian mirror known: set PACKAGER_DEBIAN_MIRROR" >&2; exit 1; }

apart=$(mktemp -d "${TMPDIR:-/var/tmp}/packager-cluster-XXXXXX")
trap 'chmod -R u+w "$apart" && rm -rf "$apart"' EXIT
cd "$apart"

# An apt of its own for each suite; its archives are signed as this machine's are.
apt_of() { # SUITE WORD…
  mkdir -p "$apart/$1/lists/partial" "$apart/$1/cache" && : >"$apart/$1/status"
  printf 'deb %s %s main\ndeb-src %s %s main\n' "$mirror" "$1" "$mirror" "$1" >"$apart/$1/sources.list"
  suite=$1
  shift
  apt-get -o "Dir::State::lists=$apart/$suite/lists" -o "Dir::State::status=$apart/$suite/status" \
    -o "Dir::Cache=$apart/$suite/cache" -o "Dir::Etc::SourceList=$apart/$suite/sources.list" \
    -o Dir::Etc::SourceParts=- -o APT::Sandbox::User=root -qq "$@"
}
unpack() { for package in *.deb; do dpkg-deb -x "$package" "$1"; done && rm ./*.deb; }

echo "fetching the sources and programs of Debian"
apt_of trixie update
apt_of trixie download etcd-server containernetworking-plugins conntrack libnetfilter-conntrack3 libnfnetlink0
unpack debian
apt_of bullseye update
apt_of bullseye download golang-1.15-go golang-1.15-src
unpack go
apt_of bookworm update
apt_of bookworm source --download-only "$source"
mkdir -p gopath/src/k8s.io
tar -xzf kubernetes_*.orig.tar.gz -C gopath/src/k8s.io
mv gopath/src/k8s.io/kubernetes-* gopath/src/k8s.io/kubernetes

export GOROOT="$apart/go/usr/lib/go-1.15" GOPATH="$apart/gopath" GOCACHE="$apart/cache" HOME="$apart"
export GO111MODULE=off CGO_ENABLED=0 GOMAXPROCS=2 PATH="$GOROOT/bin:$PATH"
unset GOFLAGS
cd gopath/src/k8s.io/kubernetes

# What a release's build writes there: its version, and the description of its API.
sed -i 's/\(gitVersion .*= \)"v0[^"]*"/\1"v'$version'"/' staging/src/k8s.io/component-base/version/base.go \
  staging/src/k8s.io/client-go/pkg/version/base.go
go build -o "$apart/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
described=$(grep -rlE --include='*.go' '^// \+k8s:openapi-gen=true' pkg staging/src/k8s.io |
  grep -vE '/testdata/|_examples|code-generator|sample-' | xargs -n 1 dirname | sort -u |
  sed 's|^staging/src/|vendor/|; s|^|k8s.io/kubernetes/|' | paste -s -d ,)
"$apart/openapi-gen" --logtostderr -i "$described" -p k8s.io/kubernetes/pkg/generated/openapi \
  -O zz_generated.openapi -h hack/boilerplate/boilerplate.generatego.txt -r "$apart/report"

mkdir -p "$apart/made/bin" "$apart/made/cni"
for program in $programs; do
  echo "building $program $version"
  nice -n 5 go build -p 2 -trimpath -ldflags '-s -w' -o "$apart/made/bin/$program" "./cmd/$program"
done
cd "$apart"

# What holds the namespaces of a pod, and does nothing else.
cat >pause.c <<'PAUSE'
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int number) { (void)number; _exit(0); }
static void bury(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
  signal(SIGINT, end);
  signal(SIGTERM, end);
  signal(SIGCHLD, bury);
  for (;;) pause();
}
PAUSE
gcc -static -Os -s -o made/bin/pause pause.c
cp debian/usr/bin/etcd debian/usr/sbin/conntrack made/bin/
find debian -name 'lib*.so.*' -exec cp -a {} made/bin/ \;
cp debian/usr/lib/cni/bridge debian/usr/lib/cni/host-local debian/usr/lib/cni/loopback made/cni/
echo "$stamp" >made/.packager-cluster
chmod -R go+rX made
rm -rf "$root"
mkdir -p "$(dirname "$root")"
mv made "$root"
echo "the cluster is in $root"
