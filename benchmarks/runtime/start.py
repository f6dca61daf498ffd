"""From exec to ready inside an image, beside a bare session by the image's own Python:
`unshare --mount python -m benchmarks.runtime.start ROOT [--times 5]` (as root).

ROOT is an image's unpacked file system (`docker export`); models are laid into ROOT/models, and
this checkout's runtime takes the place of the image's. Bare is import of numpy and ONNX Runtime,
the session and one run. Both have no byte code, as in an image, and both are timed from exec.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.runtime.compare import _ours, _resident
from benchmarks.runtime.models import MODELS

ROOT = Path(__file__).parents[2]
SITE = "usr/local/lib/python3.13/dist-packages/packager_runtime"
PYTHON = ("/usr/bin/python3.13", "-I", "-B")
BARE = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"x": numpy.ones((1, int(sys.argv[2])), numpy.float32)})
print("up", flush=True)
sys.stdin.read()
"""


def timed(root: Path, command: tuple[str, ...], sign: bytes) -> tuple[float, float]:
    """Seconds from exec to a line with `sign`, and MiB then."""
    began = time.perf_counter()
    process = subprocess.Popen(
        ["chroot", str(root), *PYTHON, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout
        for line in process.stdout:
            if sign in line:
                taken = time.perf_counter() - began
                time.sleep(0.1)
                return taken, _resident(process.pid)
        raise SystemExit(f"{command[0]} ended before it was up")
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    """Print each pair, then the medians of their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    root, models = options.root, options.root / "models"
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    shutil.rmtree(root / SITE, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "packager" / "runtime", root / SITE, ignore=ignored)
    for folder in [*(root / "usr").rglob("__pycache__")]:
        shutil.rmtree(folder)
    shutil.rmtree(models, ignore_errors=True)
    models.mkdir()
    for name in ("small", "wide"):
        model = MODELS[name]()
        (models / f"{name}.onnx").write_bytes(model.graph)
        _ours(model, models / f"{name}.onnx", 0, models)
        served = f"/models/ours-{name}/server.json"
        listening = ("--host", "127.0.0.1", "--port", "0")
        ratios, sizes = [], []
        for _ in range(options.times):
            width = str(model.row.shape[1])
            bare = timed(root, ("-c", BARE, f"/models/{name}.onnx", width), b"up")
            command = ("-m", "packager_runtime", "--config", served, *listening)
            ours = timed(root, command, b'"ready"')
            ratios.append(ours[0] / bare[0])
            sizes.append(ours[1] / bare[1])
            told = f"bare {bare[0]:.3f} s, {bare[1]:.1f} MiB"
            print(f"{name}: {told}; ours {ours[0]:.3f} s, {ours[1]:.1f} MiB")
        print(
            f"{name}: medians of the ratios: start {statistics.median(ratios):.2f},"
            f" memory {statistics.median(sizes):.2f}"
        )


if __name__ == "__main__":
    main()
