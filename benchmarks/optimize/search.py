"""Is the search right? Every candidate over every number of threads and every batch with all rounds
and all samples, and beside it what the search asked, chose, and put on the front.

`python -m benchmarks.optimize.search [--minilm FOLDER] [--out FILE]`: on MiniLM where its folder is
given, else on the residual convolutional network. Tells by how much threads and
batches move the ratio of two candidates (what `MARGIN` takes for granted), which share of the
measuring and of the samples the search asks, counted as multi-fidelity search counts (an evaluation
is all that is timed of one candidate, in inferences; a look at a sixteenth of them is a sixteenth
of one), and which share of the volume under the front is lost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.optimize.cases.made import residual
from benchmarks.optimize.cases.text import minilm
from packager.catalogue import load_catalogue
from packager.domain.model import Metric, Objective, OptimizedModel, QualityBudget
from packager.optimize.anatomy import anatomy_of
from packager.optimize.candidates import candidates
from packager.optimize.making import Made
from packager.optimize.measuring import BATCHES, thread_counts
from packager.optimize.optimizing import opened, optimize
from packager.optimize.processes import Workers
from packager.optimize.reading import load_graph, read_model
from packager.optimize.recipes import SOURCE, Recipe
from packager.optimize.samples import read_samples
from packager.optimize.trying import Bench, prove, try_all
from packager.progress import SILENT

HARDWARE = "intel-xeon-amx"
Cell = tuple[int, int]
Cells = dict[Cell, dict[str, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    told = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        loose = QualityBudget(Metric.COSINE, 0.5)  # speed is the question, and no candidate missing
        if asked.minilm:
            case = minilm(asked.minilm, room / "minilm")
            told["minilm"] = compared(case.model, case.samples, loose)
        else:
            graph, feeds, _ = residual(room / "convnet", 600)
            np.savez(room / "convnet/samples.npz", **feeds)
            told["convnet"] = compared(graph, room / "convnet/samples.npz", loose)
    print(json.dumps(told, indent=1))
    if asked.out:
        asked.out.write_text(json.dumps(told, indent=1) + "\n")
    return 0


def compared(graph: Path, samples: Path, budget: QualityBudget) -> dict[str, Any]:
    model, into = read_model(graph), samples.parent / "out"
    into.mkdir()
    hardware = load_catalogue().hardware(HARDWARE)
    with opened(model, read_samples(samples, model), budget, into, SILENT) as bench:
        rows = candidates(anatomy_of(load_graph(graph)), hardware)
        recipes = tuple(r for r in rows if isinstance(r, Recipe) and r.name != SOURCE)
        trials = try_all(recipes, bench, None, SILENT)
        proved = prove([one for one in trials if one.open], bench, SILENT)
        names = {one.recipe.name: one for one in (*trials, *proved) if one.eligible}
        made = {n: one.outcome.model for n, one in names.items() if isinstance(one.outcome, Made)}
        paths = {SOURCE: graph, **{name: one.files[0].path for name, one in made.items()}}
        full = {name: everything(bench, name, path) for name, path in paths.items()}
    sizes = {SOURCE: model.size, **{name: one.size for name, one in made.items()}}
    told = {
        "candidates": {name: ratios(own) for name, own in full.items()},
        "sizes": sizes,
        "moved": moved(full),
        "search": {},
    }
    for objective in (Objective.LATENCY, Objective.THROUGHPUT):
        target = into / objective.value
        target.mkdir()
        with (
            counting() as asked,
            opened(model, read_samples(samples, model), budget, target, SILENT) as bench,
        ):
            found, _ = optimize(
                bench,
                hardware=hardware,
                objective=objective,
                record=None,
                into=target,
                progress=SILENT,
            )
        held_out = next(use.count for use in found.samples if use.purpose == "evaluation")
        told["search"][objective.value] = judged(found, objective, full, sizes, asked, held_out)
    return told


def everything(bench: Bench, name: str, path: Path) -> Cells:
    """All cells of one candidate, with all rounds."""
    shop = bench.workshop
    task = {
        "task": "measure",
        "source": str(shop.source.files[0].path),
        "candidate": str(path),
        "samples": str(shop.folder / "evaluation.npz"),
        "batched": dict(shop.samples.batched),
        "start": 0,
        "stop": 32,
        "cells": list(itertools.product(thread_counts(), BATCHES)),
        "pace": "close",
        "sweep": [],
    }
    result = shop.workers.do(f"time-{name}", task, shop.folder)
    assert isinstance(result, dict), result
    return {(one["threads"], one["batch"]): one for one in result["figures"]}


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Rounds and samples that workers are asked for, the source's own answers apart."""
    counted: Counter[str] = Counter()
    original = Workers.do

    def do(self: Workers, name: str, task: Any, folder: Path) -> Any:
        result = original(self, name, task, folder)
        if task["task"] == "run" and not name.startswith("run-source") and "start" in task:
            counted["samples"] += task["stop"] - task["start"]
        if task["task"] in ("measure", "look") and isinstance(result, dict):
            looks = result.get("looks", {"": result})
            for whose, one in looks.items():
                if whose or task["task"] == "measure":  # the source's rounds are the others'
                    counted["rounds"] += sum(figures["rounds"] for figures in one["figures"])
                    counted["inferences"] += inferences(one["figures"])
        return result

    Workers.do = do  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        Workers.do = original  # type: ignore[method-assign]


