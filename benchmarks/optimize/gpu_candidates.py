"""FP32, FP16 and BF16 candidates of a text encoder and a convolutional network on a real GPU.

Runs in less than two minutes on a machine with an NVIDIA GPU, ONNX Runtime for CUDA, onnx and
numpy, without a network. Models are made there from seeds and converted by the optimizer's own
code; each candidate is timed against its source in interleaved rounds by the optimizer's own
stop-watch. Beside the figures it answers three questions that no CPU can: does what the rule table
calls lawful load without falling back to the CPU, does FP16 overflow where the range scan says so,
and do the answers of the emulating twin match those of the device. Writes `result.json`, and the
figures as a record that `packager build --measurements` reads.

    python gpu_candidates.py --packager FOLDER --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES, BATCH, SECONDS_FOR_ALL = 256, 32, 110
PROFILES = {"H100": "nvidia-h100-sxm-80-cuda13", "H200": "nvidia-h200-sxm-141-cuda13"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--packager", type=Path, help="where the packages `packager` and our models are"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--provider", default="CUDAExecutionProvider")
    parser.add_argument(
        "--small", action="store_true", help="small models, for a machine without a GPU"
    )
    asked = parser.parse_args()
    if asked.packager:
        sys.path[:0] = [str(asked.packager)]
    asked.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    result: dict[str, Any] = {"machine": machine(), "provider": asked.provider, "models": {}}
    bench = Bench(asked.provider, asked.small)
    result["engine"] = bench.engine
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        result["overflow"] = guarded(lambda: bench.overflow(Path(scratch)))
        for name in ("encoder", "convnet"):
            folder = Path(scratch, name)
            folder.mkdir()
            report: dict[str, Any] = {}
            result["models"][name] = report
            for step in bench.candidates(name, folder):
                if time.monotonic() - started > SECONDS_FOR_ALL:
                    report["cut_short"] = True
                    break
                told = guarded(partial(bench.measure, name, step, rows))
                report[step.name] = told
                (asked.out / "result.json").write_text(json.dumps(result, indent=1))
    result["seconds"] = round(time.monotonic() - started, 1)
    (asked.out / "result.json").write_text(json.dumps(result, indent=1))
    record = {"apiVersion": "packager/v1", "kind": "MeasurementRecord", "measurements": rows}
    (asked.out / "measurements.json").write_text(json.dumps(record, indent=2, sort_keys=True))
    print(json.dumps(result, indent=1))
    return 0


class Candidate:
    """A file and how it came to be; `twin` is the file that emulates it on a CPU."""

    def __init__(self, name: str, file: Path, twin: Path | None = None) -> None:
        self.name, self.file, self.twin = name, file, twin


class Bench:
    """Our own modules, pointed at one execution provider."""

    def __init__(self, provider: str, small: bool) -> None:
        import os

        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        from packager.optimize import engine, timing

        self.runtime, self.provider, self.small = onnxruntime, provider, small
        self.engine = {
            "version": onnxruntime.__version__,
            "providers": onnxruntime.get_available_providers(),
        }
        engine.engine = lambda: onnxruntime  # type: ignore[assignment]  # the one that is here
        timing.open_session = lambda file, _: self.open(file)  # type: ignore[assignment]
        self.feeds: dict[str, dict[str, np.ndarray]] = {}

    def open(self, file: Path, provider: str | None = None, *, strict: bool = False) -> Any:
        options = self.runtime.SessionOptions()
        options.log_severity_level = 4
        if strict:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        return self.runtime.InferenceSession(
            str(file), options, providers=[provider or self.provider]
        )

    def candidates(self, name: str, folder: Path) -> list[Candidate]:
        import onnx
        from optimizer_models import convnet, convnet_samples, encoder, encoder_samples

        from packager.optimize.half_precision import convert, emulate
        from packager.optimize.passes import Step, save, transformer_fusions
        from packager.optimize.ranges import beyond_fp16

        if name == "encoder":
            shape = {"layers": 2, "hidden": 64, "heads": 4, "vocabulary": 500}
            if not self.small:
                shape = {"layers": 6, "hidden": 384, "heads": 12, "vocabulary": 30522}
            model = encoder(**shape)
            self.feeds[name] = encoder_samples(SAMPLES, 128, shape["vocabulary"])
        else:
            widths, size = ((16, 32), 16) if self.small else ((64, 128, 256, 512), 96)
            model, self.feeds[name] = convnet(widths, size), convnet_samples(SAMPLES, size)
        source = folder / "source.onnx"
        save(model, source, external=False)
        found = [Candidate("source", source)]
        feeds = [one(self.feeds[name], index) for index in range(16)]
        graphs = {"": source}
        if name == "encoder":
            fused = folder / "fused.onnx"
            step = Step(source, fused, {"model_type": "bert"}, lambda: iter(()), False)
            if guarded(lambda: {"notes": transformer_fusions(step)}).get("error") is None:
                found.append(Candidate("fused", fused))
                graphs["fused-"] = fused
        for prefix, graph in graphs.items():
            proto = onnx.load(graph)
            blocked = beyond_fp16(graph, proto, feeds, folder)
            for kind in ("fp16", "bf16"):
                own = blocked if kind == "fp16" else set()
                file, twin = folder / f"{prefix}{kind}.onnx", folder / f"{prefix}{kind}-twin.onnx"
                save(convert(proto, kind, own), file, external=False)
                save(emulate(proto, kind, own), twin, external=False)
                found.append(Candidate(f"{prefix}{kind}", file, twin))
        return found

    def measure(self, name: str, step: Candidate, rows: list[dict[str, Any]]) -> dict[str, Any]:
        from packager.optimize.reading import read_model
        from packager.optimize.timing import time_candidate

        source = step.file.with_name("source.onnx")
        told: dict[str, Any] = {
            "bytes": step.file.stat().st_size,
            "digest": str(read_model(step.file).digest),
        }
        try:
            self.open(step.file, strict=True)
            told["all_on_the_device"] = True
        except Exception as error:
            told["all_on_the_device"] = f"{type(error).__name__}: {str(error)[:300]}"
        reference = self.answers(source, name)
        answers = self.answers(step.file, name)
        told["against_fp32_on_the_device"] = compared(reference, answers)
        if step.twin:
            emulated = self.answers(step.twin, name, "CPUExecutionProvider", 64)
            told["twin_against_the_device"] = compared(answers[:64], emulated)
            told["twin_against_fp32"] = compared(reference[:64], emulated)
        feeds = [one(self.feeds[name], index) for index in range(2 * BATCH)]
        timed = time_candidate(source, step.file, feeds, [(1, n) for n in (1, 4, 16, BATCH)])
        told |= timed
        rows.append(
            {
                "source": str(read_model(source).digest),
                "candidate": told["digest"],
                "hardware": profile(),
                "measured_on": f"{machine()['gpu']}, onnxruntime {self.engine['version']}",
                "figures": timed["figures"],
                "load_ms": timed["load_ms"],
            }
        )
        return told

    def answers(
        self, file: Path, name: str, provider: str | None = None, count: int = SAMPLES
    ) -> np.ndarray:
        session = self.open(file, provider)
        fed = {key: array[:count] for key, array in self.feeds[name].items()}
        parts = [
            session.run(None, {key: array[start : start + 32] for key, array in fed.items()})[0]
            for start in range(0, count, 32)
        ]
        return np.concatenate(parts).astype(np.float64)

    def overflow(self, folder: Path) -> dict[str, Any]:
        """x → 320000·x → ·1e-3: what FP16 makes of it, with and without the block list."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        from packager.optimize.half_precision import convert
        from packager.optimize.ranges import beyond_fp16

        graph = helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "w"], ["large"]),
                # without it, ONNX Runtime fuses the scale into the product, and nothing overflows
                helper.make_node("Relu", ["large"], ["positive"]),
                helper.make_node("Mul", ["positive", "s"], ["small"]),
                helper.make_node("MatMul", ["small", "v"], ["y"]),
            ],
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
            [
                numpy_helper.from_array(np.eye(64, dtype=np.float32) * 32000, "w"),
                numpy_helper.from_array(np.float32(1e-3), "s"),
                numpy_helper.from_array(np.eye(64, dtype=np.float32), "v"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        source = folder / "planted.onnx"
        onnx.save(model, source)
        feed = {"x": np.full((8, 64), 10, np.float32)}
        blocked = beyond_fp16(source, model, [feed], folder)
        told: dict[str, Any] = {"block_list": sorted(blocked)}
        for label, own in (("without", set()), ("with", blocked)):
            file = folder / f"planted-{label}.onnx"
            onnx.save(convert(model, "fp16", own), file)
            for where in (self.provider, "CPUExecutionProvider"):
                value = self.open(file, where).run(None, feed)[0]
                told[f"{label} block list on {where}"] = {
                    "finite": bool(np.isfinite(value).all()),
                    "value": str(value[0, 0]),
                    "expected": "320",
                }
        return told


def one(feeds: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    return {name: array[index : index + 1] for name, array in feeds.items()}


def compared(reference: np.ndarray, own: np.ndarray) -> dict[str, Any]:
    error = np.abs(own - reference)
    power = float((reference**2).sum()) / max(float((error**2).sum()), 1e-30)
    return {
        "finite": bool(np.isfinite(own).all()),
        "top1_agreement": round(float((own.argmax(-1) == reference.argmax(-1)).mean()), 4),
        "largest_error_over_largest_value": float(f"{error.max() / np.abs(reference).max():.3g}"),
        "sqnr_db": round(10 * float(np.log10(power)), 1),
    }


def guarded(work: Any) -> dict[str, Any]:
    """What a step gives, or why it gave nothing: one failure is a row, not the end."""
    try:
        told: dict[str, Any] = work()
    except Exception as error:
        return {
            "error": f"{type(error).__name__}: {str(error)[:600]}",
            "at": traceback.format_exc()[-400:],
        }
    return told


def machine() -> dict[str, str]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        name, _, driver = subprocess.run(
            query, capture_output=True, text=True, check=True
        ).stdout.partition(",")
    except (OSError, subprocess.CalledProcessError):
        return {"gpu": "none", "driver": "none"}
    return {"gpu": name.strip(), "driver": driver.strip().splitlines()[0]}


def profile() -> str:
    return next((own for word, own in PROFILES.items() if word in machine()["gpu"]), "unknown")


if __name__ == "__main__":
    sys.exit(main())
