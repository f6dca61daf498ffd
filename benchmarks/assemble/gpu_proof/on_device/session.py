"""One ONNX Runtime session on the GPU, in a process of its own: prints one line of JSON.

python session.py FOLDER cuda|cpu [--time] [--option NAME=VALUE …]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

WARM, SECONDS, BATCHES = 10, 1.5, (1, 8, 32, 128)
GPU_FILES = ("libcu", "libnv", "libonnxruntime_providers")


def open_session(folder: Path, provider: str, options: dict[str, str], fall_back: bool = False):
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    if provider != "CPUExecutionProvider" and not fall_back:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return ort.InferenceSession(
        str(folder / "model.onnx"), settings, providers=[(provider, options)]
    )


def golden(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What the runtime's self-test compares: inputs and outputs."""
    with np.load(folder / "golden.npz") as stored:
        pairs = [(name.split(".", 1), stored[name]) for name in stored.files]
    return (
        {name: array for (kind, name), array in pairs if kind == "input"},
        {name: array for (kind, name), array in pairs if kind == "output"},
    )


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """The runtime's measure: |got − expected| / max(1, |expected|), at its largest."""
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    return float(np.max(np.abs(got - expected) / np.maximum(1, np.abs(expected))))


def gpu_files() -> list[str]:
    """The GPU libraries that are in this process's memory, by their real paths."""
    with Path("/proc/self/maps").open() as maps:
        mapped = {line.split(None, 5)[5].strip() for line in maps if "/" in line}
    return sorted(path for path in mapped if Path(path).name.startswith(GPU_FILES))


def quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 3),
        "p99_ms": round(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 3),
        "runs": len(ordered),
    }


def timed(session, inputs: dict[str, np.ndarray], seconds: float) -> list[float]:
    for _ in range(WARM):
        session.run(None, inputs)
    taken, end = [], time.perf_counter() + seconds
    while (start := time.perf_counter()) < end or len(taken) < 5:
        session.run(None, inputs)
        taken.append(time.perf_counter() - start)
    return taken


def measure(session, inputs: dict[str, np.ndarray]) -> dict[str, object]:
    """Latency of one row and throughput by batch, from and to the memory of the host."""
    one = {name: array[:1] for name, array in inputs.items()}
    found: dict[str, object] = {"latency_batch_1": quantiles(timed(session, one, 2 * SECONDS))}
    rows = {}
    for batch in BATCHES:
        fed = {name: np.repeat(array[:1], batch, axis=0) for name, array in inputs.items()}
        taken = timed(session, fed, SECONDS)
        rows[str(batch)] = round(batch * len(taken) / sum(taken), 1)
    return found | {"rows_per_second_by_batch": rows}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("provider", choices=("cuda", "cpu"))
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--option", action="append", default=[])
    asked = parser.parse_args()
    provider = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}[asked.provider]
    told: dict[str, object] = {}
    try:
        start = time.perf_counter()
        session = open_session(
            asked.folder, provider, dict(option.split("=", 1) for option in asked.option)
        )
        told["open_seconds"] = round(time.perf_counter() - start, 2)
        inputs, expected = golden(asked.folder)
        start = time.perf_counter()
        got = dict(zip(expected, session.run(list(expected), inputs), strict=True))
        told["first_run_seconds"] = round(time.perf_counter() - start, 3)
        told["providers"] = session.get_providers()
        told["error_to_golden"] = {
            name: relative_error(got[name], expected[name]) for name in expected
        }
        told["finite"] = all(bool(np.isfinite(array).all()) for array in got.values())
        told["spread"] = {name: float(np.std(array)) for name, array in got.items()}
        if asked.time:
            told |= measure(session, inputs)
        if asked.provider == "cuda":
            told["gpu_files"] = gpu_files()
        told["ok"] = True
    except Exception as error:
        told |= {"ok": False, "error": f"{type(error).__name__}: {error}"[:1500]}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
