"""What bound memory and CUDA graphs save, against the plain run: prints one line of JSON.

python binding.py FOLDER [NAME=VALUE …]    (the values are options of the CUDA provider)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from session import golden, open_session, quantiles, relative_error

CUDA = "CUDAExecutionProvider"
ROUNDS, RUNS = 6, 40


def bound(session, inputs: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> Callable:
    """A run whose tensors have their places on the device: copied in, run, copied out."""
    binding = session.io_binding()
    placed = {name: ort.OrtValue.ortvalue_from_numpy(a, "cuda", 0) for name, a in inputs.items()}
    answers = {
        name: ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cuda", 0)
        for name, shape in shapes.items()
    }
    for name, value in placed.items():
        binding.bind_ortvalue_input(name, value)
    for name, value in answers.items():
        binding.bind_ortvalue_output(name, value)

    def run(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, array in given.items():
            placed[name].update_inplace(array)
        session.run_with_iobinding(binding)
        return {name: value.numpy() for name, value in answers.items()}

    return run


def compare(folder: Path, options: dict[str, str], rows: int) -> dict[str, object]:
    inputs, expected = golden(folder)
    fed = {name: np.repeat(array[:1], rows, axis=0) for name, array in inputs.items()}
    other = {name: np.repeat(array[1:2], rows, axis=0) for name, array in inputs.items()}
    names = list(expected)
    plain = open_session(folder, CUDA, options)
    wanted = dict(zip(names, plain.run(names, fed), strict=True))
    wanted_other = dict(zip(names, plain.run(names, other), strict=True))
    shapes = {name: array.shape for name, array in wanted.items()}
    ways: dict[str, Callable] = {
        "plain": lambda given: dict(zip(names, plain.run(names, given), strict=True)),
        "bound": bound(plain, fed, shapes),
    }
    told: dict[str, object] = {}
    try:
        graph = open_session(folder, CUDA, options | {"enable_cuda_graph": "1"})
        run = bound(graph, fed, shapes)
        run(fed)
        ways["graph"] = run
    except Exception as error:
        told["graph_error"] = f"{type(error).__name__}: {error}"[:600]
    for name, way in ways.items():
        for given, right in ((fed, wanted), (other, wanted_other)):
            got = way(given)
            worst = max(relative_error(got[key], right[key]) for key in names)
            told[f"{name}_differs_by"] = max(worst, told.get(f"{name}_differs_by", 0.0))
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            for _ in range(RUNS):
                start = time.perf_counter()
                way(fed)
                taken[name].append(time.perf_counter() - start)
    return told | {name: quantiles(found) for name, found in taken.items()}


def main() -> None:
    folder = Path(sys.argv[1])
    options = dict(text.split("=", 1) for text in sys.argv[2:])
    told: dict[str, object] = {"ok": True}
    for rows in (1, 8, 32):
        try:
            told[f"rows_{rows}"] = compare(folder, options, rows)
        except Exception as error:
            told[f"rows_{rows}"] = {"error": f"{type(error).__name__}: {error}"[:600]}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
