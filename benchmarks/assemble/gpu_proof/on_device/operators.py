"""Every single-operator model on the GPU and on the CPU: prints one line of JSON.

`ran`: on the GPU with the CPU's answer. `not_on_cuda`: the provider has no such kernel, slimmed or
not, and says so before it runs. `missing_kernel`: the device code was not there; `wrong` and
`failed`: anything else. Only the first two may happen.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from weights import values

NO_CODE = ("no kernel image", "invalid device function", "named symbol not found", "CUDA error 209")


def filled(name: str, kind: str, shape: list[int], positive: bool) -> np.ndarray:
    array = values(name, tuple(shape), 1.0, "float32")
    if kind == "bool":
        return array > 0
    if kind.startswith("float"):
        return ((np.abs(array) + 0.5) if positive else array).astype(kind)
    return (array * 100).astype(kind)


def session(model: bytes, provider: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # As written: a fusion would try another kernel than the one that is asked for.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if provider != "CPUExecutionProvider":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return ort.InferenceSession(model, options, providers=[provider])


def outcome(case: dict, model: bytes) -> tuple[str, str]:
    inputs = {
        name: filled(case["name"] + name, *described) for name, described in case["inputs"].items()
    }
    try:
        on_gpu = session(model, "CUDAExecutionProvider")
    except Exception as error:
        told = str(error)
        if "fallback to CPU EP has been explicitly disabled" in told:
            return "not_on_cuda", ""
        return "failed", told[:300]
    try:
        got = on_gpu.run(None, inputs)
    except Exception as error:
        told = str(error)
        return ("missing_kernel" if any(word in told for word in NO_CODE) else "failed"), told[:300]
    expected = session(model, "CPUExecutionProvider").run(None, inputs)
    for number, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            return "wrong", f"output {number} is {mine.dtype}{mine.shape}"
        off = np.abs(mine.astype(np.float64) - theirs.astype(np.float64))
        error = float(np.max(off / np.maximum(1, np.abs(theirs.astype(np.float64))), initial=0))
        if not error <= case["tolerance"]:
            return "wrong", f"output {number} is off by {error:.4g}"
    return "ran", ""


def main() -> None:
    folder = Path(sys.argv[1])
    found: dict[str, list] = {}
    start = time.monotonic()
    for number, case in enumerate(json.loads((folder / "cases.json").read_text())):
        if time.monotonic() - start > 70:
            found.setdefault("not_tried", []).append(case["name"])
            continue
        status, told = outcome(case, (folder / f"{number}.onnx").read_bytes())
        found.setdefault(status, []).append([case["name"], told] if told else case["name"])
    counts = {status: len(names) for status, names in sorted(found.items())}
    print(json.dumps({"counts": counts, **found}))


if __name__ == "__main__":
    main()
