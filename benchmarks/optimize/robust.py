"""Criterion 10: more than twenty candidates on each fixture, among them some whose maker crashes or
fails, one that does not load and one with a broken opset; each is a row with its reason, and the
run ends with a valid choice.

`python -m benchmarks.optimize.robust [--out FILE]`. A script stands before the worker, as in the
tests of planted faults, and does its work for the candidates that are named after it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.optimize.cases import answers
from benchmarks.optimize.cases.made import convnet, encoder
from packager.catalogue import load_catalogue
from packager.domain.hardware import Precision
from packager.domain.model import Metric, Objective, QualityBudget
from packager.optimize import candidates as rules
from packager.optimize.optimizing import opened, optimize
from packager.optimize.processes import WORKER, Limits, Workers
from packager.optimize.reading import read_model
from packager.optimize.recipes import Pass, Recipe
from packager.optimize.samples import read_samples
from packager.progress import SILENT

HARDWARE, SAMPLES = "intel-xeon-amx", 600
SCRIPT = f"""
import json, os, pathlib, subprocess, sys
task = json.loads(pathlib.Path(sys.argv[1]).read_text())
if task['task'] == 'make' and 'broken-segfault' in task['target']:
    os.kill(os.getpid(), 11)
done = subprocess.run({list(WORKER)} + sys.argv[1:]).returncode
if task['task'] == 'make' and 'broken-load' in task['target']:
    import onnx
    model = onnx.load(task['target'])
    model.graph.node[0].domain, model.graph.node[0].op_type = 'com.microsoft', 'NoSuchOperator'
    model.opset_import.append(onnx.helper.make_opsetid('com.microsoft', 1))
    onnx.save(model, task['target'])
sys.exit(done)
"""
BROKEN = {
    "broken-segfault": Pass("store_half"),
    "broken-load": Pass("store_half", (("form", "another"),)),
    "broken-opset": Pass("convert_opset", (("to", 7),)),
    "broken-maker": Pass("no_such_pass"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    told = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, proto, shape in (
            ("encoder", encoder(), None),
            ("convnet", convnet(), (SAMPLES, 3, 16, 16)),
        ):
            room = Path(scratch, name)
            room.mkdir()
            told[name] = tried(room, proto, shape)
    print(json.dumps(told, indent=1))
    if asked.out:
        asked.out.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if all(all(one["held"].values()) for one in told.values()) else 1


def tried(room: Path, proto: Any, shape: tuple[int, ...] | None) -> dict[str, Any]:
    graph, random = room / "model.onnx", np.random.RandomState(4)
    graph.write_bytes(proto.SerializeToString())
    if shape:
        feeds = {"image": random.standard_normal(shape).astype(np.float32)}
    else:
        feeds = {
            "ids": random.randint(0, 500, (SAMPLES, 32)),
            "mask": np.ones((SAMPLES, 32), np.int64),
        }
    np.savez(room / "samples.npz", **feeds)
    (room / "worker.py").write_text(SCRIPT)
    into, model = room / "out", read_model(graph)
    into.mkdir()
    workers = Workers((sys.executable, str(room / "worker.py")), Limits(120))
    original, rules.RULES = rules.RULES, (rules.source, *many(convolutions=shape is not None))
    try:
        samples = read_samples(room / "samples.npz", model)
        budget = QualityBudget(Metric.TOP1_AGREEMENT, 0.9)
        with opened(model, samples, budget, into, SILENT, workers) as bench:
            found, _ = optimize(
                bench,
                hardware=load_catalogue().hardware(HARDWARE),
                objective=Objective.SIZE,
                record=None,
                into=into,
                progress=SILENT,
            )
    finally:
        rules.RULES = original
    rows = {row.name: row for row in found.candidates}
    own = answers(found.model.files[0].path, {name: array[:8] for name, array in feeds.items()})
    return {
        "candidates": len(rows) - 1,
        "verdicts": dict(Counter(row.verdict.value for row in rows.values())),
        "broken": {name: rows[name].reason for name in BROKEN},
        "chosen": found.chosen.name,
        "smaller": round(found.source.size / found.model.size, 2),
        "held": {
            "twenty candidates and more": len(rows) > 20,
            "what is broken failed, with a reason": all(
                rows[name].verdict.value == "failed" and rows[name].reason for name in BROKEN
            ),
            "a valid choice": bool(np.isfinite(own).all()) and found.chosen.name not in BROKEN,
        },
    }


def many(*, convolutions: bool) -> list[Any]:
    """Rules that give one candidate each, whatever the model."""
    steps: dict[str, Pass] = dict(BROKEN)
    steps |= {f"opset-{to}": Pass("convert_opset", (("to", to),)) for to in (18, 19, 20, 21)} | {
        f"graph-{level}": Pass("graph_optimization", (("level", level),)) for level in LEVELS
    }
    steps["stored"] = Pass("store_half", (("form", "fp16"),))
    for channels, reduced in itertools.product((True, False), repeat=2):
        flags = ("per_channel", channels), ("reduce_range", reduced)
        told = f"{'channels' if channels else 'tensor'}{'-7bit' if reduced else ''}"
        dynamic = (("operators", ("MatMul", "Gemm", "Gather")), *flags)
        steps[f"dynamic-{told}"] = Pass("quantize_dynamic", dynamic)
        for sign in ("U8", "S8"):
            operators = ("Conv", "MatMul") if convolutions else ("MatMul",)
            static = (("operators", operators), ("activations", sign), *flags)
            steps[f"static-{sign.lower()}-{told}"] = Pass("quantize_static", static)
    for bits, block in itertools.product((4, 8), (16, 32, 64)):
        packed = (("bits", bits), ("block", block), ("accuracy_level", 4))
        steps[f"blocks-{bits}-{block}"] = Pass("block_weights", packed)
    return [
        lambda *_, name=name, step=step: Recipe(name, Precision.INT8, False, (step,), True)
        for name, step in steps.items()
    ]


LEVELS = ("basic", "extended")


if __name__ == "__main__":
    sys.exit(main())
