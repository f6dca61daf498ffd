#!/usr/bin/env bash
# Runs the proof on a machine with an NVIDIA GPU: Python 3.12, and NVIDIA's wheels for CUDA 13 in its
# site-packages. Writes $OUT/record.json and $OUT/log.txt. Less than 200 seconds, no network.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out="${OUT:?the folder for record.json}"
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
mkdir -p "$out"
cd "$room"
python3 - "$here/parts.tar.xz" <<'PY'
import sys, tarfile
with tarfile.open(sys.argv[1]) as parts:
    parts.extractall(".", filter="data")
PY
timeout --signal=TERM --kill-after=5 195 python3 -u "$here/prove.py" "$room" "$out" "$@" \
  2>&1 | tee "$out/log.txt"
