"""Is the race right? Every candidate over every number of threads and every batch, and what the
race would have timed of it.

`python -m benchmarks.optimize.search [--minilm FOLDER] [--out FILE]`: on the residual
convolutional network, and on MiniLM where its folder is given. Tells by how much threads and
batches move the ratio of two candidates (what `MARGIN` takes for granted), which share of the
timings the race makes, and how much of the volume under the front it loses.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.optimize.cases.made import residual
from benchmarks.optimize.cases.text import minilm
from packager.catalogue import load_catalogue
from packager.domain.model import Metric, Objective, QualityBudget
from packager.optimize.anatomy import anatomy_of
from packager.optimize.candidates import candidates
from packager.optimize.making import Made
from packager.optimize.measuring import BATCHES, MARGIN, in_the_race
from packager.optimize.optimizing import opened
from packager.optimize.reading import load_graph, read_model
from packager.optimize.recipes import Recipe
from packager.optimize.samples import read_samples
from packager.optimize.trying import try_all
from packager.progress import SILENT

HARDWARE, THREADS = "intel-xeon-amx", (1, 2)
Cell = tuple[int, int]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        graph, feeds, _ = residual(room / "convnet", 600)
        np.savez(room / "convnet/samples.npz", **feeds)
        loose = QualityBudget(Metric.COSINE, 0.5)  # speed is the question, and no candidate missing
        told["convnet"] = compared(graph, room / "convnet/samples.npz", loose)
        if asked.minilm:
            case = minilm(asked.minilm, room / "minilm")
            told["minilm"] = compared(case.model, case.samples, loose)
    print(json.dumps(told, indent=1))
    if asked.out:
        asked.out.write_text(json.dumps(told, indent=1) + "\n")
    return 0


def compared(graph: Path, samples: Path, budget: QualityBudget) -> dict[str, Any]:
    model, into = read_model(graph), samples.parent / "out"
    into.mkdir()
    with opened(model, read_samples(samples, model), budget, into, SILENT) as bench:
        rows = candidates(anatomy_of(load_graph(graph)), load_catalogue().hardware(HARDWARE))
        recipes = tuple(row for row in rows if isinstance(row, Recipe))
        made = {
            trial.recipe.name: trial.outcome.model
            for trial in try_all(recipes, bench, None, SILENT)
            if isinstance(trial.outcome, Made) and trial.eligible
        }
        workshop = bench.workshop
        timed = {}
        for name, one in {"source": model, **made}.items():
            task = {
                "task": "measure",
                "source": str(graph),
                "candidate": str(one.files[0].path),
                "samples": str(workshop.folder / "evaluation.npz"),
                "batched": dict(workshop.samples.batched),
                "start": 0,
                "stop": 32,
                "threads": THREADS,
                "batches": BATCHES,
            }
            timed[name] = workshop.workers.do(f"time-{name}", task, workshop.folder)
    sizes = {"source": model.size, **{name: one.size for name, one in made.items()}}
    cells = {
        name: {(one["threads"], one["batch"]): one for one in result["figures"]}
        for name, result in timed.items()
    }
    between = {name: tuple(result["between"]) for name, result in timed.items()}
    return {
        "candidates": {name: ratios(own) for name, own in cells.items()},
        "moved": moved(cells),
        "race": {
            objective.value: race(objective, cells, between, sizes)
            for objective in (Objective.LATENCY, Objective.THROUGHPUT)
        },
    }


def ratios(own: dict[Cell, dict[str, float]]) -> dict[str, float]:
    return {f"{t} threads, batch {b}": one["throughput_speedup"] for (t, b), one in own.items()}


def moved(cells: dict[str, dict[Cell, dict[str, float]]]) -> dict[str, float]:
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


def race(
    objective: Objective,
    cells: dict[str, dict[Cell, dict[str, float]]],
    between: dict[str, tuple[float, float]],
    sizes: dict[str, int],
) -> dict[str, Any]:
    """The share of timings, whether the winner is kept, and the volume lost."""
    left = in_the_race(between, sizes, objective)
    seen = {name: own if name in left else {(1, 1): own[1, 1]} for name, own in cells.items()}
    key = "latency_speedup" if objective is Objective.LATENCY else "throughput_speedup"
    best = {name: max(one[key] for one in own.values()) for name, own in cells.items()}
    every = sum(map(len, cells.values()))
    full, cheap = (
        volume([point(name, own, sizes) for name, own in some.items()]) for some in (cells, seen)
    )
    return {
        "margin": MARGIN[objective],
        "left": left,
        "timings, of all": [len(cells) + sum(len(cells[name]) for name in left), every],
        "the best is kept": max(best, key=lambda name: best[name]) in left,
        "volume lost": round(1 - cheap / full, 4),
    }


def point(
    name: str, own: dict[Cell, dict[str, float]], sizes: dict[str, int]
) -> tuple[float, float, float]:
    """Latency, throughput and size of a candidate at its best, larger being better."""
    fastest = max(1 / one["latency_p50_ms"] for one in own.values())
    most = max(one["throughput_per_s"] for one in own.values())
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
