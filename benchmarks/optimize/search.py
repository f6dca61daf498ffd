"""Is the search right? Every candidate over every number of threads and every batch with all rounds
and all samples, and beside it what the search asked, chose, and put on the front.

`python -m benchmarks.optimize.search [--convnet] [--encoder] [--magika] [--minilm FOLDER] [--silero
FILE] [--angle FILE] [--out FILE]`: the files as `real_models` wants them. Tells by how much threads
and batches move the ratio of two candidates (what `MARGIN` takes for granted), which share of the
measuring and of the samples the search asks, counted as multi-fidelity search counts (an evaluation
is all that is timed of one candidate, in inferences; a look at a sixteenth of them is a sixteenth
of one), and which share of the volume under the front is lost.
The choice by all figures is made by the same rule.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.optimize.cases import Case
from benchmarks.optimize.cases.files import magika
from benchmarks.optimize.cases.images import angle
from benchmarks.optimize.cases.made import minilm_shaped, residual
from benchmarks.optimize.cases.speech import silero
from benchmarks.optimize.cases.text import minilm
from packager.catalogue import load_catalogue
from packager.digest import Digest
from packager.domain.model import Metric, Objective, OptimizedModel, QualityBudget
from packager.optimize.anatomy import anatomy_of
from packager.optimize.candidates import candidates
from packager.optimize.choosing import Contender, choose
from packager.optimize.contending import contender, scaling
from packager.optimize.making import Made
from packager.optimize.measuring import batches, thread_counts
from packager.optimize.optimizing import opened, optimize
from packager.optimize.processes import Workers
from packager.optimize.reading import load_graph, read_model
from packager.optimize.recipes import SOURCE, Recipe
from packager.optimize.record import Figures, Row
from packager.optimize.samples import read_samples
from packager.optimize.trying import Bench, prove, try_all
from packager.progress import SILENT

HARDWARE = "intel-xeon-amx"
Cell = tuple[int, int]
Cells = dict[Cell, dict[str, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("minilm", "silero", "angle"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("convnet", "encoder", "magika"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    opens: dict[str, Callable[[Path], tuple[Path, Path]]] = {
        "convnet": lambda room: fitted(room, residual),
        "encoder": lambda room: fitted(room, minilm_shaped),
        "magika": lambda room: files_of(magika(room)),
        "minilm": lambda room: files_of(minilm(asked.minilm, room)),
        "silero": lambda room: files_of(silero(asked.silero, room)),
        "angle": lambda room: files_of(angle(asked.angle, room)),
    }
    wanted = [name for name in opens if getattr(asked, name)] or ["convnet"]
    for name, case in opens.items():
        if name in wanted:
            told = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
            with tempfile.TemporaryDirectory() as scratch:
                told[name] = compared(*case(Path(scratch, name)))
            print(json.dumps({name: told[name]}, indent=1), flush=True)
            if asked.out:
                asked.out.write_text(json.dumps(told, indent=1) + "\n")
    return 0


def fitted(room: Path, make: Callable[[Path, int], Any]) -> tuple[Path, Path]:
    graph, feeds, _ = make(room, 600)
    np.savez(room / "samples.npz", **feeds)
    return graph, room / "samples.npz"


def files_of(case: Case) -> tuple[Path, Path]:
    return case.model, case.samples


def compared(graph: Path, samples: Path) -> dict[str, Any]:
    budget = QualityBudget(Metric.COSINE, 0.5)  # speed is the question, and no candidate missing
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
        lossless = {SOURCE, *(name for name, one in names.items() if one.recipe.lossless)}
    sizes = {SOURCE: model.size, **{name: one.size for name, one in made.items()}}
    told: dict[str, Any] = {
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
        told["search"][objective.value] = judged(
            found, objective, full, sizes, lossless, asked, held_out
        )
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
        "cells": list(
            itertools.product(
                thread_counts(), batches(shop.source, stackable=shop.samples.stackable)
            )
        ),
        "pace": "close",
        "sweep": [],
        "begun": [],
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
        if task["task"] in ("measure", "look", "duel") and isinstance(result, dict):
            looks = result.get("looks", {"": result})
            looks = dict(enumerate(result["sides"])) if task["task"] == "duel" else looks
            begun = {(t, b): len(rounds) for t, b, rounds in task.get("begun", ())}
            for whose, one in looks.items():
                if whose != "" or task["task"] == "measure":  # the source's rounds are the others'
                    one = {"figures": [fresh(figures, begun) for figures in one["figures"]]}
                    counted["rounds"] += sum(figures["rounds"] for figures in one["figures"])
                    counted["inferences"] += inferences(one["figures"])
                    counted[f"step {name} {task.get('pace', '')}"] += inferences(one["figures"])
        return result

    Workers.do = do  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        Workers.do = original  # type: ignore[method-assign]


def fresh(figures: dict[str, Any], begun: dict[Cell, int]) -> dict[str, Any]:
    """Without the rounds of an earlier look, which are counted there."""
    before = begun.get((figures["threads"], figures["batch"]), 0)
    return {**figures, "rounds": figures["rounds"] - before}


def judged(
    found: OptimizedModel,
    objective: Objective,
    full: dict[str, Cells],
    sizes: dict[str, int],
    lossless: set[str],
    asked: Counter[str],
    held_out: int,
) -> dict[str, Any]:
    """What the search asked and found, against all that there is."""
    others = list(full)  # the source is one of them
    rounds = sum(one["rounds"] for name in others for one in full[name].values())
    timed = sum(inferences(full[name].values()) for name in others)
    place = 0 if objective is Objective.LATENCY else 1
    gained = dict(zip(full, standing(full, sizes), strict=True))
    best = {name: one[place] for name, one in gained.items()}
    front = [row.name for row in found.candidates if row.on_front]
    all_would = by_all(full, sizes, lossless, objective)
    points = gained
    whole, kept = volume(list(points.values())), volume([points[n] for n in front if n in points])
    return {
        "chosen": found.chosen.name,
        "chosen by whoever measures everything": all_would,
        "the same choice": found.chosen.name == all_would,
        "the choice against the best of all": round(
            best[found.chosen.name] / max(best.values()), 3
        ),
        "front": front,
        "inferences timed, of all": [asked["inferences"], timed],
        "evaluations": f"{asked['inferences'] / timed * len(others):.2f} of {len(others)}",
        "share of inferences timed": round(asked["inferences"] / timed, 3),
        "rounds, of all": [asked["rounds"], rounds],
        "share of rounds": round(asked["rounds"] / rounds, 3),
        "samples, of all": [asked["samples"], held_out * (len(others) - 1)],
        "share of all inferences, timed and judged": round(
            (asked["inferences"] + asked["samples"]) / (timed + held_out * (len(others) - 1)), 3
        ),
        "steps": {k.removeprefix("step "): v for k, v in asked.items() if k.startswith("step ")},
        "volume lost": round(1 - kept / whole, 4),
    }


def by_all(
    full: dict[str, Cells], sizes: dict[str, int], lossless: set[str], objective: Objective
) -> str:
    """The choice of whoever measures everything, by the same rule."""
    contenders = []
    rows = rows_of(full)
    source_at = scaling((row for name, row in rows.items() if name != SOURCE), objective)
    for name, row in rows.items():
        contenders.append(
            contender(
                name,
                sizes[name],
                row,
                objective,
                lossless=name in lossless,
                source_at=source_at,
            )
        )
    return choose(
        Contender(SOURCE, True, sizes[SOURCE], 1.0),
        (one for one in contenders if one.name != SOURCE),
        objective,
    ).name


def inferences(figures: Iterable[dict[str, float]]) -> int:
    """How many were timed of the candidate: a round is one batch."""
    return int(sum(one["rounds"] * one["batch"] for one in figures))


def ratios(own: Cells) -> dict[str, float]:
    return {f"{t} threads, batch {b}": one["throughput_speedup"] for (t, b), one in own.items()}


def moved(cells: dict[str, Cells]) -> dict[str, float]:
    """By what factor the ratio of two candidates changes, at most, from one thread and batch 1 to
    batches on one thread, and to anything else. The second says little on a crowded machine."""
    most = {"batches on one thread": 1.0, "threads at batch 1": 1.0, "threads and batches": 1.0}
    for one, other in itertools.permutations(cells, 2):
        shared = set(cells[one]) & set(cells[other])
        first = cells[one][1, 1]["latency_speedup"] / cells[other][1, 1]["latency_speedup"]
        for threads, batch in shared - {(1, 1)}:
            a, b = cells[one][threads, batch], cells[other][threads, batch]
            now = a["throughput_speedup"] / b["throughput_speedup"]
            where = {"threads at batch 1"} if batch == 1 else set()
            where |= {"batches on one thread"} if threads == 1 else set()
            for key in where | {"threads and batches"}:
                most[key] = max(most[key], now / first)
    return {name: round(value, 3) for name, value in most.items()}


def standing(full: dict[str, Cells], sizes: dict[str, int]) -> list[tuple[float, float, float]]:
    """Latency, throughput and size of each candidate at its best, larger being better. Speeds are
    ratios to the source at its best, as the choice compares them."""
    rows = rows_of(full)
    axes = []
    for objective in (Objective.LATENCY, Objective.THROUGHPUT):
        source_at = scaling((row for name, row in rows.items() if name != SOURCE), objective)
        axes.append(
            [
                contender(
                    name, sizes[name], row, objective, lossless=False, source_at=source_at
                ).speedup
                or 0.0
                for name, row in rows.items()
            ]
        )
    return [(fast, many, 1 / sizes[name]) for fast, many, name in zip(*axes, full, strict=True)]


def rows_of(full: dict[str, Cells]) -> dict[str, Row]:
    nobody = Digest.of(b"")
    return {
        name: Row(
            nobody,
            nobody,
            "",
            "",
            tuple(Figures(**cast("Any", {"latency_p99_ms": 0.0, **one})) for one in own.values()),
        )
        for name, own in full.items()
    }


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
