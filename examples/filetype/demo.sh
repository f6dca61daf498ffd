#!/bin/sh
# The main job on a real model: build for three countries, verify, run, classify a real file.
# Started by `make demo`; a second run takes what the first one made.
set -eu
cd "$(dirname "$0")"
target=de/x86-64-v3/kubernetes
case "$(uname -m)" in aarch64 | arm64) target=sg/arm64-v8/kubernetes ;; esac

say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }

if [ ! -f model.onnx ] || [ ! -f samples.npz ]; then
  say "1. Take the model out of the installed Magika, and make samples from real files"
  python prepare.py
fi
if [ ! -f keys/site.pem ]; then
  say "2. Make a key pair"
  mkdir -p keys
  packager keys generate -o keys/site.pem
fi
if [ ! -d out ]; then
  say "3. Pin every package and wheel, then build for Germany, Saudi Arabia and Singapore"
  packager lock release.yaml
  packager build release.yaml --key keys/site.pem -o out
fi
say "4. Verify every byte with the public key"
packager verify out --key keys/site.pub
say "5. What is in it, and what the targets share"
packager inspect out --key keys/site.pub --quiet
say "6. Start $target here and ask it what kind of file demo.sh is"
label=$(packager run out --key keys/site.pub --target "$target" -- \
  python classify.py demo.sh)
printf 'demo.sh is: %s\n' "$label"

cat <<'END'

What to try next, in examples/filetype:
  packager run out --key keys/site.pub            # serve until Ctrl-C; then classify.py FILE --url URL
  packager check release.yaml                     # the rules, one by one; edit a region and see it refused
  less out/targets/de/x86-64-v3/kubernetes/README.md
  xdg-open out/evidence/compliance.html           # the report for an auditor
  packager targets show sa                        # what a profile says, with its sources
END