def judged(
    found: OptimizedModel,
    objective: Objective,
    full: dict[str, Cells],
    sizes: dict[str, int],
    asked: Counter[str],
    held_out: int,
) -> dict[str, Any]:
    """What the search asked and found, against all that there is."""
    others = [name for name in full if name != SOURCE]
    rounds = sum(one["rounds"] for name in others for one in full[name].values())
    timed = sum(inferences(full[name].values()) for name in others)
    key = "latency_speedup" if objective is Objective.LATENCY else "throughput_speedup"
    best = {name: max(one[key] for one in own.values()) for name, own in full.items()}
    front = [row.name for row in found.candidates if row.on_front]
    points = {name: point(name, own, sizes) for name, own in full.items()}
    whole, kept = volume(list(points.values())), volume([points[n] for n in front if n in points])
    return {
        "chosen": found.chosen.name,
        "the choice against the best of all": round(
            best[found.chosen.name] / max(best.values()), 3
        ),
        "front": front,
        "inferences timed, of all": [asked["inferences"], timed],
        "evaluations": f"{asked['inferences'] / timed * len(others):.2f} of {len(others)}",
        "share of inferences timed": round(asked["inferences"] / timed, 3),
        "rounds, of all": [asked["rounds"], rounds],
        "share of rounds": round(asked["rounds"] / rounds, 3),
        "samples, of all": [asked["samples"], held_out * len(others)],
        "volume lost": round(1 - kept / whole, 4),
    }


def inferences(figures: Iterable[dict[str, float]]) -> int:
    """How many were timed of the candidate: a round is one batch."""
    return int(sum(one["rounds"] * one["batch"] for one in figures))


def ratios(own: Cells) -> dict[str, float]:
    return {f"{t} threads, batch {b}": one["throughput_speedup"] for (t, b), one in own.items()}


def moved(cells: dict[str, Cells]) -> dict[str, float]:
    """By what factor the ratio of two candidates changes, at most, from one thread and batch 1 to
    batches on one thread, and to anything else. The second says little on a crowded machine."""
    most = {"batches on one thread": 1.0, "threads and batches": 1.0}
    for one, other in itertools.permutations(cells, 2):
        shared = set(cells[one]) & set(cells[other])
        first = cells[one][1, 1]["latency_speedup"] / cells[other][1, 1]["latency_speedup"]
        for threads, batch in shared - {(1, 1)}:
            a, b = cells[one][threads, batch], cells[other][threads, batch]
            now = a["throughput_speedup"] / b["throughput_speedup"]
            for key in most if threads == 1 else ("threads and batches",):
                most[key] = max(most[key], now / first)
    return {name: round(value, 3) for name, value in most.items()}


def point(name: str, own: Cells, sizes: dict[str, int]) -> tuple[float, float, float]:
    """Latency, throughput and size of a candidate at its best, larger being better. Speeds
    are ratios to the source's in the same cell, as on the front."""
    fastest = max(one["latency_speedup"] for one in own.values())
    most = max(one["throughput_speedup"] for one in own.values())
    return fastest, most, 1 / sizes[name]


def volume(points: list[tuple[float, float, float]]) -> float:
    """Of the union of the boxes from the origin to each point, exact."""
    axes = [sorted({0.0, *(one[axis] for one in points)}) for axis in range(3)]
    total = 0.0
    for x, y, z in itertools.product(*(range(1, len(axis)) for axis in axes)):
        corner = axes[0][x], axes[1][y], axes[2][z]
        if any(all(p >= c for p, c in zip(one, corner, strict=True)) for one in points):
            sides = [axes[n][at] - axes[n][at - 1] for n, at in enumerate((x, y, z))]
            total += float(np.prod(sides))
    return total


if __name__ == "__main__":
    sys.exit(main())
