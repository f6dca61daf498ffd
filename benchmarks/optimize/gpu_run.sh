#!/usr/bin/env bash
# On the machine with the GPU: `OUT=… bash run.sh [PARTS]`. Less than two minutes, no network.
# PARTS is the parts.tar.xz of benchmarks/assemble/gpu_proof, which brings ONNX Runtime for CUDA in
# its folder `site`; without it, the onnxruntime-gpu of this Python is used. CUDA's own libraries
# come from NVIDIA's wheels in this Python's site-packages (torch for CUDA 13 brings them).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out="${OUT:?the folder for the results}/optimize"
mkdir -p "$out"
export ORT_DISABLE_TELEMETRY=1 PYTHONDONTWRITEBYTECODE=1
if [ -n "${1:-}" ]; then
  room=$(mktemp -d)
  trap 'rm -rf "$room"' EXIT
  python3 - "$1" "$room" <<'PY'
import sys, tarfile
with tarfile.open(sys.argv[1]) as parts:
    parts.extractall(sys.argv[2], filter="data")
PY
  # Those parts carry numpy without what images have no use for; the machine has a whole one.
  rm -rf "$room"/site/numpy "$room"/site/numpy*.libs
  export PYTHONPATH="$room/site"
fi
libraries=$(python3 - <<'PY'
import site, sys
from pathlib import Path
roots = [Path(p) for p in (*sys.path, *site.getsitepackages()) if p and Path(p).is_dir()]
found = {str(f.parent) for r in roots for f in r.glob("nvidia/**/lib*.so*")}
print(":".join(sorted(found)))
PY
)
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
timeout --signal=TERM --kill-after=10 170 \
  python3 -u "$here/code/gpu_candidates.py" --packager "$here/code" --out "$out" "${@:2}" \
  2>&1 | tee "$out/log.txt"
