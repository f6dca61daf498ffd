#!/usr/bin/env bash
# Lays out what travels to a machine with a GPU: `bash benchmarks/optimize/gpu_pack.sh FOLDER`.
# About 2 MB; there, `bash FOLDER/run.sh [PARTS]` writes $OUT/optimize/.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
into=${1:?a folder}
mkdir -p "$into/code"
cp "$top/benchmarks/optimize/gpu_candidates.py" "$top/tests/support/optimizer_models.py" "$into/code/"
cp "$top/benchmarks/optimize/gpu_run.sh" "$into/run.sh"
tar -C "$top" --exclude=__pycache__ -cf - packager/__init__.py packager/canonical.py packager/digest.py \
  packager/errors.py packager/progress.py packager/workspace.py packager/domain packager/optimize |
  tar -C "$into/code" -xf -
