#!/usr/bin/env bash
# Installs the verifying peers that npm has: sigstore's own verifier of bundles, CycloneDX's own
# validator of bills of materials, and the types of Flux, Argo CD, KEDA and Prometheus' operator, made
# from those operators' own. Needs node and npm, no root:
#
#   tests/peers/install-npm.sh [FOLDER]        (default: $PACKAGER_NPM_ROOT, /var/lib/packager-npm)
#
# A folder that was made from the same list is left as it is.
set -euo pipefail

root="${1:-${PACKAGER_NPM_ROOT:-/var/lib/packager-npm}}"
packages="@sigstore/verify@3 @sigstore/bundle@4 @cyclonedx/cyclonedx-library@10 ajv@8 ajv-formats@3
  ajv-formats-draft2019@1 typescript@5 @kubernetes-models/argo-cd@4 @kubernetes-models/flux-cd@4
  @kubernetes-models/keda@2 @kubernetes-models/prometheus-operator@6"
stamp="$(echo "$packages" | tr -s ' \n' ' ')"

if [ "$(cat "$root/.packager-npm" 2>/dev/null)" = "$stamp" ]; then
  echo "the peers are in $root"
  exit 0
fi
command -v npm >/dev/null || { echo "tests/peers/install-npm.sh: npm is not installed" >&2; exit 1; }
mkdir -p "$root"
cd "$root"
echo '{"private": true}' >package.json
# shellcheck disable=SC2086 # a list of names
npm install --no-audit --no-fund --no-save $packages >"$root/install.log" 2>&1 ||
  { tail -n 20 "$root/install.log" >&2; exit 1; }
echo "$stamp" >"$root/.packager-npm"
echo "the peers are in $root"
