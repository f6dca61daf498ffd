"""Olive's side of `beside_olive`: runs in Olive's own environment, knows nothing of packager.

`python olive_search.py MODEL SAMPLES BOUND OUT`: every point of the search space that Olive 0.13
declares for `OnnxDynamicQuantization` (precision × per_channel × reduce_range) is made by Olive's
own pass, answers the samples, and is timed at batch 1 if it keeps to the bound. That is the least
that a search has to do, without the engine around it: `olive run` with an evaluator of one's own
ends in errors of its configuration classes (0.13.0, pydantic 2.11 and 2.14).
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path

os.environ |= {"OLIVE_DISABLE_TELEMETRY": "1", "ORT_DISABLE_TELEMETRY": "1"}

import numpy as np
import onnxruntime
from olive.hardware import DEFAULT_CPU_ACCELERATOR
from olive.model import ONNXModelHandler
from olive.passes.olive_pass import create_pass_from_dict
from olive.passes.onnx.quantization import OnnxDynamicQuantization

ROUNDS = 15
SPACE = {
    "precision": ("int8", "uint8"),
    "per_channel": (False, True),
    "reduce_range": (False, True),
}


def main() -> None:
    model, samples, bound, out = (
        Path(sys.argv[1]),
        sys.argv[2],
        float(sys.argv[3]),
        Path(sys.argv[4]),
    )
    with np.load(samples) as archive:
        feeds = {name: archive[name] for name in archive.files}
    source = session(model)
    reference = answers(source, feeds)
    rows, best = [], (1.0, model)
    for point in itertools.product(*SPACE.values()):
        asked = dict(zip(SPACE, point, strict=True))
        name = "-".join(map(str, point))
        began = time.monotonic()
        quantize = create_pass_from_dict(
            OnnxDynamicQuantization,
            asked,
            disable_search=True,
            accelerator_spec=DEFAULT_CPU_ACCELERATOR,
        )
        made = Path(quantize.run(ONNXModelHandler(str(model)), str(Path(out, name))).model_path)
        own = session(made)
        quality = tolerance(cosine(reference, answers(own, feeds)))
        speedup = ratio(source, own, feeds) if quality >= bound else None
        rows.append(
            {
                **asked,
                "file": str(made),
                "size": made.stat().st_size,
                "quality": quality,
                "speedup": speedup,
                "seconds": time.monotonic() - began,
            }
        )
        if speedup and speedup > best[0]:
            best = (speedup, made)
    print(json.dumps({"chosen": str(best[1]), "rows": rows}))


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def one(feeds: dict, index: int) -> dict:
    return {name: array[index : index + 1] for name, array in feeds.items()}


def answers(own: onnxruntime.InferenceSession, feeds: dict) -> np.ndarray:
    count = len(next(iter(feeds.values())))
    return np.concatenate([own.run(None, one(feeds, index))[0] for index in range(count)])


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def tolerance(values: np.ndarray) -> float:
    """The value that 99 % of inputs keep to with 95 % confidence: the worst of 299 to 472."""
    return float(np.sort(values)[0])


def ratio(source: object, own: object, feeds: dict) -> float:
    """Median of interleaved rounds at batch 1."""
    found = []
    for turn in range(ROUNDS + 3):
        times = []
        for runner in (source, own):
            began = time.perf_counter()
            runner.run(None, one(feeds, turn))
            times.append(time.perf_counter() - began)
        found.append(times[0] / times[1])
    return float(np.median(found[3:]))


if __name__ == "__main__":
    main()
